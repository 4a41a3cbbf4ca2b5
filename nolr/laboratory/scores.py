"""Scores of an estimator: what many independent estimates say of its direction, bias and variance.

With estimates g_1..g_D of an exact gradient t:

    cosine         mean of ⟨g_d, t⟩ / ‖g_d‖‖t‖: how far one estimate points along the gradient
    variance       mean of ‖g_d - ḡ‖², times D/(D - 1): summed over all entries
    squared bias   mean over pairs d ≠ e of ⟨g_d - t, g_e - t⟩ = ‖ḡ - t‖² - variance/D

The squared bias is itself unbiased, so it may come out negative where there is none; its standard
error is that of the jackknife, which is rather too large than too small. Of t's own error, which is
independent of the estimates, the expected square is taken off. Were it all along one direction, its
square would have a standard deviation of √2 times as much, which is counted as a standard error.
"""

from __future__ import annotations

from math import hypot, nan, sqrt
from typing import NamedTuple

import numpy as np

__all__ = ["Against", "judge", "variance"]


class Against(NamedTuple):
    """Estimates held against an exact gradient; NaN where there is none."""

    cosine: float
    cosine_error: float
    """Standard error of the mean over draws."""
    squared_bias: float
    squared_bias_error: float
    squared_norm: float
    """Of the exact gradient."""


def judge(estimates: np.ndarray, exact: np.ndarray, error: float = 0.0) -> Against:
    """Hold independent estimates (D, P), D at least 3, against an exact gradient (P,).

    Args:
        error: the exact gradient's own expected squared error.
    """
    if not np.isfinite(exact).all():
        return Against(nan, nan, nan, nan, nan)
    draws = len(estimates)
    norms = np.linalg.norm(estimates, axis=1) * np.linalg.norm(exact)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.where(norms > 0, (estimates @ exact) / norms, 0.0)
    if not exact.any():
        cosines = np.full(draws, nan)
    off = estimates - exact
    bias, parts = _over_pairs(off @ off.T)
    jackknife = sqrt((draws - 1) / draws * float(((parts - parts.mean()) ** 2).sum()))
    return Against(
        float(cosines.mean()),
        float(cosines.std(ddof=1)) / sqrt(draws),
        bias - error,
        hypot(jackknife, sqrt(2.0) * error),
        max(float(exact @ exact) - error, 0.0),
    )


def variance(estimates: np.ndarray) -> float:
    """Total variance of one estimate, summed over its entries."""
    return float(estimates.var(axis=0, ddof=1).sum())


def _over_pairs(gram: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of the entries off the diagonal, and the same with each draw left out in turn."""
    draws = len(gram)
    off = gram - np.diag(np.diag(gram))
    total, by_draw = float(off.sum()), off.sum(axis=1)
    left_out = (total - 2.0 * by_draw) / ((draws - 1) * (draws - 2))
    return total / (draws * (draws - 1)), left_out
