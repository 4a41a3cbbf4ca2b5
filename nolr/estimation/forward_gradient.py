"""Forward gradients: directional derivatives of the clean loss, taken forward only.

For η with E[η ηᵀ] = I

    E[ (∇loss · η) η ] = ∇loss

so a random direction and the slope along it are an unbiased estimate of the gradient. Baydin,
Pearlmutter, Syme, Wood, Torr: Gradients without backpropagation (arXiv:2202.08587).

They take the slope in forward mode, with a rule for every operation. Here layers have no such
rules, so it is a central difference of two runs,

    ∇loss · η ≈ (loss(θ + hη) - loss(θ - hη)) / 2h

which is an antithetic pair of `evolution_strategies` with h for σ: the limit of a
small σ, and the same code. One direction costs two forward runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import ClassVar

from nolr.backends import namespace
from nolr.checks import check_sizes
from nolr.errors import BadInput
from nolr.estimation.baselines import NoBaseline
from nolr.estimation.parameter_space import ParameterSearch
from nolr.estimation.schedules import Joint
from nolr.network import Sequential
from nolr.sampling import Antithetic, copy_groups
from nolr.types import Array, Baseline, Loss, Sampler, Schedule

__all__ = ["ForwardGradient"]

ZERO = 1e-12  # parameters whose root mean square is below are no measure of a step


@dataclass(frozen=True)
class ForwardGradient(ParameterSearch):
    """Estimate the gradient of the clean loss from its slopes along random directions.

    The step h is relative: a fraction of the root mean square of the parameters that are moved
    together, or of 1 where they are all 0. Differences of a smooth loss are off by a term of order
    h² and by rounding, which grows as 1/h; the cube root of the dtype's rounding error balances the
    two: 0.5 % in float32, 0.0006 % in float64. Samples have their losses in the dtype of the
    parameters, their mean is taken in float64.

    A difference across the kink of a ReLU is the slope on neither side: of 784-256-128-10 units at
    their initial parameters, in float32, one slope is off by 7 % with h = 0.5 %, by 1.3 % with
    0.03 %; with tanh by 0.015 and 0.11 %. It is noise for the most part: whatever the loss, the
    mean estimate is the gradient of the loss smoothed by parameter noise of standard deviation h. A
    loss that jumps, as it does behind a spike, has no other gradient: its own is 0 wherever it
    exists, and a difference across a jump is of the order of 1/h. There the estimate is unbiased
    for nothing that is of use.

    Args:
        copies: runs of the whole batch with moved parameters, two for every direction; so many in
            every pass of the schedule.
        sampler: how the directions are drawn together; in pairs.
        schedule: the parameters of which stages are moved together. The estimand is the same for
            all; moving one stage at a time takes more runs, and has less variance.
        step: h as such a fraction; None for the cube root.
        block_bytes: directions are drawn and held in blocks of about this size. Of the moved
            parameters there is one copy at a time.

    Raises:
        BadInput: a sampler without pairs, copies that make no whole number of them, or a step that
            is not positive.
    """

    copies: int = 2
    sampler: Sampler = Antithetic()
    schedule: Schedule = Joint()
    step: float | None = None
    block_bytes: int = 1 << 26

    noise_in: ClassVar[str] = "nothing"
    """Where the noise is that smooths the loss, for certificates."""

    def __post_init__(self) -> None:
        if tuple(self.sampler.signs) != (1.0, -1.0):
            raise BadInput(
                "ForwardGradient takes its differences between the two copies of a pair, but the "
                f"sampler {type(self.sampler).__name__} draws none: use Antithetic()"
            )
        check_sizes(self, "copies", "block_bytes")
        copy_groups(self.sampler, self.copies)
        if self.step is not None and not (isinstance(self.step, Real) and 0 < self.step < inf):
            raise BadInput(
                "step of ForwardGradient is a positive fraction of the size of the parameters, got "
                f"{self.step!r}: try 1e-3, or None"
            )

    def estimand(self, network: Sequential, loss: Loss) -> str:
        """Say in words whose gradient is estimated, and whether without bias."""
        return (
            "gradient of the clean loss, by slopes along random directions; unbiased where the "
            "loss is smooth"
        )

    @property
    def _baseline(self) -> Baseline:
        return NoBaseline()  # a pair's own difference needs none

    def _size(self, theta: Array) -> float:
        xp = namespace(theta)
        scale = float(xp.sqrt(xp.mean(theta * theta)))
        step = float(xp.finfo(theta.dtype).eps) ** (1 / 3) if self.step is None else self.step
        return step * (scale if scale > ZERO else 1.0)
