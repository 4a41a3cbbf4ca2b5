"""The linear map of a layer, x Wᵀ + b, and its pullback: one product over all positions at once.

Arrays may have axes for positions between that of the samples and that of the units. Weights are
the same everywhere, so a position is one more row; a stack of small products, one a sample, would
take half as long again.
"""

from __future__ import annotations

from nolr.backends import namespace
from nolr.types import Array, Params

__all__ = ["linear", "linear_pullback"]


def linear(x: Array, params: Params) -> Array:
    """(..., inputs) -> (..., units)."""
    xp, weight = namespace(x), params["W"]
    v = xp.reshape(x, (-1, x.shape[-1])) @ weight.T
    v += params["b"]
    return xp.reshape(v, (*x.shape[:-1], weight.shape[0]))


def linear_pullback(x: Array, score: Array) -> Params:
    """Σ (∂v/∂θ)ᵀ score over all rows: x (..., inputs) and score (..., units) -> W and b."""
    xp = namespace(score)
    rows = xp.reshape(score, (-1, score.shape[-1]))
    return {
        "W": rows.T @ xp.reshape(x, (-1, x.shape[-1])),
        "b": xp.sum(rows, axis=0),
    }
