"""Summaries of a study: means over stages, and what every estimator has at equal cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, log, nan, sqrt

import numpy as np

from nolr.laboratory.measure import Row

__all__ = ["Mean", "at_budget", "budgets", "compared", "curve", "over_stages"]

UNDETECTED = 3.0  # standard errors: a squared bias below is none that was found


@dataclass(frozen=True)
class Mean:
    """One estimator with one number of copies, over all stages.

    Cosines are means; biases, variances and norms are taken relative to the squared norm of the
    stage's exact gradient first: of the clean one, or where it does not exist of the noised one.
    """

    estimator: str
    copies: int
    forward_passes: float
    seconds: float
    cosine: float
    """With the clean gradient, or where it does not exist with the noised one."""
    cosine_error: float
    deviation: float
    """√(mean of variance / ‖g‖²)."""
    bias: float
    """√(mean of squared bias / ‖g‖²), with respect to the same gradient as the cosine.

    Where no bias was found with respect to the estimator's own loss, it is what the noise alone
    does, which is known better.
    """
    smoothing: float
    """√(mean of ‖noised - clean gradient‖² / ‖g‖²)."""


def over_stages(rows: Sequence[Row]) -> Mean:
    """The mean of the rows of one estimator with one number of copies."""
    clean = compared(rows) == "clean"
    cosines = [row.cosine_clean if clean else row.cosine_noised for row in rows]
    errors = [row.cosine_clean_error if clean else row.cosine_noised_error for row in rows]
    norms = [row.squared_norm_clean if clean else row.squared_norm_noised for row in rows]
    first = rows[0]
    return Mean(
        first.estimator,
        first.copies,
        first.forward_passes,
        first.seconds,
        float(np.mean(cosines)),
        sqrt(sum(error**2 for error in errors)) / len(rows),
        _relative((row.variance for row in rows), norms),
        _relative((_squared_bias(row, clean) for row in rows), norms),
        _relative((row.squared_smoothing for row in rows), norms) if clean else 0.0,
    )


def compared(rows: Iterable[Row]) -> str:
    """Which exact gradient means are about: the clean one, or where there is none the noised."""
    return "noised" if any(isnan(row.cosine_clean) for row in rows) else "clean"


def curve(rows: Iterable[Row], estimator: str, checkpoint: str) -> list[Mean]:
    """Every number of copies of an estimator at a checkpoint, from few to many."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if (row.estimator, row.checkpoint) == (estimator, checkpoint):
            groups.setdefault(row.copies, []).append(row)
    return [over_stages(groups[copies]) for copies in sorted(groups)]


def budgets(rows: Iterable[Row], checkpoint: str) -> list[float]:
    """Forward passes at which estimators are compared: what plain likelihood ratios take."""
    rows = list(rows)
    names = [row.estimator for row in rows]
    name = "plain antithetic" if "plain antithetic" in names else names[-1]
    return [mean.forward_passes for mean in curve(rows, name, checkpoint)]


def at_budget(means: Sequence[Mean], passes: float) -> float:
    """The cosine with so many forward passes, between measured ones on a logarithmic scale.

    NaN if the estimator takes more, or was measured with less; but one that gains nothing from
    more copies stays where it is.
    """
    means = sorted(means, key=lambda mean: mean.forward_passes)
    if not means or passes < means[0].forward_passes * (1 - 1e-9):
        return nan
    flat = len(means) > 1 and abs(means[-1].cosine - means[-2].cosine) < 1e-6
    if passes > means[-1].forward_passes * (1 + 1e-9) and not flat:
        return nan
    logs = [log(mean.forward_passes) for mean in means]
    return float(np.interp(log(passes), logs, [mean.cosine for mean in means]))


def _squared_bias(row: Row, clean: bool) -> float:
    if not clean:
        return row.squared_bias_noised
    found = row.squared_bias_noised > UNDETECTED * row.squared_bias_noised_error
    return row.squared_bias_clean if found else row.squared_smoothing


def _relative(values: Iterable[float], norms: Sequence[float]) -> float:
    ratios = [value / norm if norm > 0 else nan for value, norm in zip(values, norms, strict=True)]
    return sqrt(max(float(np.mean(ratios)), 0.0))
