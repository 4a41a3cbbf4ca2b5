"""Schedules: which stages are noised together in one forward pass.

The schedule decides the estimand, the loss whose gradient is estimated: *layer-wise*, each stage
has its own, the mean loss with noise in that stage alone; *joint*, all stages share one, the mean
loss with noise everywhere. Between them, neighbouring stages share theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nolr.errors import BadInput

__all__ = ["Joint", "LayerWise"]


@dataclass(frozen=True)
class LayerWise:
    """One stage at a time: the input of the noised stage is clean and shared by all copies."""

    estimand = "the mean loss with noise in one stage at a time (a loss of its own for every stage)"

    def passes(self, stages: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        return tuple((stage,) for stage in stages)


@dataclass(frozen=True)
class Joint:
    """All stages at once: fewer forward passes, but every copy needs its own weight product.

    Args:
        stages: how many neighbouring stages at once; None for all.

    Raises:
        BadInput: stages is below 1.
    """

    stages: int | None = None

    def __post_init__(self) -> None:
        if self.stages is not None and self.stages < 1:
            raise BadInput(f"stages must be at least 1, or None for all, got {self.stages}")

    @property
    def estimand(self) -> str:
        where = "all" if self.stages is None else f"{self.stages} neighbouring"
        return f"the mean loss with noise in {where} stages at once"

    def passes(self, stages: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        size = len(stages) if self.stages is None else self.stages
        return tuple(tuple(stages[i : i + size]) for i in range(0, len(stages), max(size, 1)))
