"""Flatten: every sample becomes one row of features. Nothing to train."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

from nolr.backends import namespace
from nolr.reach import Everywhere
from nolr.routes import Reshape
from nolr.types import Array, Shape

__all__ = ["Flatten"]


@dataclass(frozen=True)
class Flatten:
    """(N, a, b, ...) -> (N, a·b·...), in row-major order."""

    trainable: ClassVar[Literal[False]] = False
    reach = Everywhere()
    lines = 1

    def output_shape(self, input_shape: Shape) -> Shape:
        return (prod(input_shape),)

    def __call__(self, x: Array) -> Array:
        return namespace(x).reshape(x, (x.shape[0], prod(x.shape[1:])))

    def route(self, x: Array) -> Reshape:
        return Reshape(tuple(x.shape[1:]), (prod(x.shape[1:]),))
