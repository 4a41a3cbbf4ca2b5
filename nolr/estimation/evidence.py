"""What a control variate remembers of a stage: sums over earlier draws, and how it forgets."""

from __future__ import annotations

from typing import NamedTuple

from nolr.backends import namespace
from nolr.estimation.regression import TINY
from nolr.types import Array

__all__ = ["Evidence"]


class Evidence(NamedTuple):
    """Decayed sums over earlier draws; the Jacobian and β are ratios of them.

    A loss without derivative takes the place of the output, and e = 1: then m = 1.
    """

    moment: Array
    """Σ Δo uᵀ, (m, units)."""
    energy: Array
    """Σ E[u²], (units,), or Σ E[uuᵀ] of every place, (places, F, F)."""
    draws: Array
    """Noisy copies, or pairs, of single samples, ()."""
    covariance: Array
    """Σ odd loss · (ĝ·ε), ()."""
    power: Array
    """Σ (ĝ·ε)², ()."""

    def plus(self, other: Evidence, discount: float = 1.0) -> Evidence:
        """discount · self + other."""
        return Evidence(*(discount * a + b for a, b in zip(self, other, strict=True)))

    def discount(self, kept: float) -> Evidence:
        """Forget, every unit in proportion to what is known of it: 1 - kept where that is average.

        A unit that gains energy e in every step and loses (1 - kept) E²/Ē, at most E, settles at
        E = √(e Ē/(1 - kept)): if it gains a tenth of what is usual it remembers √10 times as long.
        That is the best compromise between noise, which a long memory averages out, and a Jacobian
        that drifts at random (Kalman, Journal of Basic Engineering 82, 1960). What is remembered
        of a place's features goes with the place.
        """
        xp, units = namespace(self.energy), self.moment.shape[1]
        if units == 0:
            return self.plus(self, kept - 1.0)
        known = self.energy if self.energy.ndim == 1 else self.energy[:, 0, 0]
        kept_each = xp.maximum(1.0 - (1.0 - kept) * known / (xp.mean(known) + TINY), 0.0)
        of_energy = xp.reshape(kept_each, (-1, *(1,) * (self.energy.ndim - 1)))
        return Evidence(
            moment=self.moment * xp.repeat(kept_each, units // kept_each.shape[0]),
            energy=self.energy * of_energy,
            draws=kept * self.draws,
            covariance=kept * self.covariance,
            power=kept * self.power,
        )
