"""Routes: linear maps that carry a small change onwards, and credit back.

    push: (..., N, *from) -> (..., N, *to)        pull, its transpose: (N, *to) -> (N, *from)
    variance: that of independent changes, (N, *from) -> (N, *to)

A route is what a link without parameters does to a small change: a pool whose winners are known, a
mean over time, a gate. It has no weights, so pulling credit through it is no backpropagation: it
says which units took part, as the gate of an activation does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nolr.backends import namespace
from nolr.types import Array, Route, Shape

__all__ = ["Chain", "Gate", "Reshape", "WeightedSum", "WindowSum", "Winners"]


@dataclass(frozen=True)
class Gate:
    """change · slope, unit by unit; slopes (N, *shape), or of any shape that broadcasts."""

    slopes: Array

    def push(self, change: Array) -> Array:
        return change * self.slopes

    def pull(self, credit: Array) -> Array:
        return credit * self.slopes

    def variance(self, variance: Array) -> Array:
        return variance * (self.slopes * self.slopes)


@dataclass(frozen=True)
class Reshape:
    """The same units in another shape."""

    source: Shape
    target: Shape

    def push(self, change: Array) -> Array:
        leading = change.shape[: change.ndim - len(self.source)]
        return namespace(change).reshape(change, (*leading, *self.target))

    def pull(self, credit: Array) -> Array:
        return namespace(credit).reshape(credit, (credit.shape[0], *self.source))

    def variance(self, variance: Array) -> Array:
        return self.push(variance)


@dataclass(frozen=True)
class WeightedSum:
    """Σ_t w_t x_t over the first axis of a sample: (T, units) -> (units)."""

    weights: Array
    """(T,)."""

    def push(self, change: Array) -> Array:
        return self.weights @ change

    def pull(self, credit: Array) -> Array:
        return self.weights[:, None] * credit[:, None, :]

    def variance(self, variance: Array) -> Array:
        return (self.weights * self.weights) @ variance


@dataclass(frozen=True)
class WindowSum:
    """Sums over windows of size × size that do not overlap: (C, H, W) -> (C, H // size, W // size).

    What does not fill a window at the lower and right edge takes no part.
    """

    size: int
    source: Shape

    @property
    def target(self) -> Shape:
        """(C, H // size, W // size)."""
        return (self.source[0], *(length // self.size for length in self.source[1:]))

    def push(self, change: Array) -> Array:
        height, width = (length // self.size for length in self.source[1:])
        lines = _fold(change, self.size, width)
        return _sum_lines(lines, self.size, height)

    def pull(self, credit: Array) -> Array:
        xp, size = namespace(credit), self.size
        spread = xp.repeat(xp.repeat(credit, size, axis=-1), size, axis=-2)
        below, beside = (length % size for length in self.source[1:])
        if beside:
            edge = xp.zeros((*spread.shape[:-1], beside), dtype=spread.dtype)
            spread = xp.concat([spread, edge], axis=-1)
        if below:
            edge = xp.zeros((*spread.shape[:-2], below, spread.shape[-1]), dtype=spread.dtype)
            spread = xp.concat([spread, edge], axis=-2)
        return spread

    def variance(self, variance: Array) -> Array:
        return self.push(variance)


@dataclass(frozen=True)
class Winners:
    """Weighted sums over windows of size × size that do not overlap: of the winners, or of shares.

    (C, H, W) -> (C, H // size, W // size), as `WindowSum`.
    """

    size: int
    source: Shape
    shares: Sequence[Array]
    """Of the size² pixels of a window, line by line: each (N, C, H // size, W // size)."""

    def push(self, change: Array) -> Array:
        total = None
        for pixels, share in zip(self.windows(change), self.shares, strict=True):
            part = pixels * share
            total = part if total is None else total + part
        return total

    def pull(self, credit: Array) -> Array:
        shape = (*credit.shape[:-2], *self.source[1:])
        spread = namespace(credit).zeros(shape, dtype=credit.dtype)
        for pixels, share in zip(self._places(), self.shares, strict=True):
            spread[pixels] = credit * share
        return spread

    def variance(self, variance: Array) -> Array:
        return replace(self, shares=[share * share for share in self.shares]).push(variance)

    def windows(self, image: Array) -> list[Array]:
        """The first pixels of all windows, then the second ones, and so on."""
        return [image[pixels] for pixels in self._places()]

    def _places(self) -> list[tuple]:
        height, width = (length // self.size * self.size for length in self.source[1:])
        return [
            (..., slice(down, height, self.size), slice(right, width, self.size))
            for down in range(self.size)
            for right in range(self.size)
        ]


def _fold(change: Array, size: int, width: int) -> Array:
    """Sum along the lines: (..., H, W) -> (..., H, width)."""
    total = change[..., : size * width : size]
    for offset in range(1, size):
        total = total + change[..., offset : size * width : size]
    return total


def _sum_lines(lines: Array, size: int, height: int) -> Array:
    """Sum over lines: (..., H, width) -> (..., height, width)."""
    total = lines[..., : size * height : size, :]
    for offset in range(1, size):
        total = total + lines[..., offset : size * height : size, :]
    return total


@dataclass(frozen=True)
class Chain:
    """One route after another."""

    links: Sequence[Route]

    def push(self, change: Array) -> Array:
        for link in self.links:
            change = link.push(change)
        return change

    def pull(self, credit: Array) -> Array:
        for link in reversed(self.links):
            credit = link.pull(credit)
        return credit

    def variance(self, variance: Array) -> Array:
        """Exact where no link brings together what another one has spread: so everywhere here."""
        for link in self.links:
            variance = link.variance(variance)
        return variance
