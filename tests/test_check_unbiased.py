"""What `check_unbiased` says, and when it cannot tell; what it refuses is in `test_arguments`."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import certified
import harness
import numpy as np
import pytest
from harness import SHARE, estimator

from nolr.activations import Identity, Tanh
from nolr.estimation import CleanLoss, Joint, LayerWise, NoBaseline
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.losses import CrossEntropy
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Independent
from nolr.testing import BIASED, UNBIASED, UNDECIDED, check_unbiased

CASES = {
    **harness.CASES,
    **certified.FAMILIES,
    "subtract": replace(
        certified.FAMILIES["spiking"],
        network=Sequential(
            LIF(2, 2, steps=2, reset="subtract", learn_decay=True),
            MeanOverTime(),
            Dense(2, 2, Identity()),
            input_shape=(2,),
        ),
    ),
}


def certify(name, method, **kwargs):
    case = CASES[name]
    kwargs = {"error_rate": SHARE} | kwargs
    return check_unbiased(
        method, case.network, case.params, (case.inputs, case.target), case.loss, **kwargs
    )


# --- references -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "schedule", "reference"),
    [
        ("quadratic", Joint(), "closed form"),
        ("chain", LayerWise(), "quadrature"),
        ("spiking", LayerWise(), "spike patterns"),
        ("subtract", LayerWise(), "spike patterns"),
        ("pooling", Joint(), "differences"),
    ],
    ids=str,
)
def test_references_of_its_own_certify_too(name, schedule, reference):
    """Without a gradient that is known beforehand, and with a state that it has learned itself."""
    noise = Gaussian(CASES[name].sigma)
    method = estimator(Antithetic(), schedule, CleanLoss(), 1.0, noise=noise)
    certificate = certify(name, method)
    certificate.raise_unless_unbiased()
    assert certificate.reference == reference
    wrong = harness.WrongScore(noise, 1.1)
    method = estimator(Antithetic(), schedule, CleanLoss(), None, noise=wrong)
    assert certify(name, method).verdict == BIASED


def known(name, schedule):
    """Every stage's estimand, in the layout of the parameters."""
    case = CASES[name]
    stages = tuple(case.stages)
    noised = [stages if isinstance(schedule, Joint) else (stage,) for stage in stages]
    return certified.exact_gradient(name, noised)


def test_a_known_gradient_takes_the_place_of_a_reference():
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), None, noise=Gaussian(1.4))
    truth = known("dense", LayerWise())
    certificate = certify("dense", method, reference=truth)
    assert (certificate.verdict, certificate.reference) == (UNBIASED, "known gradient")
    # A function need not say which stages are noised, as it must without.
    case = CASES["dense"]
    state = method.init(case.network, case.params, case.loss)
    again = certify("dense", lambda *args: method(*args), reference=truth, state=state)
    assert again.verdict == UNBIASED
    wrong = [{key: 1.1 * array for key, array in theta.items()} for theta in truth]
    assert certify("dense", method, reference=wrong).verdict == BIASED


def test_a_bias_is_compared_with_the_norm_of_the_whole_stage():
    truth, method = known("dense", LayerWise()), estimator(Antithetic(), LayerWise(), CleanLoss())
    for found in certify("dense", method, reference=truth, max_draws=64).findings:
        blocks = [np.linalg.norm(array) for array in truth[found.stage].values()]
        assert found.norm == pytest.approx(np.linalg.norm(blocks), rel=1e-6)
        assert found.norm > 1.01 * max(blocks)  # the control


# --- what is found --------------------------------------------------------------------------------


def test_a_score_of_the_wrong_scale_is_found_in_every_stage():
    wrong = harness.WrongScore(Gaussian(harness.SIGMA), 1.1)
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


def test_float32_and_another_backend_are_certified_too(backend):
    case, truth = CASES["dense"], known("dense", LayerWise())
    params = tuple(
        {name: backend.asarray(array, "float32") for name, array in theta.items()}
        for theta in case.params
    )
    batch = backend.asarray(case.inputs, "float32"), backend.asarray(case.target)
    for wrong, verdict in ((1.0, UNBIASED), (1.1, BIASED)):
        noise = harness.WrongScore(Gaussian(case.sigma), wrong)
        method = estimator(Antithetic(), LayerWise(), CleanLoss(), None, noise=noise)
        found = check_unbiased(
            method, case.network, params, batch, case.loss, reference=truth, error_rate=SHARE
        )
        assert found.verdict == verdict


def test_memory_does_not_grow_with_the_draws():
    network = Sequential(Dense(200, 100, Tanh()), Dense(100, 2, Identity()), input_shape=(200,))
    params = network.init(0, harness.NUMPY, "float64")
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(2, 200)), np.array([0, 1])
    method, loss = estimator(Antithetic(), LayerWise(), CleanLoss(), None), CrossEntropy()
    check_unbiased(method, network, params, batch, loss, rows=8, max_draws=64)  # caches
    peaks = []
    for draws in (64, 256):
        tracemalloc.start()
        found = check_unbiased(method, network, params, batch, loss, rows=8, max_draws=draws)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.draws == draws
    one = 8 * sum(array.size for theta in params for array in theta.values())
    assert peaks[1] < peaks[0] + one  # the control would be 192 of them
    assert peaks[0] < 40 * one
