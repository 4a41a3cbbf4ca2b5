"""Confidence sequences: intervals that hold at all times at once, so that one may look and stop.

An ordinary interval is valid for a number of draws that was fixed beforehand; whoever looks after
every draw and stops when it suits will be wrong sooner or later. Of t normal draws, whose mean and
standard deviation are both unknown, the intervals

    mean_t ± sd_t √( (t - 1)(t + κ)(1 - q) / (t ((t + κ) q - κ)) ),  q = (α² κ / (t + κ))^(1/t)

hold for all t together with probability 1 - α. Behind them is a likelihood ratio: of a mean that is
off by some standard deviations, normally distributed with variance 1/κ, against one that is not. It
depends on ratios of draws alone, is a martingale, and so is ever above 1/α with probability α.

Lai: On confidence sequences (Annals of Statistics 4, 1976); Wang, Ramdas: Anytime-valid t-tests and
confidence sequences for Gaussian means with unknown variance (arXiv:2310.03722). The best κ is that
of a known variance: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Time-uniform central limit theory
and asymptotic confidence sequences (Annals of Statistics 52, 2024).
"""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np

from nolr.testing.certificate import FEWEST_DRAWS

__all__ = ["FEWEST_DRAWS", "ConfidenceSequence"]


class ConfidenceSequence:
    """Running means of several numbers, each with an interval that holds at all times.

    Args:
        numbers: how many are followed.
        error_rate: probability that any interval of any of them ever misses.
        horizon: number of draws at which the intervals are to be as narrow as they can be.
    """

    def __init__(self, numbers: int, error_rate: float, horizon: int) -> None:
        self.alpha = error_rate / numbers
        spread = -2.0 * log(self.alpha)
        self.kappa = horizon / (spread + log(spread + 1.0))
        self.draws = 0
        self.mean = np.zeros(numbers)
        self._squares = np.zeros(numbers)

    def add(self, values: np.ndarray) -> None:
        """Add draws (draws, numbers)."""
        for value in values:  # Welford's update
            self.draws += 1
            change = value - self.mean
            self.mean = self.mean + change / self.draws
            self._squares = self._squares + change * (value - self.mean)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of one draw, (numbers,)."""
        return np.sqrt(self._squares / max(self.draws - 1, 1))

    @property
    def radius(self) -> np.ndarray:
        """Half the width of the intervals, (numbers,); infinite while the draws are too few."""
        t, more = self.draws, self.draws + self.kappa
        q = exp((2.0 * log(self.alpha) + log(self.kappa / more)) / max(t, 1))
        rest = more * q - self.kappa
        if t < FEWEST_DRAWS or rest <= 0:
            return np.full_like(self.mean, np.inf)
        return self.deviation * sqrt((t - 1) * more * (1.0 - q) / (t * rest))

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean, (numbers,)."""
        return self.deviation / sqrt(max(self.draws, 1))
