"""Context: what the Jacobian behind a stage may depend on, of a sample.

What a unit does to the output depends on which units of the next stage are open where it is. Their
gates are known from the clean run, before any noise is drawn, so a Jacobian may depend on them and
the control variate stays what it is:

    J(x) = J̄₀ + Σ_r h_r(x) J̄_r,    h = Pᵀ (share of the next stage's gates open in a block - mean)

P holds a few orthonormal directions among the next stage's channels, drawn once for all. The mean
is that over the places and samples at hand (a worker's part of the batch), so that J̄₀ belongs to an
ordinary place, and the features say how far one is from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nolr.backends import backend_of, namespace
from nolr.backends.numpy import host_generator
from nolr.routes import Conditional, WindowSum
from nolr.types import Array, Key, Shape, Stream

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """Features of the blocks of an image.

    Args:
        watched: shape of the next stage's gate, (C, H, W).
        side: of a block in it, in pixels; blocks fill the image. Where the next stage does not pad,
            they lie a little beside the places that they stand for.
        count: number of features, at most C.
    """

    watched: Shape
    side: int
    count: int

    def route(self, gate: Array) -> Conditional:
        """Condition on the gate of a batch, (N, *watched)."""
        xp, samples = namespace(gate), gate.shape[0]
        blocks = WindowSum(self.side, self.watched)
        height, width = blocks.target[1:]
        share = xp.reshape(blocks.push(gate), (samples, self.watched[0], height * width))
        directions = backend_of(gate).asarray(_directions(self.watched[0], self.count), "float64")
        features = xp.astype(directions, gate.dtype).T @ share
        features = features - xp.mean(features, axis=(0, 2), keepdims=True)
        features *= 1.0 / self.side**2
        ones = xp.ones((samples, 1, height * width), dtype=gate.dtype)
        features = xp.concat([ones, features], axis=1)
        return Conditional(xp.reshape(features, (samples, 1 + self.count, height, width)))


@lru_cache
def _directions(channels: int, count: int) -> np.ndarray:
    """P, orthonormal columns (channels, count)."""
    normal = host_generator(Key(0, Stream.CHOICE)).standard_normal((channels, count))
    return np.linalg.qr(normal)[0]
