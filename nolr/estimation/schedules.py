"""Schedules: which stages are noised together in one forward pass.

The schedule decides the estimand, the loss whose gradient is estimated: *layer-wise*, each stage
has its own, the mean loss with noise in that stage alone; *joint*, all stages share one, the mean
loss with noise everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Joint", "LayerWise"]


@dataclass(frozen=True)
class LayerWise:
    """One stage at a time: the input of the noised stage is clean and shared by all copies."""

    estimand = "the mean loss with noise in one stage at a time (a loss of its own for every stage)"

    def passes(self, stages: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        return tuple((stage,) for stage in stages)


@dataclass(frozen=True)
class Joint:
    """All stages at once: fewer forward passes, but every copy needs its own weight product."""

    estimand = "the mean loss with noise in all stages at once"

    def passes(self, stages: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        return (tuple(stages),) if stages else ()
