"""Noise: a distribution of ε as a colouring of white noise η ~ N(0, I).

The score is s = -∇ε log p(ε). It weighs the loss in the likelihood-ratio identity

    ∇θ E[loss] = E[loss · (∂v/∂θ)ᵀ s]

(Williams: Simple statistical gradient-following algorithms; Machine Learning 8, 1992.) For Gaussian
noise ε = C η it is C⁻ᵀ η; any other distribution is white noise through its own quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from nolr.backends import namespace
from nolr.checks import use_plain_numbers
from nolr.errors import BadInput
from nolr.types import Array

__all__ = ["Gaussian", "Laplace"]


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian noise of one level on every unit: ε = σ η, s = η / σ.

    Args:
        sigma: standard deviation σ, in units of the pre-activation; its square must fit a float32.

    Raises:
        BadInput: sigma is not a number between 1e-15 and 1e15.
    """

    sigma: float = 0.1
    linear = True

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        _check_level(self.sigma)

    @property
    def scale(self) -> float:
        return self.sigma

    def colour(self, white: Array) -> Array:
        return white * self.sigma

    def score(self, white: Array) -> Array:
        return white * (1.0 / self.sigma)


@dataclass(frozen=True)
class Laplace:
    """Independent Laplace noise of one level on every unit: density exp(-|ε|/b) / 2b, b = σ/√2.

        ε = b · sign(η) · g(|η|),  g(x) = -log erfc(x/√2)        s = sign(ε)/b

    It has longer tails than Gaussian noise, and its score is bounded, but the score's variance is
    1/b² = 2/σ², twice that of a Gaussian one: where the loss is smooth on the scale of σ the
    gradients are noisier. The gate of a layer is smoothed by Gaussian noise of the same standard
    deviation, here an approximation that costs variance and no bias.

    Args:
        sigma: standard deviation σ, in units of the pre-activation; its square must fit a float32.

    Raises:
        BadInput: sigma is not a number between 1e-15 and 1e15.
    """

    sigma: float = 0.1
    linear = False

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        _check_level(self.sigma)

    @property
    def scale(self) -> float:
        return self.sigma

    @property
    def width(self) -> float:
        """b, the mean of |ε|, in units of the pre-activation."""
        return self.sigma / sqrt(2.0)

    def colour(self, white: Array) -> Array:
        noise = _exponential_slope(namespace(white).abs(white))
        noise *= white
        noise *= self.width
        return noise

    def score(self, white: Array) -> Array:
        return namespace(white).sign(white) * (1.0 / self.width)


def _check_level(sigma: float) -> None:
    if not 1e-15 <= sigma <= 1e15:
        raise BadInput(
            f"the noise level sigma must be a positive number from 1e-15 to 1e15, got "
            f"{sigma}: likelihood ratios divide by it; try 0.1"
        )


# P and Q, of least maximal relative error on [0, 9] (iterated weighted least squares: Barrodale and
# Mason, Two simple algorithms for discrete rational approximation; Mathematics of Computation 24,
# 1970), from the highest power down. Positive throughout, so that no digits cancel.
NUMERATOR = (0.006739612893, 0.07159500631, 0.3281246513, 0.7654521537, 0.7978845372)
DENOMINATOR = (0.01349174943, 0.1421372721, 0.5604087506, 1.0)


def _exponential_slope(x: Array) -> Array:
    """g(x)/x for g(x) = -log erfc(x/√2), x ≥ 0: what makes |η| exponentially distributed.

    P(|η| > x) = erfc(x/√2), and P(g > t) = e⁻ᵗ. As P(x)/Q(x), within 3e-8 of the true slope for x
    up to 9, and 1e-3 beyond, where white noise never is.
    """
    slope = x * NUMERATOR[0]
    slope += NUMERATOR[1]
    for coefficient in NUMERATOR[2:]:
        slope *= x
        slope += coefficient
    divisor = x * DENOMINATOR[0]
    divisor += DENOMINATOR[1]
    for coefficient in DENOMINATOR[2:]:
        divisor *= x
        divisor += coefficient
    slope /= divisor
    return slope
