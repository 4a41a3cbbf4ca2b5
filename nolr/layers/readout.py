"""Readouts of sequences: what becomes of the time axis."""

from __future__ import annotations

from dataclasses import dataclass

from nolr.backends import namespace
from nolr.errors import BadInput
from nolr.types import Array, Key, Params, Shape

__all__ = ["MeanOverTime"]


@dataclass(frozen=True)
class MeanOverTime:
    """(N, T, units) -> (N, units): the mean over time steps. Nothing to train.

    Before a Dense layer it is the mean current of an output neuron that does not spike.
    """

    affine = True

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2:
            raise BadInput(
                f"MeanOverTime() expected samples of shape (time steps, units), got {input_shape}: "
                "put it behind a layer that returns a sequence"
            )
        return input_shape[1:]

    def noise_shape(self, input_shape: Shape) -> None:
        return None

    def init(self, key: Key) -> Params:
        return {}

    def drive(self, params: Params, x: Array) -> Array:
        return namespace(x).mean(x, axis=1)

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, None]:
        return drive, None

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        return {}

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return namespace(drive).ones_like(drive)
