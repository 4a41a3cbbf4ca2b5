"""Random directions in the parameters: what evolution strategies and forward gradients share.

    g = mean over copies of (loss(θ + sign·h·η) - b) · sign·η / h

A copy is a run of the whole batch with one direction η for all samples. Only the tail from the
first stage that is moved is run again, and there is one copy of moved parameters at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from nolr.backends import backend_of, itemsize, namespace
from nolr.checks import check_batch
from nolr.estimation.estimate import Estimate
from nolr.estimation.figures import Figures, Merit
from nolr.network import Sequential, Trace
from nolr.nodes import advance
from nolr.optimizers import ravel, unravel
from nolr.types import Array, Baseline, Key, Loss, Params, Sampler, Schedule, Stream

__all__ = ["NoMemory", "ParameterSearch"]


class NoMemory(NamedTuple):
    """The state of an estimator that remembers nothing."""

    evidence: tuple[()] = ()


class ParameterSearch(ABC):
    """An estimator that compares losses along random directions in the parameters.

    A subclass has these fields, and says what the gradient is of and how far to go.
    """

    copies: int
    sampler: Sampler
    schedule: Schedule
    block_bytes: int

    @abstractmethod
    def estimand(self, network: Sequential, loss: Loss) -> str:
        """Say in words whose gradient is estimated, and whether without bias."""

    @property
    @abstractmethod
    def _baseline(self) -> Baseline:
        """b."""

    @abstractmethod
    def _size(self, theta: Array) -> float:
        """h, given the parameters (P,) that are moved together."""

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
        """Estimate the gradient of the mean loss of one batch: run it clean, then every copy.

        The arguments are those of `LikelihoodRatio`.

        Raises:
            BadInput: the batch does not fit the network.
        """
        x, target = batch
        check_batch(x, target)
        xp = namespace(x)
        trace = network.run_clean(params, x)
        losses = loss(trace.output, target)
        mean = xp.reshape(_total(losses) / x.shape[0], (1,))
        clean = _Clean(network, params, trace, loss, target, mean)
        grads = [{name: xp.zeros_like(array) for name, array in theta.items()} for theta in params]
        copies = [0] * len(network.stages)
        passes = self.schedule.passes(range(len(network.stages)))
        for stages in passes:
            gradient = self._gradient(clean, stages, key)
            for stage, found in zip(stages, gradient, strict=True):
                grads[network.stages[stage]] = found
                copies[stage] = self.copies
        info = Figures(
            estimand=self.estimand(network, loss),
            forward_passes=1 + self.copies * len(passes),
            weights=tuple((0.0, 1.0, count) for count in copies),
            merit=tuple(Merit() for _ in copies),  # halves of a batch share their noise
        )
        return Estimate(xp.sum(losses) / x.shape[0], tuple(grads), info), state

    def _gradient(self, clean: _Clean, stages: Sequence[int], key: Key) -> tuple[Params, ...]:
        """The gradient of the stages that are perturbed together, one entry a stage."""
        like = [clean.params[clean.network.stages[stage]] for stage in stages]
        theta, signs = ravel(like), self.sampler.signs
        xp, length = namespace(theta), self._size(theta)
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
            centred = losses - self._baseline(losses, clean.mean)
            odd = sum(sign * centred[i, :, 0] for i, sign in enumerate(signs))
            total += xp.astype(odd / (self.copies * length), theta.dtype) @ white
        return unravel(total, like)

    def _blocks(self, direction: int) -> list[int]:
        """The number of directions of every block, given the bytes of one."""
        groups = self.copies // len(self.sampler.signs)
        size = max(self._baseline.minimum_groups, self.block_bytes // direction)
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
