"""Forgetting: how fast the control variate's regressions let go of older evidence.

A mean Jacobian drifts as fast as the weights behind it, and they move with the learning rate. While
it is high evidence ages quickly; as it falls to 0 there is time to average more of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import TypeAlias

from nolr.errors import BadInput
from nolr.learning_rates import Cosine

__all__ = ["Forgetting", "Lengthening", "as_forgetting"]

Forgetting: TypeAlias = Callable[[int], float]
"""The factor in (0, 1) by which a step discounts older evidence."""


@dataclass(frozen=True)
class Lengthening:
    """From `first` to `last` as a learning rate falls by half a cosine: 1 - factor follows it.

    >>> forgetting = Lengthening(0.9, 0.99, steps=100)
    >>> [round(forgetting(step), 3) for step in (0, 50, 100)]
    [0.9, 0.945, 0.99]
    """

    first: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        _check(self.first)
        _check(self.last)
        if self.steps < 1:
            raise BadInput(f"memory lengthens over at least 1 step, got {self.steps}")

    def __call__(self, step: int) -> float:
        return self.last + (self.first - self.last) * Cosine(1.0, self.steps)(step)


def as_forgetting(forgetting: float | Forgetting) -> Forgetting:
    """Turn a plain number into the same factor in every step, and check those of a function.

    Raises:
        BadInput: the number does not lie between 0 and 1.
    """
    if callable(forgetting):
        return lambda step: _check(forgetting(step))
    factor = _check(forgetting)
    return lambda step: factor


def _check(factor: float) -> float:
    if not (isinstance(factor, Real) and 0 < factor < 1):
        raise BadInput(f"forgetting must lie between 0 and 1, got {factor!r}")
    return float(factor)
