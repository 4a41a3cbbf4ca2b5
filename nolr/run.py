"""What a run is: a recipe and how far its training has come, which predicts, saves and reports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from nolr.data.dataset import Dataset, check_inputs
from nolr.environment import versions
from nolr.evaluation import evaluate
from nolr.interchange import write_run
from nolr.network import Sequential
from nolr.recipes import Recipe, Settings
from nolr.training import Trainer
from nolr.training_state import EpochRecord, TrainState
from nolr.types import Array, Params

__all__ = ["Run"]

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
        """Logits (N, m) or (N, positions, m) for inputs in the units of the data's source.

        Raises:
            BadInput: wrong shape, no samples, NaN or infinity.
        """
        inputs = np.asarray(inputs)
        check_inputs(inputs, "the inputs")
        with np.errstate(over="ignore"):  # what does not fit a float32 is refused below
            prepared = self.recipe.prepare(inputs)
        check_inputs(prepared, "the inputs, as float32,")
        backend = self.trainer.backend
        parts = [
            backend.to_host(
                self.network.forward(
                    self.params,
                    self.trainer.encode(
                        backend.asarray(prepared[start : start + PREDICT_ROWS], self.trainer.dtype),
                        start,
                    ),
                )
            )
            for start in range(0, len(prepared), PREDICT_ROWS)
        ]
        outputs = np.concatenate(parts)
        check_inputs(outputs, "the network's outputs for these inputs")
        return outputs

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Class indices (N,) or (N, positions) for inputs in the units of the data's source."""
        return self.outputs(inputs).argmax(axis=-1)

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
        trainer = self.trainer
        inputs, targets = trainer.move(data)
        return evaluate(self.network, self.params, inputs, targets, trainer.loss, trainer.encode)


def _plain(value: Array) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and isnan(value) else value
