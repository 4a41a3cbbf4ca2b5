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
from nolr.testing.certificate import BIASED, UNBIASED, Certificate
from nolr.testing.confidence import FEWEST_DRAWS, ConfidenceSequence
from nolr.testing.directions import Direction, choose_directions, flat, projection, to_host
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.references import NAMES, Reference, find_references
from nolr.testing.verdict import ORDER, judge, norms_of
from nolr.types import Array, Key, Loss, Params

__all__ = ["check_unbiased"]

WARM_UP = 20  # steps in which a control variate learns, before its state is held fixed
ENOUGH = 0.1  # of the tolerance: how far off a grid may be, to be used at all

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
    _check_numbers(reference, tolerance, error_rate, max_draws, rows)
    batch = _check_batch(network, params, batch, loss)
    noised = _noised(estimator, network, loss) if noised is None else noised
    if len(noised) != len(network.stages):
        raise BadInput(
            f"the network has {len(network.stages)} stages, but noised says of {len(noised)} which "
            "stages have noise: give one tuple for every stage"
        )
    host = [{k: to_host(v) for k, v in theta.items()} for theta in params]
    references = find_references(
        _noised_losses(estimator, network, batch, loss, noised), host, reference, rows
    )
    state = _warm(estimator, network, params, batch, loss, seed) if state is None else state
    tiles = max(1, rows // batch[0].shape[0])
    tiled = _tiled(batch, tiles)
    draws = _Draws(
        lambda key: estimator(network, params, tiled, loss, key, state)[0].grads, network, seed
    )
    rng = np.random.default_rng(seed)
    directions = choose_directions(network, draws.next(16).mean(axis=0), host, rng)
    found, truth, doubt = _settle(references, host, directions, rng, tolerance)
    matrix = projection(network, host, directions)
    differences = ConfidenceSequence(len(directions), error_rate, max(max_draws // 4, FEWEST_DRAWS))
    expected = ConfidenceSequence(len(directions), error_rate, max_draws)  # for its mean alone
    while differences.draws < max_draws:
        count = min(max(FEWEST_DRAWS, differences.draws // 2), max_draws - differences.draws)
        values = _expected(found, truth, host, directions, rng, count)
        expected.add(values)
        differences.add(draws.next(count) @ matrix - values)
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
        tiles * batch[0].shape[0],
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
            rows.append(flat(self.network, grads))
            if not np.isfinite(rows[-1]).all():
                raise BadInput(
                    f"draw {self.count} of the estimator has an entry that is not finite: try "
                    "smaller inputs, or look for a division by 0"
                )
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
        norms = norms_of(directions, truth)
        small = bool((doubt <= ENOUGH * tolerance * norms).all())
        if small or len(references) == 1:
            return found, truth, doubt
    return found, None, np.zeros(len(directions))


# --- small things ---------------------------------------------------------------------------------


def _check_numbers(
    reference: str, tolerance: float, error_rate: float, max_draws: int, rows: int
) -> None:
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


def _check_batch(
    network: Sequential, params: Sequence[Params], batch: tuple[Array, Array], loss: Loss
) -> tuple[Array, Array]:
    """The batch in the dtype of the parameters."""
    x, target = batch
    backend = backend_of(x)
    if x.shape[0] == 0:
        raise BadInput("the batch of check_unbiased is empty: give it a few samples")
    if x.shape[0] != target.shape[0]:
        raise BadInput(f"the batch has {x.shape[0]} inputs but {target.shape[0]} targets")
    x = network.check_input(params, x)
    loss.check(backend.to_host(target), network.output_shape)
    for name, arrays in (("inputs", [x]), ("parameters", [a for p in params for a in p.values()])):
        if not all(np.isfinite(to_host(array)).all() for array in arrays):
            raise BadInput(f"the {name} of check_unbiased contain NaN or infinity: replace them")
    return x, target


def _noised_losses(
    estimator: Estimator,
    network: Sequential,
    batch: tuple[Array, Array],
    loss: Loss,
    noised: Sequence[Sequence[int]],
) -> list[NoisedLoss]:
    """The estimand of every stage."""
    inputs, target = to_host(batch[0]), np.asarray(backend_of(batch[1]).to_host(batch[1]))
    target = target if target.dtype.kind in "iu" else target.astype(np.float64)
    return [
        NoisedLoss(network, inputs, target, loss, {s: _noise(estimator, s) for s in together})
        for together in noised
    ]


def _tiled(batch: tuple[Array, Array], tiles: int) -> tuple[Array, Array]:
    """Every sample many times: one estimate then is the mean of as many independent ones."""
    x, target = batch
    xp = backend_of(x).xp
    return xp.concat([x] * tiles, axis=0), xp.concat([target] * tiles, axis=0)
