"""Certificates: what is unbiased is certified, what is biased is found, and neither by chance."""

from __future__ import annotations

import itertools

import harness
import numpy as np
import pytest
import test_unbiased_families as families
from harness import estimator

from nolr.activations import Identity, Tanh
from nolr.errors import BadInput
from nolr.estimation import (
    CleanLoss,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    NoBaseline,
)
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.losses import CrossEntropy
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Independent
from nolr.testing import (
    BIASED,
    UNBIASED,
    UNDECIDED,
    check_score,
    check_unbiased,
    constant_loss_residue,
    even_loss_residue,
)
from nolr.testing.identities import ConstantLoss

SPIKING = {
    reset: harness.Case(
        Sequential(
            LIF(2, 2, steps=2, decay=0.7, reset=reset, learn_decay=learn),
            MeanOverTime(),
            Dense(2, 2, Identity()),
            input_shape=(2,),
        ),
        CrossEntropy(),
        harness.LABELS,
        None,
        x=harness.X + 0.5,
    )
    for reset, learn in (("zero", False), ("subtract", True))
}
CASES = {**harness.CASES, **families.CASES, **{f"spikes, {k}": v for k, v in SPIKING.items()}}
SHARE = 1e-6 / 400  # of the error rate of all certificates in this file

TOLERANCE = 0.15  # three times the default's, for a tenth of its draws

SAMPLERS = (Independent(), Antithetic())
BASELINES = (NoBaseline(), CleanLoss(), LeaveGroupOut())


def certify(name, method, **kwargs):
    case = CASES[name]
    kwargs = {"error_rate": SHARE} | kwargs
    return check_unbiased(
        method, case.network, case.params, (case.inputs, case.target), case.loss, **kwargs
    )


# --- what is unbiased -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if "error rate" not in name])
@pytest.mark.parametrize("residual", [None, 1.0], ids=["plain", "variate"])
def test_every_family_has_its_certificate(name, residual):
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), residual)
    certificate = certify(name, method, tolerance=TOLERANCE)
    certificate.raise_unless_unbiased()
    assert all(found.bound <= TOLERANCE for found in certificate.findings)


@pytest.mark.parametrize(
    ("sampler", "schedule", "baseline", "residual"),
    list(itertools.product(SAMPLERS, (LayerWise(), Joint()), BASELINES, (None, 1.0))),
    ids=lambda part: type(part).__name__ if part is not None else "plain",
)
def test_every_combination_has_its_certificate(sampler, schedule, baseline, residual):
    method = estimator(sampler, schedule, baseline, residual)
    certify("chain", method, tolerance=TOLERANCE).raise_unless_unbiased()


@pytest.mark.parametrize("name", ["graph", "states"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("residual", [None, 1.0], ids=["plain", "variate"])
def test_joint_noise_has_its_certificate(name, sampler, residual):
    method = estimator(sampler, Joint(), CleanLoss(), residual)
    certify(name, method, tolerance=TOLERANCE).raise_unless_unbiased()


# --- what is biased -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chain", "graph", "states", "spikes, zero"])
@pytest.mark.parametrize("residual", [0.0, 0.5])
def test_learned_feedback_is_found_biased_and_by_how_much(name, residual):
    """At λ the bias is (1 - λ) of that of the prediction alone, from one fixed state."""
    biases = {}
    for share in (residual, 0.0):
        method = estimator(Antithetic(), LayerWise(), CleanLoss(), share)
        case = CASES[name]
        state = harness.adversarial(method, case)
        certificate = certify(name, method, state=state)
        assert certificate.verdict == BIASED
        biases[share] = certificate.worst
        assert "biased" in certificate.estimand
        assert abs(certificate.worst.z) > 6
    if residual and biases[residual].direction == biases[0.0].direction != "estimate":
        share = biases[residual].bias / biases[0.0].bias
        assert share == pytest.approx(1 - residual, rel=0.25)


def test_a_score_of_the_wrong_scale_is_found_in_every_stage():
    wrong = harness.ScaledScore(Gaussian(harness.SIGMA), 1.1)
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), None, noise=wrong)
    certificate = certify("chain", method)
    assert certificate.verdict == BIASED
    found = {f.stage: f for f in certificate.findings if f.name == "W"}
    assert found[0].verdict == found[1].verdict == BIASED
    assert "biased" in str(certificate)
    with pytest.raises(AssertionError, match=r"0\.W"):
        certificate.raise_unless_unbiased()


def test_a_bias_in_one_array_is_found_in_that_array():
    inner = estimator(Antithetic(), LayerWise(), CleanLoss(), 1.0)

    def shifted(*args):
        estimate, state = inner(*args)
        grads = [dict(theta) for theta in estimate.grads]
        grads[0]["b"] = grads[0]["b"] + 0.1
        return estimate._replace(grads=tuple(grads)), state

    shifted.noise, shifted.schedule = inner.noise, inner.schedule
    case = CASES["chain"]
    state = inner.init(case.network, case.params, case.loss)
    certificate = certify("chain", shifted, state=state)
    verdicts = {(f.stage, f.name): f.verdict for f in certificate.findings}
    assert verdicts.pop((0, "b")) == BIASED
    assert BIASED not in verdicts.values()


def test_the_wrong_estimand_is_found():
    """Joint noise is another loss than noise in one stage at a time."""
    method = estimator(Antithetic(), Joint(), CleanLoss(), None)
    certify("quadratic", method).raise_unless_unbiased()
    apart = certify("quadratic", method, noised=[(0,), (1,)])
    assert apart.verdict == BIASED


# --- what cannot be told --------------------------------------------------------------------------


def test_too_few_draws_leave_it_undecided():
    method = estimator(Independent(), LayerWise(), NoBaseline(), None)
    certificate = certify("chain", method, max_draws=64, rows=64)
    assert certificate.verdict == UNDECIDED
    assert certificate.draws == 64
    with pytest.raises(AssertionError, match="undecided"):
        certificate.raise_unless_unbiased()
    decided = certify("chain", method, max_draws=16384, rows=2048)
    assert decided.verdict == UNBIASED
    assert decided.draws > 64


def test_a_certificate_is_a_function_of_its_seed():
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), 1.0)
    one, two, other = (certify("single", method, seed=seed) for seed in (5, 5, 6))
    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reference": "guess"}, "there is no reference 'guess'"),
        ({"tolerance": 0.0}, "tolerance must lie between 0 and 1"),
        ({"error_rate": 1.0}, "error_rate must lie between 0 and 1"),
        ({"max_draws": 10}, "max_draws must be at least 64"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"noised": [(0,)]}, "has 2 stages, but noised says of 1"),
        ({"reference": "closed form"}, "does not fit this network"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong, words):
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), 1.0)
    with pytest.raises(BadInput, match=words):
        certify("chain", method, **wrong)


def test_a_function_must_say_which_stages_are_noised():
    inner = estimator(Antithetic(), LayerWise(), CleanLoss(), None)
    with pytest.raises(BadInput, match="no schedule"):
        certify("single", lambda *args: inner(*args), state=())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:0], y[:0]), "batch of check_unbiased is empty"),
        (lambda x, y: (x, y[:1]), "4 inputs but 1 targets"),
        (lambda x, y: (x[:, :1], y), "expected samples of shape"),
        (lambda x, y: (x, y + 9), "labels must lie in"),
        (lambda x, y: (x * np.nan, y), "inputs of check_unbiased contain NaN"),
        (lambda x, y: (x.tolist(), y), "expected an array of one of the backends"),
    ],
)
def test_a_batch_that_does_not_fit_is_one_sentence(change, words):
    case, method = CASES["chain"], estimator(Antithetic(), LayerWise(), CleanLoss(), 1.0)
    batch = change(case.inputs, case.target)
    with pytest.raises(BadInput, match=words):
        check_unbiased(method, case.network, case.params, batch, case.loss)


def test_an_estimate_that_is_not_finite_is_refused():
    inner = estimator(Antithetic(), LayerWise(), CleanLoss(), None)

    def broken(*args):
        estimate, state = inner(*args)
        grads = tuple({k: v * np.inf for k, v in theta.items()} for theta in estimate.grads)
        return estimate._replace(grads=grads), state

    broken.noise, broken.schedule = inner.noise, inner.schedule
    case = CASES["chain"]
    state = inner.init(case.network, case.params, case.loss)
    with pytest.raises(BadInput, match="draw 1 of the estimator has an entry that is not finite"):
        certify("chain", broken, state=state)


def test_a_gradient_of_zero_is_no_division_by_zero():
    case = CASES["chain"]
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), 1.0)
    batch = case.inputs, case.target
    certificate = check_unbiased(method, case.network, case.params, batch, ConstantLoss())
    certificate.raise_unless_unbiased()
    assert {found.bound for found in certificate.findings} == {0.0}


def test_float32_and_another_backend_are_certified_too(backend):
    network = Sequential(Dense(2, 2, Tanh()), Dense(2, 2, Identity()), input_shape=(2,))
    params = network.init(1, backend, "float32")
    batch = backend.asarray(harness.X, "float32"), backend.asarray(harness.LABELS)
    method = LikelihoodRatio(Gaussian(0.5), control_variate=JacobianControlVariate(1.0))
    certificate = check_unbiased(
        method, network, params, batch, CrossEntropy(), tolerance=0.2, error_rate=1e-9
    )
    certificate.raise_unless_unbiased()


# --- identities -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("baseline", BASELINES, ids=repr)
@pytest.mark.parametrize("residual", [None, 1.0])
def test_a_constant_loss_teaches_nothing(sampler, baseline, residual):
    case = CASES["chain"]
    residue = constant_loss_residue(
        estimator(sampler, LayerWise(), baseline, residual),
        case.network,
        case.params,
        (case.inputs, case.target),
    )
    if isinstance(baseline, NoBaseline) and isinstance(sampler, Independent):
        assert residue > 0.1  # the control: without pairs or a baseline it does
    else:
        assert residue < 1e-12


@pytest.mark.parametrize("baseline", BASELINES, ids=repr)
def test_the_even_part_of_a_loss_cancels_in_pairs(baseline):
    case = CASES["linear"]
    batch = case.inputs, case.target
    pairs = estimator(Antithetic(), LayerWise(), baseline)
    assert even_loss_residue(pairs, case.network, case.params, batch) < 1e-12
    curved = CASES["chain"]  # the control: not of a network that bends
    assert even_loss_residue(pairs, curved.network, curved.params, batch) > 1e-6


def test_scores_are_the_inverse_of_the_noise():
    assert check_score(Gaussian(0.3)) > 1e-6
    assert check_score(harness.ScaledScore(Gaussian(0.3), 1.02)) < 1e-6
