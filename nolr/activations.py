"""Element-wise functions f, each with its derivative smoothed by Gaussian noise.

    a(v) = d/dv E[f(v + ε)],  ε ~ N(0, σ²)

is what the control variate needs: the mean slope that a noisy unit shows. It is finite even
where f is a step, so the surrogate derivative of spiking networks falls out of the noise instead
of being assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import pi, prod, sqrt

from nolr.backends import backend_of, namespace
from nolr.checks import use_plain_numbers
from nolr.types import Array

__all__ = ["Identity", "ReLU", "Sigmoid", "Step", "Tanh", "identity", "relu", "sigmoid", "tanh"]


# A density of 1e-12 is nothing, but smaller ones, times a small credit, soon are subnormal numbers,
# and a product of matrices that meets those takes several times as long.
LEAST_EXPONENT = -28.0


def normal_cdf(x: Array) -> Array:
    """Φ(x) to within 3e-4: ½(1 + tanh(√(2/π)(x + 0.044715 x³))).

    Hendrycks and Gimpel: Gaussian error linear units (arXiv:1606.08415), section 2. The gate of a
    control variate need not be exact, and this is ten times as fast as an exact Φ.
    """
    xp = namespace(x)
    inner = x * x
    inner *= 0.044715 * sqrt(2 / pi)
    inner += sqrt(2 / pi)
    inner *= x
    cdf = xp.tanh(inner)
    cdf += 1.0
    cdf *= 0.5
    return cdf


def _by_blocks(function: Callable[[Array], Array], v: Array) -> Array:
    """function(v), taken a few rows at a time if v is large: all its passes stay in the cache."""
    rows = max(1, backend_of(v).cache_bytes // max(1, 8 * prod(v.shape[1:])))
    if v.shape[0] <= 2 * rows:
        return function(v)
    result = namespace(v).empty_like(v)
    for start in range(0, v.shape[0], rows):
        part = slice(start, min(start + rows, v.shape[0]))
        result[part, ...] = function(v[part, ...])
    return result


def _smooth(derivative: Callable[[Array], Array], v: Array, scale: float) -> Array:
    """E[g(v + ε)] by three-point Gauss-Hermite quadrature, exact for polynomials up to degree 5."""
    shift = sqrt(3.0) * scale
    return (2.0 * derivative(v) + 0.5 * (derivative(v + shift) + derivative(v - shift))) / 3.0


@dataclass(frozen=True)
class Identity:
    """f(z) = z."""

    def __call__(self, z: Array) -> Array:
        return z

    def smoothed_derivative(self, v: Array, scale: float) -> Array:
        return namespace(v).ones_like(v)


@dataclass(frozen=True)
class ReLU:
    """f(z) = max(z, 0); the smoothed derivative is Φ(v/σ)."""

    def __call__(self, z: Array) -> Array:
        return namespace(z).maximum(z, 0.0)

    def smoothed_derivative(self, v: Array, scale: float) -> Array:
        return _by_blocks(lambda part: normal_cdf(part * (1.0 / scale)), v)


@dataclass(frozen=True)
class Tanh:
    """f(z) = tanh z; the derivative 1 - tanh² is smoothed by quadrature.

    The tanh of the other two nodes, v ± √3 σ, follows from t = tanh v by the addition theorem. With
    s = tanh √3 σ and q = t² s² the mean is (1 - t²) (2 + (1 - s²) (1 + q)/(1 - q)²) / 3.
    """

    def __call__(self, z: Array) -> Array:
        return namespace(z).tanh(z)

    def smoothed_derivative(self, v: Array, scale: float) -> Array:
        square = math.tanh(sqrt(3.0) * scale) ** 2  # s²

        def smoothed(part: Array) -> Array:
            slope = self(part)
            slope *= slope
            mean = slope * square  # q
            rest = 1.0 - mean
            rest *= rest
            mean += 1.0
            mean /= rest
            mean *= (1.0 - square) / 3.0
            mean += 2.0 / 3.0
            mean *= 1.0 - slope
            return mean

        return _by_blocks(smoothed, v)


@dataclass(frozen=True)
class Sigmoid:
    """f(z) = 1/(1 + e⁻ᶻ), computed as (1 + tanh(z/2))/2, which cannot overflow."""

    def __call__(self, z: Array) -> Array:
        return 0.5 * (1.0 + namespace(z).tanh(0.5 * z))

    def smoothed_derivative(self, v: Array, scale: float) -> Array:
        def derivative(u: Array) -> Array:
            y = self(u)
            return y * (1.0 - y)

        return _smooth(derivative, v, scale)


@dataclass(frozen=True)
class Step:
    """f(z) = 1 if z > threshold else 0; the smoothed derivative is φ((v - V)/σ)/σ.

    Far from the threshold, below 3e-13/σ, it is left there.
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        use_plain_numbers(self)

    def __call__(self, z: Array) -> Array:
        return namespace(z).astype(z > self.threshold, z.dtype)

    def smoothed_derivative(self, v: Array, scale: float) -> Array:
        def smoothed(part: Array) -> Array:
            xp = namespace(part)
            density = part - self.threshold
            density *= 1.0 / scale
            density *= density
            density *= -0.5
            density = xp.exp(xp.maximum(density, LEAST_EXPONENT))
            density *= 1.0 / (scale * sqrt(2 * pi))
            return density

        return _by_blocks(smoothed, v)


identity, relu, tanh, sigmoid = Identity(), ReLU(), Tanh(), Sigmoid()
