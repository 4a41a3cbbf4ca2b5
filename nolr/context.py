"""Context: what the Jacobian behind a stage may depend on, of a sample.

What a unit does to the output depends on which units of the next stage are open where it is. Their
gates are known from the clean run, before any noise is drawn, so a Jacobian may depend on them and
the control variate stays what it is:

    J(x) = J̄₀ + Σ_r h_r(x) J̄_r,    h = Pᵀ (share of the next stage's gates open there - mean)

P holds a few orthonormal directions among the next stage's channels, drawn once for all. The mean
is that over the places and samples at hand (a worker's part of the batch), so that J̄₀ belongs to
an ordinary place, and the features say how far one is from that. A place is a block of pixels;
where it can be quartered every quarter has features of its own, which tell more and need no more
units: those of a place are sums over its quarters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nolr.backends import backend_of, namespace
from nolr.backends.numpy import host_generator
from nolr.routes import WindowSum
from nolr.types import Array, Key, Shape, Stream

__all__ = ["Condition", "Context"]


@dataclass(frozen=True)
class Context:
    """Features of the places of an image, or of their quarters.

    Args:
        watched: shape of the next stage's gate, (C, H, W).
        side: of what has features of its own, in pixels of `watched`; the image is full of them.
            Where the next stage does not pad, or pooling leaves a rest, they lie a little beside
            what they stand for.
        parts: how many of them lie along the side of a place: 1, or 2 for quarters.
        count: number of features, at most C.
    """

    watched: Shape
    side: int
    parts: int
    count: int

    def condition(self, gate: Array) -> Condition:
        """The features of a batch, of its gate (N, *watched)."""
        xp, samples = namespace(gate), gate.shape[0]
        blocks = WindowSum(self.side, self.watched)
        channels, height, width = blocks.target
        share = xp.reshape(blocks.push(gate), (samples, channels, height * width))
        directions = backend_of(gate).asarray(_directions(channels, self.count), "float64")
        features = xp.matrix_transpose(share) @ xp.astype(directions, gate.dtype)
        features = features - xp.mean(features, axis=(0, 1), keepdims=True)
        features *= 1.0 / self.side**2
        ones = xp.ones((*features.shape[:2], 1), dtype=gate.dtype)
        features = xp.concat([ones, features], axis=2)
        return Condition(xp.reshape(features, (samples, height, width, -1)), self.parts)


@dataclass(frozen=True)
class Condition:
    """Every place of an image becomes a block of units: the sums of its parts, times features.

    (C, H·parts, W·parts) -> (C, H, W, 1 + R). A map J̄ behind it that is the same for all samples
    then depends on the sample through its features, J(x) = J̄₀ + Σ_r h_r(x) J̄_r.
    """

    features: Array
    """1, h_1 ... h_R of every part, (N, H·parts, W·parts, 1 + R)."""
    parts: int = 1

    def push(self, change: Array) -> Array:
        """(..., N, C, H·parts, W·parts) -> (..., N, C, H, W, 1 + R)."""
        total = None
        for pixels in self._offsets():
            moved = change[(..., *pixels)][..., None] * self.features[:, None, *pixels, :]
            total = moved if total is None else total + moved
        return total

    def pull(self, credit: Array) -> Array:
        """The transpose: (N, C, H, W, 1 + R) -> (N, C, H·parts, W·parts)."""
        xp, (samples, height, width, _) = namespace(credit), self.features.shape
        pulled = xp.empty((samples, credit.shape[1], height, width), dtype=credit.dtype)
        for pixels in self._offsets():
            pulled[(..., *pixels)] = xp.vecdot(credit, self.features[:, None, *pixels, :])
        return pulled

    def energy(self, variance: Array) -> Array:
        """Σ E[uuᵀ] over samples, of every place, where its parts change independently.

        Args:
            variance: of the parts, (N, C, H·parts, W·parts).

        Returns:
            (C·H·W, 1 + R, 1 + R).
        """
        total = 0.0
        for pixels in self._offsets():
            features = self.features[:, None, *pixels, :]
            total += _sum_products(variance[(..., *pixels)][..., None] * features, features)
        return total

    def energy_together(self, change: Array) -> Array:
        """The same where all parts of a place change by one number, of variance 1.

        Args:
            change: of the parts when it is 1, as `variance`.
        """
        moved = self.push(change)
        return _sum_products(moved, moved)

    def _offsets(self) -> list[tuple[slice, slice]]:
        """The first parts of all places, then the second ones, and so on."""
        starts = [slice(start, None, self.parts) for start in range(self.parts)]
        return [(down, right) for down in starts for right in starts]


@lru_cache
def _directions(channels: int, count: int) -> np.ndarray:
    """P, orthonormal columns (channels, count)."""
    normal = host_generator(Key(0, Stream.CHOICE)).standard_normal((channels, count))
    return np.linalg.qr(normal)[0]


def _sum_products(left: Array, right: Array) -> Array:
    """Σ_n l rᵀ of every place: (N, C, H, W, F) and (N, C or 1, H, W, F) -> (C·H·W, F, F)."""
    xp, count = namespace(left), left.shape[-1]
    columns = xp.permute_dims(left, (1, 2, 3, 4, 0))
    rows = xp.permute_dims(right, (1, 2, 3, 0, 4))
    return xp.reshape(columns @ rows, (-1, count, count))
