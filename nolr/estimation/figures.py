"""Figures of merit of a gradient estimate, from two half batches.

Let A and B be the mean gradients of the two halves of a batch. They are independent, so

    E⟨A, B⟩ = ‖E[G]‖²                 the signal, without the noise's bias
    E‖(A + B)/2‖² = ‖E[G]‖² + Var[G]   the power of the estimate G = (A + B)/2
    signal-to-noise = signal / (power - signal)

The variance is the total one, of the perturbations and of the minibatch together. It costs no
more than the gradient itself, for any layer, because it needs `pullback` alone.

Of a residual R the same figures give the weight of least mean squared error,
λ* = ‖E[R]‖² / (‖E[R]‖² + Var[R]), which is signal over power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import NamedTuple

from nolr.backends import namespace
from nolr.types import Array, Params

__all__ = ["Figures", "Merit", "StageFigures", "measure", "squared_norm"]

FORGETTING = 0.98


class Merit(NamedTuple):
    """Decayed sums over measurements, as plain numbers: every figure is a ratio of two of them."""

    signal: float = 0.0
    power: float = 0.0
    share: float = 0.0
    """Of signal / power in each measurement."""
    square: float = 0.0
    """Of its square, for its standard error."""
    weight: float = 0.0
    """Sum of the discounts; 0 before the first measurement."""

    def update(self, signal: float, power: float) -> Merit:
        share = signal / power if power > 0 else 0.0
        return Merit(
            FORGETTING * self.signal + signal,
            FORGETTING * self.power + power,
            FORGETTING * self.share + share,
            FORGETTING * self.square + share**2,
            FORGETTING * self.weight + 1.0,
        )

    @property
    def variance(self) -> float:
        """Power less signal, of a measurement; NaN before the first."""
        return max(self.power - self.signal, 0.0) / self.weight if self.weight else nan

    def best_weight(self) -> float:
        """A cautious estimate of the λ of least mean squared error.

        The mean share of signal in the power, less two standard errors: where the signal drowns,
        its estimate is as often positive as negative, and clipped at 0 it would let noise in on
        average. Shares are averaged, not sums divided, because gradients change their scale.
        """
        if self.weight < 2.0:
            return 0.0
        mean = self.share / self.weight
        spread = max(self.square / self.weight - mean**2, 0.0)
        return min(max(mean - 2.0 * sqrt(spread * _effective_share(self.weight)), 0.0), 1.0)


def _effective_share(weight: float) -> float:
    """Σ d² / (Σ d)² for discounts d that sum to `weight`: one over the effective number."""
    remembered = 1.0 - (1.0 - FORGETTING) * weight  # FORGETTING ** (number of measurements)
    return (1.0 - FORGETTING) * (1.0 + remembered) / ((1.0 + FORGETTING) * (1.0 - remembered))


def measure(halves: Sequence[Params]) -> tuple[float, float]:
    """Return signal and power of G = (A + B)/2, given (A/2, B/2) by parameter name.

    The halves of a batch of an odd number of samples differ by one, which is neglected.
    """
    first, second = halves
    cross: Array = 0.0
    square: Array = 0.0
    for name, a in first.items():
        xp = namespace(a)
        a, b = xp.reshape(a, (-1,)), xp.reshape(second[name], (-1,))
        total = a + b
        cross += xp.vecdot(a, b)
        square += xp.vecdot(total, total)
    return 4.0 * float(cross), float(square)


def squared_norm(params: Params) -> float:
    """The sum of all squares."""
    arrays = [namespace(a).reshape(a, (-1,)) for a in params.values()]
    return sum(float(namespace(a).vecdot(a, a)) for a in arrays)


class StageFigures(NamedTuple):
    """What is known of one stage's gradient estimate, as plain numbers."""

    gradient_norm: float
    """Root mean square norm of the estimate; NaN before the first measurement."""
    variance: float
    """Total variance of the estimate, summed over its entries; NaN likewise."""
    signal_to_noise: float
    """‖E[G]‖² / Var[G]; NaN likewise."""
    beta: float
    """Coefficient β of the control variate, 0 without one."""
    residual: float
    """Weight λ of the likelihood-ratio residual, 1 without a control variate."""
    copies: int
    """Noisy copies of every sample; 0 where the gradient is exact without any, or the allocation
    leaves the stage out of this step."""


@dataclass(frozen=True)
class Figures:
    """A report on an estimate: what is estimated, what it cost, and how well it went.

    Signal and noise are those of the estimate as it is: they do not see a bias.
    """

    estimand: str
    """The loss whose gradient is estimated, and whether without bias."""
    forward_passes: int
    """Of a sample in this step: the clean run, and every noisy tail as if it were a whole one."""
    weights: tuple[tuple[Array | float, float, int], ...]
    """β, λ and the noisy copies of every sample, per stage."""
    merit: tuple[Merit, ...]

    @property
    def stages(self) -> tuple[StageFigures, ...]:
        return tuple(
            StageFigures(*_read(merit), float(beta), residual, copies)
            for merit, (beta, residual, copies) in zip(self.merit, self.weights, strict=True)
        )


def _read(merit: Merit) -> tuple[float, float, float]:
    """Norm, variance and signal-to-noise ratio."""
    if merit.weight == 0:
        return nan, nan, nan
    noise = max(merit.power - merit.signal, 0.0)
    ratio = max(merit.signal, 0.0) / noise if noise > 0 else nan
    return sqrt(merit.power / merit.weight), merit.variance, ratio
