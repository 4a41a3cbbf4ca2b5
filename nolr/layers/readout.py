"""Readouts of sequences: what becomes of the time axis. Nothing to train.

A spiking network's answer can be read in three ways: the mean current into an output neuron (its
weights behind `MeanOverTime`), the potential of an output neuron that does not fire (its weights
behind `LeakyOverTime`), or the number of its spikes (`SumOverTime` behind the last LIF layer).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nolr.backends import backend_of, itemsize
from nolr.checks import check_steps
from nolr.errors import BadInput
from nolr.reach import Everywhere
from nolr.routes import WeightedSum
from nolr.types import Array, Shape

__all__ = ["LeakyOverTime", "MeanOverTime", "SumOverTime"]


@dataclass(frozen=True)
class _OverTime(ABC):
    """(N, T, units) -> (N, units): a weighted sum over time steps."""

    trainable: ClassVar[Literal[False]] = False
    reach = Everywhere()
    lines = 1

    @abstractmethod
    def weights(self, steps: int) -> np.ndarray:
        """(T,)."""

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2:
            raise BadInput(
                f"{type(self).__name__} expected samples of shape (time steps, units), got "
                f"{input_shape}: put it behind a layer that returns a sequence"
            )
        check_steps(self, input_shape)
        return input_shape[1:]

    def __call__(self, x: Array) -> Array:
        return self.route(x).push(x)

    def route(self, x: Array) -> WeightedSum:
        kind = "float64" if itemsize(x.dtype) == 8 else "float32"
        return WeightedSum(backend_of(x).asarray(self.weights(x.shape[1]), kind))


@dataclass(frozen=True)
class MeanOverTime(_OverTime):
    """The mean over time steps: before a Dense layer, the mean current of an output neuron."""

    def weights(self, steps: int) -> np.ndarray:
        return np.full(steps, 1.0 / steps)


@dataclass(frozen=True)
class SumOverTime(_OverTime):
    """The sum over time steps: of spikes, their number."""

    def weights(self, steps: int) -> np.ndarray:
        return np.ones(steps)


@dataclass(frozen=True)
class LeakyOverTime(_OverTime):
    """Σ β^(T-t) x_t: before a Dense layer, the final potential of a leaky neuron that never fires.

    Args:
        decay: β in [0, 1], the part of the potential that is left after one time step.

    Raises:
        BadInput: a decay out of its range.
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise BadInput(f"the decay of LeakyOverTime must lie in [0, 1], got {self.decay}")

    def weights(self, steps: int) -> np.ndarray:
        return self.decay ** np.arange(steps - 1, -1, -1.0)
