"""Noise: a distribution of ε as a colouring of white noise η ~ N(0, I), ε = C η.

The score is s = -∇ε log p(ε) = C⁻ᵀ η. It weighs the loss in the likelihood-ratio identity

    ∇θ E[loss] = E[loss · (∂v/∂θ)ᵀ s]

(Williams: Simple statistical gradient-following algorithms; Machine Learning 8, 1992.)
"""

from __future__ import annotations

from dataclasses import dataclass

from nolr.errors import BadInput
from nolr.types import Array

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian noise of one level on every unit: ε = σ η, s = η / σ.

    Args:
        sigma: standard deviation σ, in units of the pre-activation; its square must fit a float32.

    Raises:
        BadInput: sigma is not a number between 1e-15 and 1e15.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        if not 1e-15 <= self.sigma <= 1e15:
            raise BadInput(
                f"the noise level sigma must be a positive number from 1e-15 to 1e15, got "
                f"{self.sigma}: likelihood ratios divide by it; try 0.1"
            )

    @property
    def scale(self) -> float:
        return self.sigma

    def colour(self, white: Array) -> Array:
        return white * self.sigma

    def score(self, white: Array) -> Array:
        return white * (1.0 / self.sigma)
