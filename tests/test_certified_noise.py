"""Certificates of coupled samplers and of Laplace noise, and of where they end.

Gaussian noise and independent groups have theirs in `test_certificates`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import harness
import numpy as np
import pytest
import reference
from harness import SHARE, X, estimator
from scipy import stats

from nolr.activations import Identity, Step
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import CleanLoss, Joint, LayerWise, LeaveGroupOut, NoBaseline
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.losses import CrossEntropy
from nolr.network import Sequential
from nolr.noise import Gaussian, Laplace
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.testing import (
    BIASED,
    check_score,
    check_unbiased,
    constant_loss_residue,
    even_loss_residue,
)
from nolr.testing.directions import Direction
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.references import find_references
from nolr.types import Key, Noise

SIGMA = harness.SIGMA
WIDTH = SIGMA / np.sqrt(2)  # b
COUPLED = (Orthogonal(), Sobol())
SCHEDULES = (LayerWise(), Joint())


def name_of(part):
    return "plain" if part is None else type(part).__name__


def certify(case, method, **kwargs):
    kwargs = {"error_rate": SHARE} | kwargs
    return check_unbiased(
        method, case.network, case.params, (case.inputs, case.target), case.loss, **kwargs
    )


def known(name, schedule):
    """The gradient that the schedule promises with Gaussian noise, in the layout of parameters."""
    case = harness.CASES[name]
    vector, start = harness.truth_of(name, schedule), 0
    grads = [{} for _ in case.params]
    for node in case.network.stages:
        for key, array in sorted(case.params[node].items()):
            grads[node][key] = vector[start : start + array.size].reshape(array.shape)
            start += array.size
    return tuple(grads)


# --- samplers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "schedule", "baseline", "residual"),
    list(itertools.product(COUPLED, SCHEDULES, (NoBaseline(), CleanLoss()), (None, 1.0))),
    ids=name_of,
)
def test_coupled_groups_are_unbiased(sampler, schedule, baseline, residual):
    method = estimator(sampler, schedule, baseline, residual)
    truth = known("chain", schedule)
    certify(harness.CASES["chain"], method, reference=truth).raise_unless_unbiased()


@pytest.mark.parametrize("sampler", COUPLED, ids=name_of)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_coupled_groups_are_unbiased_in_recurrent_layers(sampler, schedule):
    method = estimator(sampler, schedule, CleanLoss(), None)
    truth = known("recurrent", schedule)
    certificate = certify(harness.CASES["recurrent"], method, tolerance=0.1, reference=truth)
    certificate.raise_unless_unbiased()


class IndependentOrthogonal(Orthogonal):
    """A fault: it says of its groups what is not so."""

    independent_groups = True


class IndependentSobol(Sobol):
    """The same fault."""

    independent_groups = True


@pytest.mark.parametrize("sampler", COUPLED, ids=name_of)
def test_the_other_groups_are_refused_as_a_baseline_of_coupled_ones(sampler):
    with pytest.raises(BadInput, match="draws together with it: choose CleanLoss"):
        estimator(sampler, LayerWise(), LeaveGroupOut())


@pytest.mark.parametrize(
    ("case", "sampler", "schedule"),
    [
        ("recurrent", IndependentOrthogonal(), LayerWise()),
        ("recurrent", IndependentSobol(), LayerWise()),
    ],
    ids=str,
)
def test_for_they_would_bias_what_pulls_through_arrays_of_its_own(case, sampler, schedule):
    """A baseline that tells of this group's noise, and copies of a pair with their own arrays."""
    method = estimator(sampler, schedule, LeaveGroupOut(), None)
    certificate = certify(harness.CASES[case], method, reference=known(case, schedule))
    assert certificate.verdict == BIASED
    assert abs(certificate.worst.z) > 8


@pytest.mark.parametrize("sampler", COUPLED, ids=name_of)
@pytest.mark.parametrize("baseline", [NoBaseline(), CleanLoss()], ids=name_of)
def test_identities_hold_of_coupled_groups(sampler, baseline):
    method = estimator(sampler, LayerWise(), baseline)
    linear, chain = harness.CASES["linear"], harness.CASES["chain"]
    for residue in (constant_loss_residue, even_loss_residue):
        found = residue(method, linear.network, linear.params, (linear.inputs, linear.target))
        assert found < 1e-12
    bent = even_loss_residue(method, chain.network, chain.params, (chain.inputs, chain.target))
    assert bent > 1e-6  # a control: not of a network that bends


# --- Laplace noise --------------------------------------------------------------------------------


@dataclass(frozen=True)
class WrongScore:
    """The noise of one distribution with the score of another."""

    noise: Noise
    other: Noise
    factor: float = 1.0
    linear = False

    @property
    def scale(self):
        return self.noise.scale

    def colour(self, white):
        return self.noise.colour(white)

    def score(self, white):
        return self.factor * self.other.score(white)


STEP = harness.Case(
    Sequential(Dense(2, 2, Step()), Dense(2, 2, Identity()), input_shape=(2,)),
    CrossEntropy(),
    harness.LABELS,
    None,
    (
        {"W": np.array([[0.9, -0.5], [0.4, 1.2]]), "b": np.array([0.1, -0.2])},
        {"W": np.array([[1.1, -0.8], [-0.3, 0.9]]), "b": np.array([-0.35, 0.15])},
    ),
)


def laplace_grid(units, nodes=32):
    """Noise (P, units) and weights: Gauss-Laguerre on either side of 0, for every unit."""
    t, weight = np.polynomial.laguerre.laggauss(nodes)
    axis = WIDTH * np.concatenate([-t[::-1], t])
    weight = np.concatenate([weight[::-1], weight]) / 2
    grid = np.array(list(itertools.product(axis, repeat=units)))
    return grid, np.prod(list(itertools.product(weight, repeat=units)), axis=1)


def smooth_gradient(case, stage, nodes=32):
    """Of the mean loss of a smooth case with Laplace noise in one stage, {name: array}."""
    grid, weight = laplace_grid(2, nodes)
    (grad,) = reference.parameter_gradient(
        lambda params: float(weight @ case.mean_loss(params, {stage: grid})),
        case.params,
        [case.network.stages[stage]],
        step=1e-4,
    )
    return grad


@cache
def step_gradient():
    """Of the step network, layer by layer: the four patterns of its units are a finite sum, and
    behind them the last stage is smooth."""
    first, second = STEP.params
    grads = [{name: np.zeros_like(a) for name, a in theta.items()} for theta in STEP.params]
    grid, weight = laplace_grid(2)
    for x, label in zip(X, harness.LABELS, strict=True):
        v = first["W"] @ x + first["b"]
        delta = np.zeros(2)
        for pattern in itertools.product((0, 1), repeat=2):
            logits = second["W"] @ np.array(pattern) + second["b"]
            ell = reference.cross_entropy(logits, label)
            chance = stats.laplace.cdf((2 * np.array(pattern) - 1) * v, 0, WIDTH)
            slope = (2 * np.array(pattern) - 1) * stats.laplace.pdf(v, 0, WIDTH)
            delta += ell * np.array([slope[0] * chance[1], chance[0] * slope[1]])
        grads[0]["W"] += np.outer(delta, x) / len(X)
        grads[0]["b"] += delta / len(X)
        fires = (v > 0).astype(float)
        o = second["W"] @ fires + second["b"] + grid
        share = np.exp(o - o.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        delta = weight @ (share - np.eye(2)[label])
        grads[1]["W"] += np.outer(delta, fires) / len(X)
        grads[1]["b"] += delta / len(X)
    return tuple(grads)


@pytest.mark.parametrize("sampler", [Independent(), Antithetic(), *COUPLED], ids=name_of)
@pytest.mark.parametrize("residual", [None, 1.0])
def test_laplace_noise_is_unbiased_in_a_smooth_network(sampler, residual):
    method = estimator(sampler, LayerWise(), CleanLoss(), residual, noise=Laplace(SIGMA))
    certify(harness.CASES["chain"], method, tolerance=0.1).raise_unless_unbiased()


@pytest.mark.parametrize("residual", [None, 1.0])
def test_laplace_noise_is_unbiased_in_all_stages_at_once(residual):
    method = estimator(Antithetic(), Joint(), CleanLoss(), residual, noise=Laplace(SIGMA))
    certify(harness.CASES["chain"], method, tolerance=0.1).raise_unless_unbiased()


@pytest.mark.parametrize("sampler", [Antithetic(), *COUPLED], ids=name_of)
@pytest.mark.parametrize("residual", [None, 1.0])
def test_laplace_noise_is_unbiased_behind_a_step(sampler, residual):
    method = estimator(sampler, LayerWise(), CleanLoss(), residual, noise=Laplace(SIGMA))
    truth = step_gradient()
    certify(STEP, method, tolerance=0.1, reference=truth).raise_unless_unbiased()
    wrong = tuple({k: 1.15 * v for k, v in grad.items()} for grad in truth)  # a control
    assert certify(STEP, method, tolerance=0.1, reference=wrong).verdict == BIASED


def test_a_score_of_another_distribution_is_found():
    laplace, gaussian = Laplace(SIGMA), Gaussian(SIGMA)

    def verdict(case, noise, other, **kwargs):
        method = estimator(Antithetic(), LayerWise(), CleanLoss(), noise=WrongScore(noise, other))
        return certify(case, method, **kwargs).verdict

    assert verdict(harness.CASES["chain"], laplace, gaussian) == BIASED
    assert verdict(harness.CASES["chain"], gaussian, laplace) == BIASED
    assert verdict(STEP, laplace, gaussian, reference=step_gradient()) == BIASED


def test_check_score_knows_laplace_noise():
    good, laplace, gaussian = 1e-6, Laplace(0.3), Gaussian(0.3)
    assert check_score(laplace) > good
    assert check_score(harness.ScaledScore(laplace, 1.02)) < good
    white = get_backend("numpy").normal(Key(4), (200_000,), "float64")
    for noise, other in ((laplace, gaussian), (gaussian, laplace)):
        # Of another distribution, also where its scale is such that E[ε s] = 1.
        for factor in (1.0, 1.0 / np.mean(noise.colour(white) * other.score(white))):
            assert check_score(WrongScore(noise, other, factor)) < good


# --- references -----------------------------------------------------------------------------------


def noised_losses(case, noises):
    """Layer-wise, every stage with its own noise."""
    return [
        NoisedLoss(case.network, case.inputs, case.target, case.loss, {stage: noise})
        for stage, noise in enumerate(noises)
    ]


def names(case, *noises):
    return [
        one.name for one in find_references(noised_losses(case, noises), case.params, "auto", 512)
    ]


def test_closed_forms_and_patterns_are_for_gaussian_noise_alone():
    gaussian, laplace = Gaussian(SIGMA), Laplace(SIGMA)
    quadratic = harness.CASES["quadratic"]
    assert names(quadratic, gaussian, gaussian)[0] == "closed form"
    assert names(quadratic, gaussian, laplace) == ["quadrature", "differences"]
    lif = Sequential(LIF(2, 2, steps=3), MeanOverTime(), Dense(2, 2, Identity()), input_shape=(2,))
    spiking = harness.Case(lif, CrossEntropy(), harness.LABELS, None, x=X + 0.5)
    assert names(spiking, gaussian, gaussian) == ["spike patterns", "differences"]
    for noises in ((laplace, laplace), (laplace, gaussian), (gaussian, laplace)):
        assert names(spiking, *noises) == ["differences"]


@pytest.mark.parametrize("stage", [0, 1])
def test_a_grid_for_laplace_noise_knows_how_far_off_it_is(stage):
    """White noise bends into Laplace noise at 0, where a Gauss-Hermite grid does not look."""
    case = harness.CASES["chain"]
    truth = smooth_gradient(case, stage)
    coarser = smooth_gradient(case, stage, nodes=24)
    node = case.network.stages[stage]
    directions, exact = [], []
    for name, array in truth.items():
        np.testing.assert_allclose(array, coarser[name], atol=1e-6)
        for unit in np.eye(array.size):
            directions.append(Direction(stage, node, name, unit.reshape(array.shape)))
            exact.append(float(unit @ array.reshape(-1)))
    rng = np.random.default_rng(0)
    grid = find_references(
        noised_losses(case, [Laplace(SIGMA)] * 2), case.params, "quadrature", 512
    )
    found = grid[0].project(case.params, directions, rng)
    doubt = grid[0].error(case.params, directions, rng)
    assert (np.abs(found - exact) <= doubt + 1e-6).all()
    assert 1e-6 < doubt.max() < 1e-3
    assert np.abs(1.01 * found - exact).max() > doubt.max()  # a control
