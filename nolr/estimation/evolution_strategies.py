"""Evolution strategies: noise in the parameters, weighed by the loss it causes.

For η ~ N(0, I) and any b that is independent of it,

    ∇θ E[loss(θ + ση)] = E[ (loss(θ + ση) - b) η / σ ]

which is the likelihood ratio of the parameters themselves. Rechenberg: Evolutionsstrategie
(Frommann-Holzboog, 1973); Nesterov and Spokoiny: Random gradient-free minimization of convex
functions (Foundations of Computational Mathematics 17, 2017); Salimans, Ho, Chen, Sidor, Sutskever:
Evolution strategies as a scalable alternative to reinforcement learning (arXiv:1703.03864).

Noise in a pre-activation is drawn for every sample and has one number a unit. Here a copy is a run
of the whole batch with one direction η for all samples, and it has one number a parameter. So the
variance grows with the number of parameters, and a larger batch does not average it away.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from nolr.checks import check_sizes
from nolr.errors import BadInput
from nolr.estimation.baselines import CleanLoss
from nolr.estimation.parameter_space import ParameterSearch
from nolr.estimation.schedules import Joint
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, copy_groups
from nolr.types import Array, Baseline, Loss, Sampler, Schedule

__all__ = ["EvolutionStrategies"]


@dataclass(frozen=True)
class EvolutionStrategies(ParameterSearch):
    """Estimate the gradient of a network's mean loss from runs with perturbed parameters.

    The estimand is the gradient of the mean loss smoothed by noise in the parameters: of all stages
    (`Joint`), or of one stage at a time (`LayerWise`), which has less variance. Then only the tail
    from that stage on is run again.

    Args:
        sigma: standard deviation σ of the noise, in units of the parameters.
        copies: runs of the whole batch with perturbed parameters, in whole groups of the sampler;
            so many in every pass of the schedule.
        sampler: how the directions η of the copies are drawn together.
        schedule: the parameters of which stages are perturbed together; decides the estimand.
        baseline: what a copy's mean loss is compared with.
        block_bytes: directions are drawn and held in blocks of about this size. Of the perturbed
            parameters there is one copy at a time.

    Raises:
        BadInput: sigma out of range, copies in no whole number of groups, or too few of them.
    """

    sigma: float = 0.01
    copies: int = 2
    sampler: Sampler = Antithetic()
    schedule: Schedule = Joint()
    baseline: Baseline = CleanLoss()
    block_bytes: int = 1 << 26

    noise_in: ClassVar[str] = "parameters"
    """Where the noise is that smooths the loss, for certificates."""

    def __post_init__(self) -> None:
        if not isinstance(self.sigma, Real):
            raise BadInput(
                f"sigma of EvolutionStrategies is a number like 0.01, got {self.sigma!r}"
            )
        _ = self.noise  # which refuses a level that is out of range
        check_sizes(self, "copies", "block_bytes")
        groups, need = copy_groups(self.sampler, self.copies), self.baseline.minimum_groups
        if groups < need:
            raise BadInput(
                f"the baseline {type(self.baseline).__name__} needs at least "
                f"{need * len(self.sampler.signs)} copies with the sampler "
                f"{type(self.sampler).__name__}, got {self.copies}"
            )

    @property
    def noise(self) -> Gaussian:
        """The distribution of the noise in a parameter."""
        return Gaussian(self.sigma)

    def estimand(self, network: Sequential, loss: Loss) -> str:
        """Say in words whose gradient is estimated, and whether without bias."""
        return (
            f"gradient of {self.schedule.estimand}, the noise being in the parameters (standard "
            f"deviation {self.sigma:g}); unbiased"
        )

    @property
    def _baseline(self) -> Baseline:
        return self.baseline

    def _size(self, theta: Array) -> float:
        return self.sigma
