"""Is a gradient estimator unbiased? A certificate instead of a guess.

The estimator is drawn again and again from one fixed state, and its mean compared with a reference
(`references`) along several directions of every block of parameters. A confidence sequence says at
any time how large a bias can still be: the check stops when it excludes 0, or a bias that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nolr.backends import backend_of
from nolr.errors import BadInput
from nolr.estimation.estimand import noised_together
from nolr.network import Sequential
from nolr.testing.arguments import check_batch, check_noised, check_numbers
from nolr.testing.certificate import BIASED, UNBIASED, Certificate
from nolr.testing.confidence import FEWEST_DRAWS, ConfidenceSequence
from nolr.testing.directions import Direction, Projection, choose_directions, to_host
from nolr.testing.draws import Draws, tiled, warm
from nolr.testing.known import KnownGradient
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.parameter_noise import AnyNoisedLoss, ParameterNoisedLoss
from nolr.testing.references import Reference, find_references
from nolr.testing.verdict import ORDER, judge, norms_of
from nolr.types import Array, Loss, Params

__all__ = ["check_unbiased"]

PILOT_DRAWS = 16  # that say where the gradient points
LOOK = 16  # draws at least, between one look and the next
ENOUGH = 0.1  # of the tolerance: how far off a grid may be, to be used at all

Estimator = Callable[..., tuple[Any, Any]]


def check_unbiased(
    estimator: Estimator,
    network: Sequential,
    params: Sequence[Params],
    batch: tuple[Array, Array],
    loss: Loss,
    *,
    reference: str | Sequence[Params] = "auto",
    tolerance: float = 0.05,
    error_rate: float = 1e-6,
    max_draws: int = 4096,
    rows: int = 2048,
    state: Any = None,
    noised: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
) -> Certificate:
    """Certify that the mean of an estimator is the gradient of its estimand, or that it is not.

    Args:
        estimator: called as `LikelihoodRatio` is, (network, params, batch, loss, key, state), it
            returns something with `grads`, and a state. Its `noise` and `schedule` say which loss
            is noised how; a function has neither, and then `noised` or the gradient is needed.
        network: small, with a batch of a few samples: references run it many times.
        params: as `network.init` gives them, on any backend; float64 is best.
        batch: inputs and targets.
        loss: one number a sample.
        reference: one of "closed form", "spike patterns", "quadrature", "differences", or "auto"
            for the first of them that fits. Or the gradient of the estimand itself, where it is
            known, in the layout of the parameters: many estimators can share it.
        tolerance: the bias that is small enough, as a fraction of the norm of a stage's gradient.
        error_rate: probability of a wrong verdict, over all directions and looks together.
        max_draws: give up after so many draws.
        rows: of one draw: the batch is tiled to about so many, so that a mean is nearly normal.
        state: the estimator's state, held fixed; None lets it learn for a few steps first.
        noised: for every stage, which stages are noised in the loss whose gradient is estimated; of
            no use where that gradient is known.
        seed: of the noise and the directions.

    Raises:
        BadInput: arguments that make no sense together.
    """
    check_numbers(reference, tolerance, error_rate, max_draws, rows)
    batch = check_batch(network, params, batch, loss)
    host = [{k: to_host(v) for k, v in theta.items()} for theta in params]
    references: Sequence[Reference | KnownGradient]
    if isinstance(reference, str):
        noised = _noised(estimator, network, loss) if noised is None else noised
        check_noised(network, noised)
        noised_losses = _noised_losses(estimator, network, batch, loss, noised)
        references = find_references(noised_losses, host, reference, rows)
    else:
        references = [KnownGradient(network, host, reference)]
    state = warm(estimator, network, params, batch, loss, seed) if state is None else state
    many = tiled(batch, max(1, rows // batch[0].shape[0]))
    draws = Draws(
        lambda key: estimator(network, params, many, loss, key, state)[0].grads, network, seed
    )
    rng = np.random.default_rng(seed)
    directions = choose_directions(network, draws.mean(PILOT_DRAWS), host, rng)
    found, truth, doubt = _settle(references, host, directions, rng, tolerance)
    projection = Projection(directions)
    differences = ConfidenceSequence(len(directions), error_rate, max(max_draws // 4, FEWEST_DRAWS))
    expected = ConfidenceSequence(len(directions), error_rate, max_draws)  # for its mean alone
    while differences.draws < max_draws:
        more = max(LOOK, differences.draws // 4) if differences.draws else FEWEST_DRAWS
        count = min(more, max_draws - differences.draws)
        values = _expected(found, truth, host, directions, rng, count)
        expected.add(values)
        differences.add(draws.project(count, projection) - values)
        norms = norms_of(directions, expected.mean)
        findings = judge(
            directions, differences, norms, doubt + found.inaccuracy * norms, tolerance
        )
        verdicts = {finding.verdict for finding in findings}
        if BIASED in verdicts or verdicts == {UNBIASED}:
            break
    return Certificate(
        next(verdict for verdict in ORDER if verdict in verdicts),
        _estimand(estimator, network, loss),
        found.name,
        differences.draws,
        many[0].shape[0],
        tolerance,
        error_rate,
        findings,
    )


# --- the estimator --------------------------------------------------------------------------------


def _noised(estimator: Estimator, network: Sequential, loss: Loss) -> Sequence[Sequence[int]]:
    if not hasattr(estimator, "schedule"):
        raise BadInput(
            "the estimator has no schedule that says which stages are noised together: give "
            "check_unbiased noised=[(0,), (1,), ...], the noised stages for every stage"
        )
    if _noise_in(estimator) == "nothing":
        return tuple(() for _ in network.stages)
    variate = getattr(estimator, "control_variate", None)
    return noised_together(estimator.schedule, variate, network, loss)


def _noise(estimator: Estimator, stage: int) -> Any:
    noise = getattr(estimator, "noise", None)
    if noise is None:
        raise BadInput("the estimator has no noise: set its attribute `noise`, a nolr.Gaussian")
    return noise[stage] if isinstance(noise, tuple) else noise


def _noise_in(estimator: Estimator) -> str:
    """Where the noise is that smooths the loss; see `parameter_noise`."""
    return getattr(estimator, "noise_in", "pre-activations")


def _estimand(estimator: Estimator, network: Sequential, loss: Loss) -> str:
    say = getattr(estimator, "estimand", None)
    return say(network, loss) if callable(say) else "gradient of the loss with noise"


def _expected(
    found: Reference | KnownGradient,
    truth: np.ndarray | None,
    params: Sequence[Params],
    directions: Sequence[Direction],
    rng: np.random.Generator,
    count: int,
) -> np.ndarray:
    """The reference for so many draws, (count, directions)."""
    if truth is not None:
        return np.tile(truth, (count, 1))
    return np.stack([found.project(params, directions, rng) for _ in range(count)])


def _settle(
    references: Sequence[Reference | KnownGradient],
    params: Sequence[Params],
    directions: Sequence[Direction],
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[Reference | KnownGradient, np.ndarray | None, np.ndarray]:
    """The first reference that is good enough, its derivatives if it is exact, and their error."""
    for found in references:
        if not found.exact:
            break
        truth, doubt = (f(params, directions, rng) for f in (found.project, found.error))
        norms = norms_of(directions, truth)
        small = bool((doubt <= ENOUGH * tolerance * norms).all())
        if small or len(references) == 1:
            return found, truth, doubt
    return found, None, np.zeros(len(directions))


# --- small things ---------------------------------------------------------------------------------


def _noised_losses(
    estimator: Estimator,
    network: Sequential,
    batch: tuple[Array, Array],
    loss: Loss,
    noised: Sequence[Sequence[int]],
) -> list[AnyNoisedLoss]:
    """The estimand of every stage."""
    inputs, target = to_host(batch[0]), np.asarray(backend_of(batch[1]).to_host(batch[1]))
    target = target if target.dtype.kind in "iu" else target.astype(np.float64)
    kind = ParameterNoisedLoss if _noise_in(estimator) == "parameters" else NoisedLoss
    return [
        kind(network, inputs, target, loss, {s: _noise(estimator, s) for s in together})
        for together in noised
    ]
