"""Block probes behind the activation, closed gates that leak, and forgetting by evidence."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.activations import Tanh, identity
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import JacobianControlVariate, Joint, LikelihoodRatio
from nolr.estimation.evidence import Evidence
from nolr.estimation.probes import make_probe
from nolr.layers import AvgPool2D, Conv2D, Dense, Flatten
from nolr.losses import CrossEntropy
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.routes import Chain, Gate
from nolr.sampling import Independent
from nolr.testing import check_unbiased
from nolr.types import Key

# What follows the first stage is linear, so that its Jacobian is the dense layer's matrix.
NETWORK = Sequential(
    Conv2D(1, 2, 3, padding=1),
    AvgPool2D(2),
    Flatten(),
    Dense(8, 3, identity),
    input_shape=(1, 4, 4),
)
HOST = get_backend("numpy")


def learn(backend=HOST, sigma=0.02, bias=0.0, steps=200, samples=16, **more):
    """J̄ of the first stage (3, 8), and the last gradients, with a second channel that is biased."""
    params = NETWORK.init(1, backend, "float64")
    params[0]["b"] = params[0]["b"] + backend.asarray([0.0, bias])
    variate = JacobianControlVariate(0.0, 0.95, 1e-9, "block", **more)
    method = LikelihoodRatio(
        Gaussian(sigma), copies=1, sampler=Independent("host"), control_variate=variate
    )
    state, rng = method.init(NETWORK, params, CrossEntropy()), np.random.default_rng(2)
    for step in range(steps):
        x, y = rng.normal(size=(samples, 1, 4, 4)), rng.integers(3, size=samples)
        batch = backend.asarray(x), backend.asarray(y)
        estimate, state = method(NETWORK, params, batch, CrossEntropy(), Key(0, step=step), state)
    return backend.to_host(variate.jacobian(state.evidence[0])), estimate.grads


EXACT = NETWORK.init(1, HOST, "float64")[3]["W"]


# --- where a probe enters -------------------------------------------------------------------------


@pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
def test_closed_gates_let_a_share_pass_and_open_ones_all(leak):
    gate = np.array([0.0, 0.25, 1.0]).reshape(1, 3, 1, 1)
    variate = JacobianControlVariate(probe="block", probe_sigma=0.1, leak=leak)
    pathway, after = NETWORK.pathways[0], Gate(np.full((1, 3, 1, 1), 2.0))
    probe = make_probe(pathway, gate, Chain([Gate(gate), after]), variate)
    expected = np.array([leak, leak + 0.25 * (1 - leak), 1.0]).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(probe.gate, expected, rtol=1e-12)
    np.testing.assert_allclose(probe.route.push(np.ones((1, 3, 1, 1))), 2 * expected, rtol=1e-12)
    assert make_probe(pathway, gate, Chain([Gate(gate)]), JacobianControlVariate()) is None


def test_noise_in_all_stages_at_once_enters_behind_all_of_them():
    network = Sequential(
        Conv2D(1, 3, 3, padding=1, activation=Tanh()),
        AvgPool2D(2),
        Conv2D(3, 2, 3, padding=1),
        AvgPool2D(2),
        Flatten(),
        Dense(2, 3, identity),
        input_shape=(1, 4, 4),
    )
    params, rng = network.init(1, HOST, "float64"), np.random.default_rng(0)
    params[2]["b"] = np.array([0.0, -50.0])  # closed: noise before the activation would be lost
    variate = JacobianControlVariate(0.0, 0.98, 1e-9, "block", probe_sigma=0.01, leak=0.3)
    method = LikelihoodRatio(Gaussian(0.5), 4, schedule=Joint(), control_variate=variate)
    state = method.init(network, params, CrossEntropy())
    for step in range(300):
        batch = rng.normal(size=(8, 1, 4, 4)), rng.integers(3, size=8)
        _, state = method(network, params, batch, CrossEntropy(), Key(0, step=step), state)
    found, exact = variate.jacobian(state.evidence[1]), params[5]["W"]
    assert np.abs(found - exact).max() < 0.15 * np.abs(exact).max()
    assert np.abs(exact[:, 1]).max() > 0.5 * np.abs(exact).max()  # which 0 is not near


def test_a_probe_behind_the_activation_knows_nothing_of_its_curvature():
    found, _ = learn(sigma=3.0, probe_sigma=0.02)
    np.testing.assert_allclose(found, EXACT, atol=1e-3)
    # A negative control: before the activation, noise of that level is bent by it.
    before, _ = learn(sigma=3.0)
    assert np.abs(before - EXACT).max() > 0.05


def test_what_is_closed_is_learned_through_the_leak():
    found, _ = learn(bias=-50.0, probe_sigma=0.02, leak=0.3)
    np.testing.assert_allclose(found, EXACT, atol=1e-3)
    # A negative control: without it nothing is known of the second channel's four units.
    tight, _ = learn(bias=-50.0, probe_sigma=0.02)
    np.testing.assert_allclose(tight[:, :4], EXACT[:, :4], atol=1e-3)
    np.testing.assert_array_equal(tight[:, 4:], 0.0)


def test_a_leak_lets_no_credit_through():
    _, grads = learn(bias=-50.0, probe_sigma=0.02, leak=0.3)
    assert np.abs(grads[0]["W"][0]).max() > 0.01
    np.testing.assert_array_equal(grads[0]["W"][1], 0.0)


def test_backends_agree(other_backend):
    more = {"probe_sigma": 0.1, "leak": 0.3, "forgets": "by-evidence", "context": 10**6}
    expected, _ = learn(steps=3, sigma=1.0, **more)
    assert np.abs(expected).max() > 0.01
    found, _ = learn(other_backend, steps=3, sigma=1.0, **more)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_one_sample_is_enough():
    found, _ = learn(samples=1, steps=1000, probe_sigma=0.02, leak=1.0)
    np.testing.assert_allclose(found, EXACT, atol=0.03)


def certificate(residual):
    params, rng = NETWORK.init(5, HOST, "float64"), np.random.default_rng(11)
    variate = JacobianControlVariate(residual, probe="block", probe_sigma=0.5, leak=0.4)
    method = LikelihoodRatio(Gaussian(0.7), copies=4, control_variate=variate)
    state = method.init(NETWORK, params, CrossEntropy())
    evidence = tuple(  # strong and wrong: what λ = 1 has to take out again
        old._replace(
            moment=rng.normal(size=old.moment.shape),
            energy=np.ones_like(old.energy),
            covariance=np.array(0.7),
            power=np.array(1.0),
        )
        for old in state.evidence
    )
    return check_unbiased(
        method,
        NETWORK,
        params,
        (rng.normal(size=(2, 1, 4, 4)), np.array([0, 1])),
        CrossEntropy(),
        state=state._replace(evidence=evidence),
        tolerance=0.25,
        rows=8192,
    )


def test_it_biases_nothing_where_the_residual_counts_in_full():
    certificate(1.0).raise_unless_unbiased()
    assert certificate(0.5).verdict == "biased"


# --- forgetting by evidence -----------------------------------------------------------------------


def evidence_of(energy, backend=HOST):
    energy = np.asarray(energy, float)
    units = energy.size if energy.ndim == 1 else energy.shape[0] * energy.shape[1]
    moment = 1.0 + np.arange(2.0 * units).reshape(2, units)
    arrays = moment, energy, np.array(9.0), np.array(4.0), np.array(5.0)
    return Evidence(*(backend.asarray(array) for array in arrays))


def test_units_that_are_equally_well_known_are_forgotten_alike(backend):
    for energy in ([3.0, 3.0, 3.0], np.stack([np.diag([3.0, 1.0])] * 2)):
        old = evidence_of(energy, backend)
        for found, before in zip(old.discount(0.9), old, strict=True):
            np.testing.assert_allclose(
                backend.to_host(found), 0.9 * backend.to_host(before), rtol=1e-12
            )


def test_what_is_not_known_is_not_forgotten_either(backend):
    old = evidence_of([0.0, 1.0, 8.0], backend)
    kept = backend.to_host(old.discount(0.5).moment) / backend.to_host(old.moment)
    np.testing.assert_allclose(kept, [[1.0, 1 - 0.5 / 3, 0.0]] * 2, rtol=1e-12)


def test_features_are_forgotten_with_their_place(backend):
    energy = np.stack([np.diag([1.0, 7.0]), np.diag([3.0, 0.1])])
    old = evidence_of(energy, backend)
    found = [backend.to_host(a) for a in old.discount(0.8)]
    np.testing.assert_allclose(found[1], energy * np.array([0.9, 0.7])[:, None, None], rtol=1e-12)
    ratio = found[0] / backend.to_host(old.moment)
    np.testing.assert_allclose(ratio, [[0.9, 0.9, 0.7, 0.7]] * 2, rtol=1e-12)


def test_a_stage_with_nothing_to_learn_forgets_nothing_but_beta():
    old = evidence_of(np.zeros(0))
    found = old.discount(0.9)
    assert found.moment.shape == (2, 0)
    assert found.power == pytest.approx(0.9 * 5)


def test_memory_is_as_long_as_the_root_of_the_usual_evidence():
    gains = np.array([1.0, 0.01, 1.0, 1.0])
    steady = {}
    for forgets in ("by-evidence", "evenly"):
        variate, evidence = JacobianControlVariate(forgetting=0.9, forgets=forgets), None
        evidence = evidence_of(np.zeros(4))
        seen = evidence_of(gains)
        for step in range(2000):
            evidence = variate.learn(evidence, seen, step)
        steady[forgets] = evidence.energy[1] / evidence.energy[0]
    assert steady["by-evidence"] == pytest.approx(0.1, rel=1e-6)
    assert steady["evenly"] == pytest.approx(0.01, rel=1e-6)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"probe": "block", "probe_sigma": -0.1}, "probe_sigma must be a number from 1e-15"),
        ({"probe": "block", "probe_sigma": 1e-16}, "probe_sigma must be a number from 1e-15"),
        ({"probe": "block", "probe_sigma": float("nan")}, "probe_sigma must be a number from"),
        ({"probe": "block", "probe_sigma": float("inf")}, "probe_sigma must be a number from"),
        ({"probe": "block", "probe_sigma": 0.1, "leak": 1.1}, "leak must be a number from 0 to 1"),
        ({"probe": "block", "leak": 0.1}, "give them a probe_sigma, or leave leak at 0"),
        ({"probe_sigma": 0.1}, "but probe is 'white': choose probe 'block'"),
        ({"forgets": "evnly"}, "forgets cannot be 'evnly'; did you mean 'evenly'"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(BadInput, match=words):
        JacobianControlVariate(**arguments)
