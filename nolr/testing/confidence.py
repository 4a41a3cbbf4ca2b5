"""Confidence sequences: intervals that hold at all times at once, so that one may look and stop.

An ordinary interval is valid for a number of draws that was fixed beforehand; whoever looks after
every draw and stops when it suits will be wrong sooner or later. The normal-mixture sequence

    mean_t ± sd_t √( 2 (tρ² + 1) / (t²ρ²) · log( √(tρ² + 1) / α ) )

holds for all t together with probability 1 - α, asymptotically: as a central limit theorem does.
Robbins: Statistical methods related to the law of the iterated logarithm (Annals of Mathematical
Statistics 41, 1970); Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: Time-uniform central limit
theory and asymptotic confidence sequences (Annals of Statistics 52, 2024), theorem 2.2.
"""

from __future__ import annotations

from math import log, sqrt

import numpy as np

__all__ = ["FEWEST_DRAWS", "ConfidenceSequence"]

FEWEST_DRAWS = 64
"""Before so many draws nothing is concluded: the spread itself is not known well enough."""


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
        self.rho_squared = (spread + log(spread + 1.0)) / horizon  # their equation for the best ρ
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
        """Half the width of the intervals, (numbers,); infinite before the fewest draws."""
        if self.draws < FEWEST_DRAWS:
            return np.full_like(self.mean, np.inf)
        t, grown = self.draws, self.draws * self.rho_squared + 1.0
        factor = 2.0 * grown / (t * t * self.rho_squared) * log(sqrt(grown) / self.alpha)
        return self.deviation * sqrt(factor)

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean, (numbers,)."""
        return self.deviation / sqrt(max(self.draws, 1))
