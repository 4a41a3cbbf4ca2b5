"""Flatten: every sample becomes one row of features. Nothing to train."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nolr.backends import namespace
from nolr.types import Array, Key, Params, Shape

__all__ = ["Flatten"]


@dataclass(frozen=True)
class Flatten:
    """(N, a, b, ...) -> (N, a·b·...), in row-major order."""

    affine = True

    def output_shape(self, input_shape: Shape) -> Shape:
        return (prod(input_shape),)

    def noise_shape(self, input_shape: Shape) -> None:
        return None

    def init(self, key: Key) -> Params:
        return {}

    def drive(self, params: Params, x: Array) -> Array:
        return namespace(x).reshape(x, (x.shape[0], prod(x.shape[1:])))

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, None]:
        return drive, None

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        return {}

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return namespace(drive).ones_like(drive)
