"""Is a gradient estimator unbiased? A certificate instead of a guess.

The estimator is drawn again and again from one fixed state, and its mean compared with a reference
(`references`) along several directions of every block of parameters. A confidence sequence says at
any time how large a bias can still be: the check stops when it excludes 0, or a bias that matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nolr.backends import backend_of
from nolr.network import Sequential
from nolr.testing.arguments import (
    check_batch,
    check_losses,
    check_noised,
    check_numbers,
    check_params,
)
from nolr.testing.calls import Calls
from nolr.testing.certificate import BIASED, FEWEST_DRAWS, UNBIASED, Certificate
from nolr.testing.claims import (
    Estimator,
    estimand_of,
    noise_in,
    noise_of,
    noised_by,
    shares_noise,
)
from nolr.testing.confidence import ConfidenceSequence
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
        rows: of one draw: the batch is repeated to about so many, so that a mean is nearly normal.
            The certificate is about the batch so repeated: an estimator that couples the samples
            of a batch, as a baseline that is their mean does, is judged at that size;
            `rows=len(batch[0])` judges it as it is. Where all samples share their noise (noise in
            the parameters, or in nothing) it would average nothing away, so the batch is kept.
        state: the estimator's state, held fixed; None lets it learn for a few steps first.
        noised: for every stage, which stages are noised in the loss whose gradient is estimated; of
            no use where that gradient is known.
        seed: of the noise and the directions.

    Raises:
        BadInput: arguments that make no sense together, or an estimator that returns no estimate
            or writes into its arguments.
    """
    check_numbers(reference, tolerance, error_rate, max_draws, rows, seed)
    check_params(network, params)
    batch = check_batch(network, params, batch, loss)
    check_losses(network, params, batch, loss)
    host = [{k: to_host(v) for k, v in theta.items()} for theta in params]
    references: Sequence[Reference | KnownGradient]
    if isinstance(reference, str):
        noised = noised_by(estimator, network, loss) if noised is None else noised
        check_noised(network, noised)
        noised_losses = _noised_losses(estimator, network, batch, loss, noised)
        references = find_references(noised_losses, host, reference, rows)
    else:
        references = [KnownGradient(network, host, reference)]
    if state is None:
        state = warm(Calls(estimator, network, params, batch, loss), seed)
    repeats = 1 if shares_noise(estimator) else max(1, int(rows) // batch[0].shape[0])
    many = tiled(batch, repeats)
    calls = Calls(estimator, network, params, many, loss)
    draws = Draws(lambda key: calls(key, state)[0], network, seed)
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
        doubts = doubt + found.inaccuracy * norms
        findings = judge(directions, differences, expected.mean, norms, doubts, tolerance)
        verdicts = {finding.verdict for finding in findings}
        # A stage where all is 0 would hardly tell more in the draws to come.
        if BIASED in verdicts or all(f.verdict == UNBIASED or f.silent for f in findings):
            break
    return Certificate(
        next(verdict for verdict in ORDER if verdict in verdicts),
        estimand_of(estimator, network, loss),
        found.name,
        differences.draws,
        many[0].shape[0],
        repeats,
        tolerance,
        error_rate,
        findings,
    )


# --- the reference --------------------------------------------------------------------------------


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
    kind = ParameterNoisedLoss if noise_in(estimator) == "parameters" else NoisedLoss
    return [
        kind(network, inputs, target, loss, {s: noise_of(estimator, network, s) for s in together})
        for together in noised
    ]
