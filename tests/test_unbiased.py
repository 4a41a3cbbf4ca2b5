"""The heart: every combination of options that claims to be unbiased is, to within 64 estimates.

Each estimate is compared with the exact gradient of the loss that its schedule promises (see
`harness`). Every verdict comes with its negative control on the same draws: a gradient that is
10 % too large must be rejected.
"""

from __future__ import annotations

import itertools

import harness
import numpy as np
import pytest
import reference
from harness import SIGMA, X, estimates, estimator, exact_gradient, judge, truth_of
from scipy import stats

from nolr.activations import Identity, Step
from nolr.estimation import CleanLoss, Joint, LayerWise, LeaveGroupOut, NoBaseline
from nolr.layers import Dense
from nolr.losses import CrossEntropy, ZeroOne
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Independent

COMBINATIONS = [
    pytest.param(*parts, id="-".join(name(part) for part in parts))
    for name in [lambda part: "plain" if part is None else type(part).__name__]
    for parts in itertools.product(
        (Independent(), Antithetic()),
        (LayerWise(), Joint()),
        (NoBaseline(), CleanLoss(), LeaveGroupOut()),
        (None, 1.0),
    )
]
every_combination = pytest.mark.parametrize(
    ("sampler", "schedule", "baseline", "residual"), COMBINATIONS
)


@pytest.mark.parametrize("case", harness.CASES)
@every_combination
def test_mean_estimate_is_the_exact_gradient(case, sampler, schedule, baseline, residual):
    draws = estimates(case, estimator(sampler, schedule, baseline, residual))
    truth = truth_of(case, schedule)
    verdict = judge(draws, truth)
    assert verdict.unbiased, verdict
    shifted = judge(draws, 1.1 * truth)
    assert shifted.rejected, shifted


@every_combination
def test_a_score_of_the_wrong_scale_is_rejected(sampler, schedule, baseline, residual):
    wrong = harness.WrongScore(Gaussian(SIGMA), 1.1)
    draws = estimates("chain", estimator(sampler, schedule, baseline, residual, noise=wrong))
    verdict = judge(draws, truth_of("chain", schedule))
    assert verdict.rejected, verdict


@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("residual", [None, 1.0])
def test_every_stage_may_have_its_own_noise(schedule, residual):
    # The gradient of a linear loss is the same at every level, if each score has its own σ.
    def draws(*noise):
        return estimates(
            "linear", estimator(Antithetic(), schedule, CleanLoss(), residual, 4, noise)
        )

    truth = truth_of("linear", schedule)
    assert judge(draws(Gaussian(0.3), Gaussian(1.5)), truth).unbiased
    # Negative control: the second stage scored with a level that is not its own.
    wrong = harness.WrongScore(Gaussian(1.5), 1.1)
    assert judge(draws(Gaussian(0.3), wrong), truth).rejected


@pytest.mark.parametrize("copies", [2, 6])
@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
def test_any_number_of_copies(schedule, copies):
    draws = estimates("block", estimator(Antithetic(), schedule, CleanLoss(), 1.0, copies))
    assert judge(draws, truth_of("block", schedule)).unbiased
    assert judge(draws, 1.2 * truth_of("block", schedule)).rejected


# --- the truth itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", harness.CASES)
@pytest.mark.parametrize("joint", [False, True], ids=["layer-wise", "joint"])
def test_quadrature_has_converged(case, joint):
    # To a small part of the standard errors above, which are some 1e-3.
    truth = exact_gradient(case, joint)
    coarser = exact_gradient(case, joint, points=10)
    np.testing.assert_allclose(truth, coarser, atol=2e-4)
    assert np.abs(truth).max() > 0.05


def closed_form(name, joint):
    """Two linear stages: the noise leaves a linear loss alone, and adds σ²‖W‖² to a quadratic."""
    case = harness.CASES[name]
    first, second = case.params
    grads = [{"W": 0.0, "b": 0.0}, {"W": 0.0, "b": 0.0}]
    for x, target in zip(X, case.target, strict=True):
        h = first["W"] @ x + first["b"]
        o = second["W"] @ h + second["b"]
        e = np.array(case.loss.c) if name == "linear" else o - target  # (2/m)(o - t), m = 2
        for grad, seen, delta in zip(grads, (x, h), (second["W"].T @ e, e), strict=True):
            grad["W"] = grad["W"] + np.outer(delta, seen) / len(X)
            grad["b"] = grad["b"] + delta / len(X)
    if name == "quadratic" and joint:  # E‖W₂ε₁‖²/m = σ²‖W₂‖²/m
        grads[1]["W"] = grads[1]["W"] + SIGMA**2 * second["W"]
    return harness.flat(grads, case.network)


@pytest.mark.parametrize("joint", [False, True], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("case", ["linear", "quadratic"])
def test_quadrature_is_the_closed_form(case, joint):
    np.testing.assert_allclose(exact_gradient(case, joint), closed_form(case, joint), atol=1e-8)


@every_combination
def test_estimates_of_a_quadratic_loss_tell_the_two_estimands_apart(
    sampler, schedule, baseline, residual
):
    draws = estimates("quadratic", estimator(sampler, schedule, baseline, residual))
    joint = isinstance(schedule, Joint)
    assert judge(draws, closed_form("quadratic", joint)).unbiased
    assert judge(draws, closed_form("quadratic", not joint)).rejected


@every_combination
def test_estimates_of_a_linear_loss_are_its_gradient_at_any_noise_level(
    sampler, schedule, baseline, residual
):
    noise = Gaussian(2.0)
    draws = estimates("linear", estimator(sampler, schedule, baseline, residual, noise=noise))
    truth = closed_form("linear", joint=True)
    assert judge(draws, truth).unbiased
    assert judge(draws, 1.2 * truth).rejected


# --- functions without derivative -----------------------------------------------------------------


STEP_NETWORK = Sequential(Dense(2, 2, Step()), Dense(2, 2, Identity()), input_shape=(2,))


def exact_step_gradient(loss, params):
    """First stage alone noised: the mean over the four patterns of its two units is a finite sum,
    Π Φ(±v/σ); its derivative in v is exact too."""
    first, second = params
    grad = {"W": np.zeros((2, 2)), "b": np.zeros(2)}
    for x, label in zip(X, harness.LABELS, strict=True):
        v = first["W"] @ x + first["b"]
        delta = np.zeros(2)
        for pattern in itertools.product((0, 1), repeat=2):
            pairs = list(zip(pattern, v, strict=True))
            ell = loss(second["W"] @ np.array(pattern) + second["b"], label)
            chance = [stats.norm.cdf((2 * p - 1) * u / SIGMA) for p, u in pairs]
            slope = [(2 * p - 1) * stats.norm.pdf(u / SIGMA) / SIGMA for p, u in pairs]
            delta += ell * np.array([slope[0] * chance[1], chance[0] * slope[1]])
        grad["W"] += np.outer(delta, x) / len(X)
        grad["b"] += delta / len(X)
    return np.concatenate([grad["W"].reshape(-1), grad["b"]])


@pytest.mark.parametrize(
    ("loss", "oracle"),
    [(CrossEntropy(), reference.cross_entropy), (ZeroOne(), reference.zero_one)],
    ids=["cross-entropy", "zero-one"],
)
@pytest.mark.parametrize("baseline", [NoBaseline(), CleanLoss(), LeaveGroupOut()], ids=repr)
@pytest.mark.parametrize("residual", [None, 1.0])
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
def test_a_step_and_an_error_rate_have_unbiased_gradients(
    loss, oracle, sampler, residual, baseline, monkeypatch
):
    params = (
        {"W": np.array([[0.9, -0.5], [0.4, 1.2]]), "b": np.array([0.1, -0.2])},
        {"W": np.array([[1.1, -0.8], [-0.3, 0.9]]), "b": np.array([-0.35, 0.15])},
    )

    case = harness.Case(STEP_NETWORK, loss, harness.LABELS, None, params)
    monkeypatch.setitem(harness.CASES, "step", case)
    draws = estimates("step", estimator(sampler, LayerWise(), baseline, residual))[:, :6]
    truth = exact_step_gradient(oracle, params)
    # Stage order W, b: the same order as `flat`.
    assert judge(draws, truth).unbiased
    assert judge(draws, 1.15 * truth).rejected


# --- what is not unbiased, and says so ------------------------------------------------------------


def predictions(name, schedule):
    """E of learned feedback alone, βĝ pulled back: the estimate whose residual has weight 0."""
    return estimates(name, estimator(Antithetic(), schedule, CleanLoss(), 0), calls=2, tiles=1)


@pytest.mark.parametrize("residual", [0.5, 0.9])
def test_a_residual_below_one_is_biased_by_as_much_as_it_should(residual):
    # E[δ] = λ g + (1 - λ) β ĝ, for a fixed wrong ĝ.
    draws = estimates("block", estimator(Antithetic(), LayerWise(), CleanLoss(), residual))
    truth = truth_of("block", LayerWise())
    assert judge(draws, truth).rejected
    feedback = predictions("block", LayerWise())
    np.testing.assert_array_equal(feedback[0], feedback[1])  # no noise gets into it
    shrunk = residual * truth + (1 - residual) * feedback[0]
    assert judge(draws, shrunk).unbiased
    bias = np.linalg.norm(draws.mean(axis=0) - truth)
    assert bias == pytest.approx(np.linalg.norm(shrunk - truth), rel=0.05)


@pytest.mark.parametrize(
    ("residual", "words"),
    [
        (None, "; unbiased"),
        (1, "; unbiased"),
        (1.0, "; unbiased"),
        (0.5, "residual below 1: biased"),
        ("adaptive", "residual below 1: biased"),
        (0, "a biased estimate"),
    ],
)
@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
def test_the_report_says_what_holds(residual, words, schedule):
    case = harness.CASES["chain"]
    method = estimator(Antithetic(), schedule, CleanLoss(), residual)
    state = method.init(case.network, case.params, case.loss)
    (key,) = reference.keys(1)
    found, _ = method(case.network, case.params, (X, case.target), case.loss, key, state)
    assert words in found.info.estimand
    assert schedule.estimand in found.info.estimand
