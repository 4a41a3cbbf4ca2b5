"""The verdict: what a confidence sequence says of the bias in every block of parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nolr.testing.certificate import BIASED, UNBIASED, UNDECIDED, Finding
from nolr.testing.confidence import ConfidenceSequence
from nolr.testing.directions import Direction

__all__ = ["judge", "norms_of"]

LEAST_SHARE = 0.1  # of the largest stage's norm: a bias below the tolerance of it is no matter
NUMERICAL = 1e-5  # of the norm: differences are no better than that
ORDER = (BIASED, UNDECIDED, UNBIASED)  # the worst first


def norms_of(directions: Sequence[Direction], truth: np.ndarray) -> np.ndarray:
    """What a bias in every direction is compared with: the norm of its stage's gradient.

    Directions overlap, so the longest projection is what is known of the norm. A stage with hardly
    any gradient is compared with a share of the largest stage's.
    """
    norms: dict[int, float] = {}
    for direction, value in zip(directions, np.abs(truth), strict=True):
        norms[direction.stage] = max(norms.get(direction.stage, 0.0), float(value))
    least = LEAST_SHARE * max(norms.values())
    return np.array([max(norms[direction.stage], least) for direction in directions])


def judge(
    directions: Sequence[Direction],
    sequence: ConfidenceSequence,
    norms: np.ndarray,
    doubt: np.ndarray,
    tolerance: float,
) -> tuple[Finding, ...]:
    """One finding a block: of the direction that speaks most against it.

    Args:
        sequence: of the differences between estimate and reference.
        norms: what they are compared with, (directions,).
        doubt: how far off the reference may be, (directions,).
        tolerance: the fraction of the norm that is small enough.
    """
    bias, slack = sequence.mean, NUMERICAL * norms
    radius = sequence.radius + doubt
    error = np.maximum(sequence.error, slack)
    z = np.divide(bias, error, out=np.zeros_like(bias), where=error > 0)
    worst: dict[tuple[int, str], Finding] = {}
    for i, direction in enumerate(directions):
        verdict = UNDECIDED
        if abs(bias[i]) > radius[i] + slack[i]:
            verdict = BIASED
        elif abs(bias[i]) + radius[i] <= tolerance * norms[i]:
            verdict = UNBIASED
        block = direction.stage, direction.name
        found = Finding(
            *block,
            direction.label,
            norm=float(norms[i]),
            bias=float(bias[i]),
            radius=float(radius[i]),
            z=float(z[i]),
            verdict=verdict,
        )
        if block not in worst or _badness(found) > _badness(worst[block]):
            worst[block] = found
    return tuple(worst.values())


def _badness(found: Finding) -> tuple[int, float]:
    return -ORDER.index(found.verdict), abs(found.z)
