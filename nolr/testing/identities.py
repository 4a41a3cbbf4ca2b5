"""Exact identities: what must hold of every likelihood-ratio estimator, whatever the network.

- scores have mean 0, and E[f(ε) sᵀ] = E[∂f/∂ε] for every smooth f (integrate by parts), so
  E[ε sᵀ] = I; for Gaussian noise ε = Cη that is to say that E[s sᵀ] = C⁻ᵀC⁻¹;
- a constant loss teaches nothing: with any baseline the gradient is 0;
- under antithetic pairs the even part of the loss cancels: of an even loss the gradient is 0.

They need no reference and few draws, so they come before a certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from nolr.backends import backend_of, get_backend
from nolr.errors import BadInput
from nolr.estimation import LikelihoodRatio
from nolr.network import Sequential
from nolr.sampling import Antithetic
from nolr.types import Array, Key, Noise, Params, Shape

__all__ = ["ConstantLoss", "EvenLoss", "check_score", "constant_loss_residue", "even_loss_residue"]

ANY = Key(0, step=1)


@dataclass(frozen=True)
class ConstantLoss:
    """The same number for every output: its gradient is 0."""

    value: float = 3.0
    differentiable = True

    def check(self, targets: Any, output_shape: Shape) -> None:
        """Any target will do."""

    def __call__(self, output: Array, target: Array) -> Array:
        xp = backend_of(output).xp
        return xp.full(output.shape[:1], self.value, dtype=output.dtype)

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, Array]:
        return self(output, target), 0.0 * output


@dataclass(frozen=True)
class EvenLoss:
    """½ ‖o - clean output‖²: of a stage that is linear to the output, even in its noise."""

    clean: Array
    """(N, m), for the samples of the batch in order."""
    differentiable = False

    def check(self, targets: Any, output_shape: Shape) -> None:
        """Any target will do."""

    def __call__(self, output: Array, target: Array) -> Array:
        xp = backend_of(output).xp
        copies = output.shape[0] // self.clean.shape[0]
        change = output - xp.concat([self.clean] * copies, axis=0)
        return 0.5 * xp.sum(change * change, axis=1)

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, None]:
        return self(output, target), None


def constant_loss_residue(
    estimator: LikelihoodRatio,
    network: Sequential,
    params: tuple[Params, ...],
    batch: tuple[Array, Array],
    key: Key = ANY,
) -> float:
    """Largest entry of the gradient of a constant loss: 0 for every baseline but none."""
    loss = ConstantLoss()
    state = estimator.init(network, params, loss)
    estimate, _ = estimator(network, params, batch, loss, key, state)
    return _largest(network, estimate.grads)


def even_loss_residue(
    estimator: LikelihoodRatio,
    network: Sequential,
    params: tuple[Params, ...],
    batch: tuple[Array, Array],
    key: Key = ANY,
) -> float:
    """Largest entry of the gradient of an even loss: 0 under antithetic pairs, layer by layer.

    The network must be linear, so that its noise changes the output by an odd amount.

    Raises:
        BadInput: the copies do not come in antithetic pairs.
    """
    if tuple(estimator.sampler.signs) != Antithetic.signs:
        raise BadInput(
            "the even part of a loss cancels in antithetic pairs alone, but the sampler is "
            f"{type(estimator.sampler).__name__}: check an estimator with Antithetic()"
        )
    loss = EvenLoss(network.forward(params, batch[0]))
    state = estimator.init(network, params, loss)
    estimate, _ = estimator(network, params, batch, loss, key, state)
    return _largest(network, estimate.grads)


def check_score(noise: Noise, units: int = 3, draws: int = 200_000, seed: int = 0) -> float:
    """p-value of the hypothesis that `score` is the score of what `colour` makes of white noise.

    What is looked at is E[s] = 0 and E[f(ε) sᵀ] = E[∂f/∂ε], for f(ε) = ε, whose right side is I,
    and f(ε) = sin(ε/σ), entry by entry. The first sees a wrong scale; the second a score that has
    the right scale and belongs to another distribution. No formula for the variance of the score is
    needed: it is C⁻ᵀC⁻¹ where the noise is linear, 2/σ² for Laplace noise.
    """
    white = get_backend("numpy").normal(Key(seed), (draws, units), np.float64)
    score, coloured = noise.score(white), noise.colour(white)
    angle = coloured / noise.scale
    slope = np.cos(angle) / noise.scale  # of sin(ε/σ)
    found = [score]
    for value, derivative in ((coloured, np.ones_like(coloured)), (np.sin(angle), slope)):
        products = value[:, :, None] * score[:, None, :]
        found.append((products - derivative[:, :, None] * np.eye(units)).reshape(draws, -1))
    deviations = np.concatenate(found, axis=1)  # of mean 0
    z = deviations.mean(axis=0) / (deviations.std(axis=0, ddof=1) / draws**0.5)
    return float(min(1.0, 2.0 * len(z) * stats.norm.sf(np.abs(z).max())))


def _largest(network: Sequential, grads: Sequence[Params]) -> float:
    return max(
        float(np.abs(np.asarray(backend_of(array).to_host(array))).max())
        for node in network.stages
        for array in grads[node].values()
    )
