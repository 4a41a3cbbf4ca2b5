"""The state of training: everything that it goes on from, and the history that it leaves."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from nolr.estimation.estimate import EstimatorState
from nolr.estimation.figures import StageFigures
from nolr.types import Array, Backend

__all__ = ["EpochRecord", "TrainState", "is_finite"]


class EpochRecord(NamedTuple):
    """One row of the history."""

    epoch: int
    loss: float
    """Mean clean training loss over the epoch, each batch before its update."""
    validation_loss: float
    validation_accuracy: float
    """NaN where the targets are not classes."""
    train_seconds: float
    """Time in training so far, evaluation included."""
    stages: tuple[StageFigures, ...]


class TrainState(NamedTuple):
    """Everything a run needs to go on."""

    vector: Array
    """All parameters, (P,)."""
    optimizer: tuple[Array, ...]
    estimator: EstimatorState
    best_vector: Array
    """Parameters of the epoch with the best validation score so far."""
    best_score: float = -inf
    best_epoch: int = 0
    step: int = 0
    epoch: int = 0
    """Epochs finished."""
    position: int = 0
    """Samples of the current epoch that are done."""
    loss_sum: float = 0.0
    """Sum of the clean losses of those samples."""
    forward_passes: int = 0
    """Forward passes of one sample each, noisy copies counted."""
    train_seconds: float = 0.0
    history: tuple[EpochRecord, ...] = ()


def is_finite(state: TrainState, backend: Backend) -> bool:
    """Whether every array that training goes on from is finite."""
    arrays = [state.vector, *state.optimizer]
    arrays += [array for evidence in state.estimator.evidence for array in evidence]
    xp = backend.xp
    return all(bool(xp.all(xp.isfinite(array))) for array in arrays)
