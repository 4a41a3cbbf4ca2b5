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
    v = _rows(x) @ params["W"].T
    v += params["b"]
    return v if x.ndim == 2 else namespace(v).reshape(v, (*x.shape[:-1], v.shape[1]))


def linear_pullback(x: Array, score: Array) -> Params:
    """Σ (∂v/∂θ)ᵀ score over all rows: x (..., inputs) and score (..., units) -> W and b."""
    rows = _rows(score)
    return {"W": rows.T @ _rows(x), "b": namespace(rows).sum(rows, axis=0)}


def _rows(array: Array) -> Array:
    """(..., m) -> (rows, m)."""
    return array if array.ndim == 2 else namespace(array).reshape(array, (-1, array.shape[-1]))
