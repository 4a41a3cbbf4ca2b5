"""Reach: which positions a change at one position can get to.

A position is a time step of a sequence or a node of a graph. Noise is weighed only with the losses
that it can reach ("credit"): the others are independent of it, so they add variance and nothing
else. Time: losses at the same step and later. Graph: losses of the nodes whose receptive field
holds the noised node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nolr.backends import namespace
from nolr.graphs import GraphOperator
from nolr.nodes import Fork, Join, Node
from nolr.routes import Chain
from nolr.types import Array, Reach

__all__ = ["Everywhere", "Later", "Neighbours", "Same", "find_reaches"]


@dataclass(frozen=True)
class Same:
    """The same position alone."""

    mixing = Chain(())

    def then(self, later: Reach) -> Reach:
        return later

    def beside(self, other: Reach) -> Reach:
        return other if isinstance(other, Same) else other.beside(self)

    def gather(self, losses: Array) -> Array:
        return losses


@dataclass(frozen=True)
class Later:
    """The same time step and all later ones."""

    mixing = None  # what a step can do depends on how many are left

    def then(self, later: Reach) -> Reach:
        return self if isinstance(later, Same | Later) else Everywhere()

    def beside(self, other: Reach) -> Reach:
        return self.then(other)

    def gather(self, losses: Array) -> Array:
        xp = namespace(losses)
        return xp.flip(xp.cumulative_sum(xp.flip(losses, axis=-1), axis=-1), axis=-1)


@dataclass(frozen=True)
class Everywhere:
    """All positions, or there are none."""

    mixing = None

    def then(self, later: Reach) -> Reach:
        return self

    def beside(self, other: Reach) -> Reach:
        return self

    def gather(self, losses: Array) -> Array:
        return namespace(losses).sum(losses, axis=-1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nodes that a graph operator joins to a node; each counted once, however many ways."""

    operator: GraphOperator
    joined: GraphOperator | None = None
    """Ones where there is a way, if that is more than where the operator has entries: ways of
    opposite sign may cancel in it, and a skip connection leads past it."""

    @property
    def pattern(self) -> GraphOperator:
        return self.operator.pattern if self.joined is None else self.joined

    @property
    def mixing(self) -> GraphOperator:
        return self.operator

    def then(self, later: Reach) -> Reach:
        if isinstance(later, Same):
            return self
        if isinstance(later, Neighbours):
            ways = later.pattern.after(self.pattern).pattern
            return Neighbours(later.operator.after(self.operator), ways)
        return Everywhere()

    def beside(self, other: Reach) -> Reach:
        if isinstance(other, Same):
            return Neighbours(self.operator, self.pattern.beside(None))
        if isinstance(other, Neighbours):
            return Neighbours(self.operator, self.pattern.beside(other.pattern))
        return Everywhere()

    def gather(self, losses: Array) -> Array:
        return self.pattern.pull(losses[..., None])[..., 0]


def find_reaches(nodes: Sequence[Node]) -> tuple[Reach, ...]:
    """Which positions of a network's output the noise of every stage reaches."""
    found: list[Reach] = []
    beyond: Reach = Same()
    skips: list[Reach] = []
    for node in reversed(nodes):
        if isinstance(node, Join):
            skips.append(beyond)
            continue
        if isinstance(node, Fork):  # two ways lead on from here
            beyond = beyond.beside(skips.pop())
            continue
        if node.trainable:
            found.append(node.noise_reach.then(beyond))
        beyond = node.reach.then(beyond)
    return tuple(reversed(found))
