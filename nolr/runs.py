"""Runs: train a recipe, save it, go on with it, use it. The Python face of the command line.

import nolr
run = nolr.train("digits-dense", seed=0)
run.test_accuracy, run.predict(images)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from nolr.data.dataset import Dataset, check_inputs
from nolr.environment import limit_threads, versions
from nolr.errors import BadInput, Diverged
from nolr.files import check_writable
from nolr.interchange import read_run, write_run
from nolr.network import Sequential
from nolr.recipes import Recipe, Settings, build_trainer, get_recipe
from nolr.training import EpochRecord, Trainer, TrainState, evaluate
from nolr.types import Array, Params

__all__ = ["Run", "load", "resume", "train"]

SAVE_SECONDS = 10.0
PREDICT_ROWS = 4096


@dataclass(frozen=True)
class Run:
    """A recipe with its settings and how far its training has come."""

    recipe: Recipe
    settings: Settings
    trainer: Trainer
    state: TrainState
    path: Path | None = None
    """Where it is saved, if it is."""

    @property
    def network(self) -> Sequential:
        return self.trainer.network

    @cached_property
    def params(self) -> tuple[Params, ...]:
        """The trained parameters, a dict of arrays for every node of the network."""
        return self.trainer.params(self.state)

    @property
    def history(self) -> tuple[EpochRecord, ...]:
        """One record per finished epoch."""
        return self.state.history

    @property
    def finished(self) -> bool:
        return self.trainer.finished(self.state)

    @cached_property
    def test_accuracy(self) -> float:
        """Fraction of the test samples that the clean network gets right."""
        return self._evaluate(self.trainer.data.test)[1]

    @cached_property
    def validation_accuracy(self) -> float:
        """The same on the validation samples."""
        return self._evaluate(self.trainer.data.validation)[1]

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Logits (N, m) for inputs (N, ...) in the units of the data's source.

        Raises:
            BadInput: wrong shape, no samples, NaN or infinity.
        """
        inputs = np.asarray(inputs)
        check_inputs(inputs, "the inputs")
        prepared = self.recipe.prepare(inputs)
        backend = self.trainer.backend
        parts = [
            backend.to_host(
                self.network.forward(
                    self.params,
                    backend.asarray(prepared[start : start + PREDICT_ROWS], self.trainer.dtype),
                )
            )
            for start in range(0, len(prepared), PREDICT_ROWS)
        ]
        return np.concatenate(parts)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Class indices (N,) for inputs (N, ...) in the units of the data's source."""
        return self.outputs(inputs).argmax(axis=1)

    def save(self, path: str | Path) -> Run:
        """Write the run to a file, replacing what is there; return the run at its new place."""
        configuration = {"recipe": self.recipe.name, "settings": self.settings.to_dict()}
        write_run(Path(path), configuration, versions(), self.state, self.trainer.backend)
        return replace(self, path=Path(path))

    def report(self) -> dict[str, Any]:
        """What there is to say about the run, as plain values for JSON."""
        state, settings = self.state, self.settings
        return {
            "recipe": self.recipe.name,
            "backend": settings.backend,
            "seed": settings.seed,
            "epochs": state.epoch,
            "copies": settings.copies,
            "finished": self.finished,
            "test_accuracy": _plain(self.test_accuracy),
            "validation_accuracy": _plain(self.validation_accuracy),
            "train_seconds": state.train_seconds,
            "steps": state.step,
            "samples": {
                name: len(getattr(self.trainer.data, name))
                for name in ("train", "validation", "test")
            },
            "forward_passes": state.forward_passes,
            "estimand": self.trainer.estimator.estimand(self.network, self.trainer.loss),
            "stages": [
                {name: _plain(value) for name, value in stage._asdict().items()}
                for stage in (state.history[-1].stages if state.history else ())
            ],
            "history": [
                {
                    name: _plain(value)
                    for name, value in record._asdict().items()
                    if name != "stages"
                }
                for record in state.history
            ],
            "settings": settings.to_dict(),
            "versions": versions(),
        }

    def _evaluate(self, data: Dataset) -> tuple[float, float]:
        backend, trainer = self.trainer.backend, self.trainer
        inputs, targets = trainer.move(data)
        return evaluate(self.network, self.params, inputs, targets, trainer.loss, backend)


def train(
    recipe: str = "digits-dense",
    *,
    out: str | Path | None = None,
    on_state: Callable[[Trainer, TrainState], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Run:
    """Train a recipe from the start.

    Args:
        recipe: its name; see `nolr.recipes.RECIPES`.
        out: run file, saved every ten seconds and at the end; None keeps the run in memory.
        on_state: called after every step.
        stop: asked after every step; True stops, and saves.
        settings: any field of `nolr.recipes.Settings`, in place of the recipe's own value.

    Raises:
        BadInput: an argument that cannot be used.
        Diverged: training produced a value that is not finite; the last good state is saved.
    """
    if out is not None:
        check_writable(Path(out))
    run = _open(get_recipe(recipe), get_recipe(recipe).settings.with_values(settings))
    run = replace(run, path=None if out is None else Path(out))
    return _drive(run, on_state, stop)


def resume(
    path: str | Path,
    *,
    on_state: Callable[[Trainer, TrainState], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Run:
    """Go on with a saved run, on NumPy bit for bit as if it had never stopped.

    Args:
        path: the run file; it is updated.
        settings: `epochs` or `patience`, to train longer; `backend` or `threads`, to go on
            elsewhere.

    Raises:
        BadInput: an unreadable file, or a setting that cannot change on the way.
    """
    run = load(path, **settings)
    check_writable(Path(path))
    return _drive(run, on_state, stop)


def load(path: str | Path, **settings: Any) -> Run:
    """Read a saved run.

    Raises:
        BadInput: an unreadable or foreign file, or a setting that cannot change on the way.
    """
    changeable = {"epochs", "patience", "backend", "threads"}
    if fixed := sorted(set(settings) - changeable):
        raise BadInput(
            f"{', '.join(fixed)} cannot change in a run that has begun (only "
            f"{', '.join(sorted(changeable))} can): start a new run"
        )
    file = read_run(Path(path))
    recipe = get_recipe(file.configuration["recipe"])
    saved = recipe.settings.with_values(file.configuration["settings"])
    run = _open(recipe, saved.with_values(settings))
    state = file.restore(run.state, run.trainer.backend)
    return replace(run, state=state, path=Path(path))


def _open(recipe: Recipe, settings: Settings) -> Run:
    trainer = build_trainer(settings, recipe.build(settings), recipe.data(settings))
    return Run(recipe, settings, trainer, trainer.init())


def _drive(
    run: Run, on_state: Callable[[Trainer, TrainState], None] | None, stop: Callable[[], bool]
) -> Run:
    """Train until the end, a stop, or a divergence; save now and then if the run has a file."""
    state, saved = run.state, time.monotonic()
    if run.path is not None:
        run.save(run.path)  # so that there is something to go on with from the first step on
    try:
        with limit_threads(run.settings.threads):
            for state in run.trainer.run(run.state):
                if on_state is not None:
                    on_state(run.trainer, state)
                if run.path is not None and time.monotonic() - saved > SAVE_SECONDS:
                    replace(run, state=state).save(run.path)
                    saved = time.monotonic()
                if stop():
                    break
    except Diverged:
        if run.path is not None:
            replace(run, state=state).save(run.path)
        raise
    run = replace(run, state=state)
    return run if run.path is None else run.save(run.path)


def _plain(value: Array) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and isnan(value) else value
