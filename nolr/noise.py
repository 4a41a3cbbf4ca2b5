"""Noise: a distribution of ε as a colouring of white noise η ~ N(0, I), ε = C η.

The score is s = -∇ε log p(ε) = C⁻ᵀ η. It weighs the loss in the likelihood-ratio identity

    ∇θ E[loss] = E[loss · (∂v/∂θ)ᵀ s]

(Williams: Simple statistical gradient-following algorithms; Machine Learning 8, 1992.)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from nolr.errors import BadInput
from nolr.types import Array

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian noise of one level on every unit: ε = σ η, s = η / σ.

    Args:
        sigma: standard deviation σ > 0, in units of the pre-activation.

    Raises:
        BadInput: sigma is not a positive finite number.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        if not (isfinite(self.sigma) and self.sigma > 0):
            raise BadInput(
                f"the noise level sigma must be a positive finite number, got {self.sigma}: "
                "likelihood ratios divide by it; try 0.1"
            )

    @property
    def scale(self) -> float:
        return self.sigma

    def colour(self, white: Array) -> Array:
        return white * self.sigma

    def score(self, white: Array) -> Array:
        return white * (1.0 / self.sigma)
