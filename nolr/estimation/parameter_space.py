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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, NamedTuple

from nolr.backends import backend_of, itemsize, namespace, same_backend
from nolr.checks import check_sizes
from nolr.errors import BadInput
from nolr.estimation.baselines import CleanLoss
from nolr.estimation.estimate import Estimate
from nolr.estimation.figures import Figures, Merit
from nolr.estimation.schedules import Joint
from nolr.network import Sequential, Trace, advance
from nolr.noise import Gaussian
from nolr.optimizers import ravel, unravel
from nolr.sampling import Antithetic, copy_groups
from nolr.types import Array, Baseline, Key, Loss, Params, Sampler, Schedule, Stream

__all__ = ["EvolutionStrategies", "NoMemory", "Search"]


class NoMemory(NamedTuple):
    """The state of an estimator that remembers nothing."""

    evidence: tuple[()] = ()


@dataclass(frozen=True)
class EvolutionStrategies:
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

    def init(self, network: Sequential, params: Sequence[Params], loss: Loss) -> NoMemory:
        """Nothing is remembered from step to step."""
        return NoMemory()

    def __call__(
        self,
        network: Sequential,
        params: tuple[Params, ...],
        batch: tuple[Array, Array],
        loss: Loss,
        key: Key,
        state: NoMemory,
    ) -> tuple[Estimate, NoMemory]:
        """Estimate the gradient of the mean loss of one batch.

        Args:
            batch: inputs (N, *input_shape) and targets, on the backend of the parameters. The
                targets are not checked here, for speed: call `loss.check` once beforehand.
            key: address of this step's noise; its step must be new in every call.
            state: from `init`.

        Raises:
            BadInput: the batch does not fit the network.
        """
        search = Search(self.copies, self.sampler, self.schedule, self.baseline, self.block_bytes)
        task = network, params, batch, loss
        said = self.estimand(network, loss)
        return search.estimate(task, key, lambda theta: self.sigma, said), state

    def estimand(self, network: Sequential, loss: Loss) -> str:
        """Say in words whose gradient is estimated, and whether without bias."""
        return (
            f"gradient of {self.schedule.estimand}, the noise being in the parameters (standard "
            f"deviation {self.sigma:g}); unbiased"
        )


@dataclass(frozen=True)
class Search:
    """Compare the losses along random directions η in the parameters:

        g = mean over copies of (loss(θ + sign·size·η) - b) · sign·η / size

    The fields are those of `EvolutionStrategies`.
    """

    copies: int
    sampler: Sampler
    schedule: Schedule
    baseline: Baseline
    block_bytes: int

    def estimate(
        self,
        task: tuple[Sequential, tuple[Params, ...], tuple[Array, Array], Loss],
        key: Key,
        size: Callable[[Array], float],
        estimand: str,
    ) -> Estimate:
        """Run the batch clean, then every copy.

        Args:
            task: network, parameters, batch and loss.
            size: of the steps along η, given the parameters (P,) that are perturbed together.
            estimand: in words.
        """
        network, params, (x, target), loss = task
        same_backend(x=x, target=target)
        if x.shape[0] != target.shape[0]:
            raise BadInput(f"the batch has {x.shape[0]} inputs but {target.shape[0]} targets")
        xp = namespace(x)
        trace = network.run_clean(params, x)
        losses = loss(trace.output, target)
        mean = xp.reshape(_total(losses) / x.shape[0], (1,))
        clean = _Clean(network, params, trace, loss, target, mean)
        grads = [{name: xp.zeros_like(array) for name, array in theta.items()} for theta in params]
        copies = [0] * len(network.stages)
        passes = self.schedule.passes(range(len(network.stages)))
        for stages in passes:
            gradient = self._gradient(clean, stages, key, size)
            for stage, found in zip(stages, gradient, strict=True):
                grads[network.stages[stage]] = found
                copies[stage] = self.copies
        info = Figures(
            estimand=estimand,
            forward_passes=1 + self.copies * len(passes),
            weights=tuple((0.0, 1.0, count) for count in copies),
            merit=tuple(Merit() for _ in copies),  # halves of a batch share their noise
        )
        return Estimate(xp.sum(losses) / x.shape[0], tuple(grads), info)

    def _gradient(
        self, clean: _Clean, stages: Sequence[int], key: Key, size: Callable[[Array], float]
    ) -> tuple[Params, ...]:
        """The gradient of the stages that are perturbed together, one entry a stage."""
        like = [clean.params[clean.network.stages[stage]] for stage in stages]
        theta, signs = ravel(like), self.sampler.signs
        xp, length = namespace(theta), size(theta)
        total, shape = xp.zeros_like(theta), (1, theta.shape[0])  # one sample, of P units
        for number, groups in enumerate(self._blocks(theta.shape[0] * itemsize(theta.dtype))):
            address = key._replace(stream=Stream.NOISE, stage=stages[0], block=key.block + number)
            white = self.sampler.draw(backend_of(theta), address, groups, shape, theta.dtype)
            white = xp.reshape(white, (groups, -1))
            losses = [
                clean.rerun(stages, unravel(theta + (sign * length) * white[group, ...], like))
                for sign in signs
                for group in range(groups)
            ]
            losses = xp.reshape(xp.stack(losses), (len(signs), groups, 1)) / clean.target.shape[0]
            centred = losses - self.baseline(losses, clean.mean)
            odd = sum(sign * centred[i, :, 0] for i, sign in enumerate(signs))
            total += xp.astype(odd / (self.copies * length), theta.dtype) @ white
        return unravel(total, like)

    def _blocks(self, direction: int) -> list[int]:
        """The number of directions of every block, given the bytes of one."""
        groups = self.copies // len(self.sampler.signs)
        size = max(self.baseline.minimum_groups, self.block_bytes // direction)
        blocks = max(1, groups // size)
        return [groups // blocks + (block < groups % blocks) for block in range(blocks)]


class _Clean(NamedTuple):
    """A batch, and what the network and the loss make of it without noise."""

    network: Sequential
    params: tuple[Params, ...]
    trace: Trace
    loss: Loss
    target: Array
    mean: Array
    """Of the losses of all samples, (1,) in float64."""

    def rerun(self, stages: Sequence[int], changed: Sequence[Params]) -> Array:
        """Sum of the losses with other parameters in some stages, (): the tail from the first."""
        nodes = [self.network.stages[stage] for stage in stages]
        params = list(self.params)
        for node, theta in zip(nodes, changed, strict=True):
            params[node] = theta
        state = self.trace.visits[stages[0]].state
        for index in range(nodes[0], len(self.network.nodes)):
            state = advance(self.network.nodes[index], params[index], state)
        return _total(self.loss(state[0], self.target))


def _total(losses: Array) -> Array:
    """Sum over samples and positions, (), in float64.

    Copies differ in the last digits of the batch's dtype; a sum in it would round them away.
    """
    xp = namespace(losses)
    return xp.sum(losses, dtype=xp.float64)
