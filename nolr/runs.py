"""Runs: train a recipe, save it, go on with it. The Python face of the command line.

import nolr
run = nolr.train("digits-dense", seed=0)
run.test_accuracy, run.predict(images)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nolr.environment import limit_threads
from nolr.errors import BadInput
from nolr.files import check_writable
from nolr.interchange import read_run
from nolr.recipes import Recipe, Settings, build_trainer, get_recipe
from nolr.run import Run
from nolr.training import Trainer, is_finite
from nolr.training_state import TrainState

__all__ = ["Run", "load", "resume", "train"]

SAVE_SECONDS = 10.0


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
    run = _open(get_recipe(recipe), get_recipe(recipe).settings.with_values(settings))
    if out is not None:
        check_writable(Path(out))
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
        settings: `epochs` or `patience`, to train longer; `backend`, `threads` or `data_dir`,
            to go on elsewhere.

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
    changeable = {"epochs", "patience", "backend", "threads", "data_dir"}
    if fixed := sorted(set(settings) - changeable):
        raise BadInput(
            f"{', '.join(fixed)} cannot change in a run that has begun (only "
            f"{', '.join(sorted(changeable))} can): start a new run"
        )
    file = read_run(Path(path))
    try:
        recipe = get_recipe(file.configuration["recipe"])
        saved = recipe.settings.with_values(file.configuration["settings"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    if "epochs" in settings and saved.learning_rate_schedule != "constant":
        raise BadInput(
            f"epochs cannot change in a run with a {saved.learning_rate_schedule!r} learning "
            "rate, which depends on them: start a new run"
        )
    # What can change may have to: the machine that reads need not have the backend that trained,
    # nor the data in the same place. That is no damage.
    run = _open(recipe, saved.with_values(settings))
    try:
        state = file.restore(run.state, run.trainer.backend)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    if not is_finite(state, run.trainer.backend):
        raise _damaged(path, "its arrays are not finite")
    return replace(run, state=state, path=Path(path))


def _damaged(path: str | Path, why: object) -> BadInput:
    return BadInput(
        f"{str(path)!r} cannot be read as a run file ({why}): it is damaged, or was edited"
    )


def _open(recipe: Recipe, settings: Settings) -> Run:
    settings = recipe.settle(settings)
    trainer = build_trainer(settings, recipe.build(settings), recipe.data(settings))
    return Run(recipe, settings, trainer, trainer.init())


def _drive(
    run: Run, on_state: Callable[[Trainer, TrainState], None] | None, stop: Callable[[], bool]
) -> Run:
    """Train until the end, a stop, or a divergence; save now and then if the run has a file."""
    state, saved = run.state, time.monotonic()
    _save(run, state)  # so that there is something to go on with from the first step on
    try:
        with limit_threads(run.settings.threads):
            for state in run.trainer.run(run.state):
                if on_state is not None:
                    on_state(run.trainer, state)
                if time.monotonic() - saved > SAVE_SECONDS:
                    _save(run, state)
                    saved = time.monotonic()
                if stop():
                    break
    finally:  # whatever ended it: the last step, a stop, a divergence, a closed terminal
        _save(run, state)
    return replace(run, state=state)


def _save(run: Run, state: TrainState) -> None:
    """Save a state if the run has a file, and if the state is one to go on from.

    The arrays that a divergence announces itself in need not be those that the loss shows first.
    """
    if run.path is not None and is_finite(state, run.trainer.backend):
        replace(run, state=state).save(run.path)
