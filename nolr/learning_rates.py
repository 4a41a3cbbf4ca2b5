"""Learning rates as functions of the step, counted from 0."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Protocol

from nolr.errors import BadInput

__all__ = ["Constant", "Cosine", "LearningRate", "StepDecay", "as_learning_rate"]


class LearningRate(Protocol):
    """A positive learning rate for every step."""

    def __call__(self, step: int) -> float: ...


def _check_rate(rate: float) -> None:
    if not (isfinite(rate) and rate > 0):
        raise BadInput(f"the learning rate must be a positive finite number, got {rate}")


@dataclass(frozen=True)
class Constant:
    """The same rate at every step."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, step: int) -> float:
        return self.rate


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up to `rate`, then half a cosine down to 0 at `steps` (arXiv:1608.03983).

    >>> rate = Cosine(1.0, steps=100, warmup=10)
    >>> rate(0), rate(9), round(rate(55), 3)
    (0.1, 1.0, 0.5)
    """

    rate: float
    steps: int
    warmup: int = 0

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        if not 0 <= self.warmup < self.steps:
            raise BadInput(f"warmup must lie in 0..{self.steps - 1}, got {self.warmup}")

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        return self.rate * 0.5 * (1.0 + cos(pi * progress))


@dataclass(frozen=True)
class StepDecay:
    """The rate is multiplied by `factor` after every `every` steps.

    >>> [round(StepDecay(1.0, every=2, factor=0.1)(step), 3) for step in range(5)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        if self.every < 1:
            raise BadInput(f"every must be at least 1 step, got {self.every}")
        if not 0 < self.factor <= 1:
            raise BadInput(f"factor must lie in (0, 1], got {self.factor}")

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)


def as_learning_rate(rate: float | LearningRate) -> LearningRate:
    """Turn a plain number into a constant learning rate."""
    return rate if callable(rate) else Constant(float(rate))
