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
from nolr.errors import BadInput, nearest
from nolr.estimation.estimand import noised_together
from nolr.network import Sequential
from nolr.testing.certificate import BIASED, UNBIASED, UNDECIDED, Certificate, Finding
from nolr.testing.confidence import FEWEST_DRAWS, ConfidenceSequence
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.references import NAMES, Direction, Reference, find_references
from nolr.types import Array, Key, Loss, Params

__all__ = ["check_unbiased"]

COORDINATES = 6  # of a block that are looked at one by one, or as many random directions
WARM_UP = 20  # steps in which a control variate learns, before its state is held fixed
LEAST_SHARE = 0.1  # of the largest stage's norm: a bias below the tolerance of it is no matter
ENOUGH = 0.1  # of the tolerance: how far off a grid may be, to be used at all
NUMERICAL = 1e-5  # of the norm: differences are no better than that

Estimator = Callable[..., tuple[Any, Any]]


def check_unbiased(
    estimator: Estimator,
    network: Sequential,
    params: Sequence[Params],
    batch: tuple[Array, Array],
    loss: Loss,
    *,
    reference: str = "auto",
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
            is noised how; a function has neither, and then `noised` is needed.
        network: small, with a batch of a few samples: references run it many times.
        params: as `network.init` gives them, on any backend; float64 is best.
        batch: inputs and targets.
        loss: one number a sample.
        reference: one of "closed form", "spike patterns", "quadrature", "differences", or "auto"
            for the first of them that fits.
        tolerance: the bias that is small enough, as a fraction of the norm of a stage's gradient.
        error_rate: probability of a wrong verdict, over all directions and looks together.
        max_draws: give up after so many draws.
        rows: of one draw: the batch is tiled to about so many, so that a mean is nearly normal.
        state: the estimator's state, held fixed; None lets it learn for a few steps first.
        noised: for every stage, which stages are noised in the loss whose gradient is estimated.
        seed: of the noise and the directions.

    Raises:
        BadInput: arguments that make no sense together.
    """
    _check(reference, tolerance, error_rate, max_draws, rows)
    x, target = batch
    if x.shape[0] == 0:
        raise BadInput("the batch of check_unbiased is empty: give it a few samples")
    if noised is None:
        noised = _noised(estimator, network, loss)
    host = [{k: _to_host(v) for k, v in theta.items()} for theta in params]
    targets = np.asarray(backend_of(target).to_host(target))
    targets = targets if targets.dtype.kind in "iu" else targets.astype(np.float64)
    noised_losses = [
        NoisedLoss(network, _to_host(x), targets, loss, {s: _noise(estimator, s) for s in together})
        for together in noised
    ]
    tiles = max(1, rows // x.shape[0])
    references = find_references(noised_losses, host, reference, rows)
    state = _warm(estimator, network, params, batch, loss, seed) if state is None else state
    tiled = _tiled(batch, tiles)
    draws = _Draws(
        lambda key: estimator(network, params, tiled, loss, key, state)[0].grads, network, seed
    )
    rng = np.random.default_rng(seed)
    labels, directions = _directions(network, draws.next(16).mean(axis=0), host, rng)
    found, truth, doubt = _settle(references, host, directions, rng, tolerance)
    sequence = ConfidenceSequence(len(directions), error_rate, max(max_draws // 4, FEWEST_DRAWS))
    values = ConfidenceSequence(len(directions), error_rate, max_draws)  # for the norms alone
    matrix = _matrix(network, host, directions)
    while sequence.draws < max_draws:
        count = min(max(FEWEST_DRAWS, sequence.draws // 2), max_draws - sequence.draws)
        projected = draws.next(count) @ matrix
        expected = _expected(found, truth, host, directions, rng, count)
        sequence.add(projected - expected)
        values.add(expected)
        findings = _judge(labels, directions, sequence, values.mean, doubt, tolerance)
        verdicts = {finding.verdict for finding in findings}
        if BIASED in verdicts or verdicts == {UNBIASED}:
            break
    verdict = next(v for v in (BIASED, UNDECIDED, UNBIASED) if v in verdicts)
    return Certificate(
        verdict,
        _estimand(estimator, network, loss),
        found.name,
        sequence.draws,
        tiles * x.shape[0],
        tolerance,
        error_rate,
        findings,
    )


# --- the estimator --------------------------------------------------------------------------------


class _Draws:
    """Independent estimates from a state that never changes."""

    def __init__(
        self, call: Callable[[Key], Sequence[Params]], network: Sequential, seed: int
    ) -> None:
        self.call, self.network, self.seed, self.count = call, network, seed, 0

    def next(self, count: int) -> np.ndarray:
        """(count, P): all parameters, stage by stage and name by name."""
        rows = []
        for _ in range(count):
            self.count += 1
            grads = self.call(Key(self.seed, step=self.count))
            rows.append(_flat(self.network, grads))
        return np.stack(rows)


def _warm(
    estimator: Any,
    network: Sequential,
    params: Sequence[Params],
    batch: tuple[Array, Array],
    loss: Loss,
    seed: int,
) -> Any:
    """The state of an estimator that has learned for a few steps."""
    if not hasattr(estimator, "init"):
        return None
    state = estimator.init(network, params, loss)
    for step in range(WARM_UP):
        _, state = estimator(network, params, batch, loss, Key(seed + 1, step=step), state)
    return state


def _noised(estimator: Estimator, network: Sequential, loss: Loss) -> Sequence[Sequence[int]]:
    if not hasattr(estimator, "schedule"):
        raise BadInput(
            "the estimator has no schedule that says which stages are noised together: give "
            "check_unbiased noised=[(0,), (1,), ...], the noised stages for every stage"
        )
    variate = getattr(estimator, "control_variate", None)
    return noised_together(estimator.schedule, variate, network, loss)


def _noise(estimator: Estimator, stage: int) -> Any:
    noise = getattr(estimator, "noise", None)
    if noise is None:
        raise BadInput("the estimator has no noise: set its attribute `noise`, a nolr.Gaussian")
    return noise[stage] if isinstance(noise, tuple) else noise


def _estimand(estimator: Estimator, network: Sequential, loss: Loss) -> str:
    say = getattr(estimator, "estimand", None)
    return say(network, loss) if callable(say) else "gradient of the loss with noise"


# --- directions -----------------------------------------------------------------------------------


def _directions(
    network: Sequential, pilot: np.ndarray, params: Sequence[Params], rng: np.random.Generator
) -> tuple[list[str], list[Direction]]:
    """For every block, where a pilot estimate points, and some coordinates or random directions."""
    labels, found, start = [], [], 0
    for stage, node in enumerate(network.stages):
        for name in sorted(params[node]):
            shape = params[node][name].shape
            size = params[node][name].size
            first = pilot[start : start + size]
            start += size
            length = float(np.linalg.norm(first))
            vectors = [first / length] if length > 0 else []
            names = ["estimate"] * len(vectors)
            if size <= COORDINATES:
                vectors += list(np.eye(size))
                names += [f"entry {index}" for index in range(size)]
            else:
                basis, _ = np.linalg.qr(rng.standard_normal((size, COORDINATES)))
                vectors += list(basis.T)
                names += [f"random {index}" for index in range(COORDINATES)]
            labels += names
            found += [Direction(stage, node, name, v.reshape(shape)) for v in vectors]
    return labels, found


def _matrix(
    network: Sequential, params: Sequence[Params], directions: Sequence[Direction]
) -> np.ndarray:
    """(P, directions): what projects a flat gradient."""
    columns = []
    for direction in directions:
        zero: list[Params] = [{k: np.zeros_like(v) for k, v in theta.items()} for theta in params]
        zero[direction.node][direction.name] = direction.values
        columns.append(_flat(network, zero))
    return np.stack(columns, axis=1)


def _expected(
    found: Reference,
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
    references: Sequence[Reference],
    params: Sequence[Params],
    directions: Sequence[Direction],
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[Reference, np.ndarray | None, np.ndarray]:
    """The first reference that is good enough, its derivatives if it is exact, and their error."""
    for found in references:
        if not found.exact:
            break
        truth, doubt = (f(params, directions, rng) for f in (found.project, found.error))
        norms = _norms(directions, truth)
        small = bool((doubt <= ENOUGH * tolerance * norms).all())
        if small or len(references) == 1:
            return found, truth, doubt
    return found, None, np.zeros(len(directions))


def _norms(directions: Sequence[Direction], truth: np.ndarray) -> np.ndarray:
    """What a bias in every direction is compared with: the norm of its stage's gradient.

    Directions overlap, so the longest projection is what is known of the norm. A stage with hardly
    any gradient is compared with a share of the largest stage's.
    """
    norms: dict[int, float] = {}
    for direction, value in zip(directions, np.abs(truth), strict=True):
        norms[direction.stage] = max(norms.get(direction.stage, 0.0), float(value))
    least = LEAST_SHARE * max(norms.values())
    return np.array([max(norms[direction.stage], least) for direction in directions])


# --- the verdict ----------------------------------------------------------------------------------


def _judge(
    labels: Sequence[str],
    directions: Sequence[Direction],
    sequence: ConfidenceSequence,
    truth: np.ndarray,
    doubt: np.ndarray,
    tolerance: float,
) -> tuple[Finding, ...]:
    """One finding a block: of the direction that speaks most against it."""
    blocks: dict[tuple[int, str], list[int]] = {}
    for index, direction in enumerate(directions):
        blocks.setdefault((direction.stage, direction.name), []).append(index)
    norms = _norms(directions, truth)
    bias, radius = sequence.mean, sequence.radius + doubt
    findings = []
    for (stage, name), rows in blocks.items():
        norm = float(norms[rows[0]])
        slack = NUMERICAL * norm
        z = bias / np.maximum(sequence.error, slack)
        verdicts = [
            BIASED
            if abs(bias[i]) > radius[i] + slack
            else UNBIASED
            if abs(bias[i]) + radius[i] <= tolerance * norm
            else UNDECIDED
            for i in rows
        ]
        order = (BIASED, UNDECIDED, UNBIASED)
        pick = min(range(len(rows)), key=lambda k: (order.index(verdicts[k]), -abs(z[rows[k]])))
        i = rows[pick]
        findings.append(
            Finding(
                stage,
                name,
                labels[i],
                norm,
                float(bias[i]),
                float(radius[i]),
                float(z[i]),
                verdicts[pick],
            )
        )
    return tuple(findings)


# --- small things ---------------------------------------------------------------------------------


def _check(reference: str, tolerance: float, error_rate: float, max_draws: int, rows: int) -> None:
    if reference != "auto" and reference not in NAMES:
        raise BadInput(f"there is no reference {reference!r}{nearest(reference, NAMES)}")
    if not 0 < tolerance < 1:
        raise BadInput(f"tolerance must lie between 0 and 1, got {tolerance}")
    if not 0 < error_rate < 1:
        raise BadInput(f"error_rate must lie between 0 and 1, got {error_rate}")
    if max_draws < FEWEST_DRAWS:
        raise BadInput(f"max_draws must be at least {FEWEST_DRAWS}, got {max_draws}")
    if rows < 1:
        raise BadInput(f"rows must be at least 1, got {rows}")


def _to_host(array: Array) -> np.ndarray:
    return np.asarray(backend_of(array).to_host(array), dtype=np.float64)


def _flat(network: Sequential, grads: Sequence[Params]) -> np.ndarray:
    return np.concatenate(
        [
            _to_host(grads[node][k]).reshape(-1)
            for node in network.stages
            for k in sorted(grads[node])
        ]
    )


def _tiled(batch: tuple[Array, Array], tiles: int) -> tuple[Array, Array]:
    """Every sample many times: one estimate then is the mean of as many independent ones."""
    x, target = batch
    xp = backend_of(x).xp
    return xp.concat([x] * tiles, axis=0), xp.concat([target] * tiles, axis=0)
