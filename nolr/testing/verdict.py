"""The verdict: what a confidence sequence says of the bias in every block of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from nolr.testing.certificate import BIASED, UNBIASED, UNDECIDED, Finding
from nolr.testing.confidence import ConfidenceSequence
from nolr.testing.directions import PILOT, Direction

__all__ = ["judge", "norms_of"]

LEAST_SHARE = 0.1  # of the largest stage's norm: a bias below the tolerance of it is no matter
NUMERICAL = 1e-5  # of the norm: differences are no better than that
ORDER = (BIASED, UNDECIDED, UNBIASED)  # the worst first


def norms_of(directions: Sequence[Direction], truth: np.ndarray) -> np.ndarray:
    """What a bias in every direction is compared with: the norm of its stage's gradient.

    Of a block, what is known of its norm is the projection on the pilot, or the length of that on
    all its other directions, which are orthonormal. Blocks add up as squares. A stage with hardly
    any gradient is compared with a share of the largest stage's.
    """
    squares: dict[tuple[int, str, bool], float] = {}
    for direction, value in zip(directions, truth, strict=True):
        part = direction.stage, direction.name, direction.label == PILOT
        squares[part] = squares.get(part, 0.0) + float(value) ** 2
    stages: dict[int, float] = {}
    for stage, name in {(stage, name) for stage, name, _ in squares}:
        most = max(squares.get((stage, name, pilot), 0.0) for pilot in (True, False))
        stages[stage] = stages.get(stage, 0.0) + most
    least = LEAST_SHARE**2 * max(stages.values())
    return np.array([sqrt(max(stages[direction.stage], least)) for direction in directions])


def judge(
    directions: Sequence[Direction],
    sequence: ConfidenceSequence,
    truth: np.ndarray,
    norms: np.ndarray,
    doubt: np.ndarray,
    tolerance: float,
) -> tuple[Finding, ...]:
    """One finding a block: of the direction that speaks most against it.

    Args:
        sequence: of the differences between estimate and reference.
        truth: the reference, (directions,).
        norms: what they are compared with, (directions,).
        doubt: how far off the reference may be, (directions,).
        tolerance: the fraction of the norm that is small enough.
    """
    norms = np.where(_silent(directions, sequence, truth), 0.0, norms)
    bias, slack = sequence.mean, NUMERICAL * norms
    radius = sequence.radius + doubt
    error = np.maximum(sequence.error, slack)
    z = np.divide(bias, error, out=np.zeros_like(bias), where=error > 0)
    worst: dict[tuple[int, str], Finding] = {}
    for i, direction in enumerate(directions):
        verdict = UNDECIDED
        if abs(bias[i]) > radius[i] + slack[i]:
            verdict = BIASED
        elif norms[i] > 0 and abs(bias[i]) + radius[i] <= tolerance * norms[i]:
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


def _silent(
    directions: Sequence[Direction], sequence: ConfidenceSequence, truth: np.ndarray
) -> np.ndarray:
    """Whether every estimate of a direction's stage was exactly 0, and so is its reference.

    Whoever returns zeros would pass there, so it tells nothing of the estimator.
    """
    heard = (truth != 0) | (sequence.mean != 0) | (sequence.deviation != 0)
    loud = {direction.stage for direction, one in zip(directions, heard, strict=True) if one}
    return np.array([direction.stage not in loud for direction in directions])


def _badness(found: Finding) -> tuple[int, float]:
    return -ORDER.index(found.verdict), abs(found.z)
