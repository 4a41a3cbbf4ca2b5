"""Baselines: what a copy's loss is compared with.

    E[b · s] = b · E[s] = 0  for every b that is independent of that copy's noise,

so subtracting b keeps the estimate unbiased. A mean that includes the copy itself shrinks the
gradient by (K - 1)/K, and the antithetic pair-mate is not independent: both are biased.
"""

from __future__ import annotations

from dataclasses import dataclass

from nolr.backends import namespace
from nolr.types import Array

__all__ = ["CleanLoss", "LeaveGroupOut", "NoBaseline"]


@dataclass(frozen=True)
class NoBaseline:
    """b = 0."""

    minimum_groups = 1

    def __call__(self, losses: Array, clean: Array) -> Array:
        return namespace(clean).zeros_like(clean)


@dataclass(frozen=True)
class CleanLoss:
    """b = the loss of the same sample without noise, which the clean run gives for free."""

    minimum_groups = 1

    def __call__(self, losses: Array, clean: Array) -> Array:
        return clean


@dataclass(frozen=True)
class LeaveGroupOut:
    """b = mean loss of the same sample over all other groups of copies.

    The whole antithetic group is left out, not the copy alone. Where the copies are worked
    through in blocks, "all others" means the others of the same block.
    """

    minimum_groups = 2

    def __call__(self, losses: Array, clean: Array) -> Array:
        xp = namespace(losses)
        group = xp.mean(losses, axis=-3, keepdims=True)
        others = xp.sum(group, axis=-2, keepdims=True) - group
        return others / (losses.shape[-2] - 1)
