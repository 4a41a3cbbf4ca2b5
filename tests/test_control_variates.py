"""The control variate's running regressions, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import JacobianControlVariate
from nolr.estimation.control_variates import Evidence
from nolr.estimation.figures import Merit


def test_jacobian_is_the_ridge_regression_of_the_output_on_the_gated_noise():
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(3, 5))
    gate = rng.uniform(0.5, 1.0, size=(4000, 5))
    noise = 0.1 * rng.normal(size=(2, 4000, 5))
    shift = (noise * gate) @ jacobian.T
    control_variate = JacobianControlVariate(ridge=0.0)
    seen = control_variate.observe(
        shift, gate, noise, 0.1, np.zeros((2, 4000)), np.zeros((2, 4000))
    )
    start = control_variate.init(get_backend("numpy"), 3, 5, np.float64)
    found = control_variate.jacobian(control_variate.learn(start, seen))
    gated = (noise * gate).reshape(-1, 5)
    expected = shift.reshape(-1, 3).T @ gated / (2 * 0.1**2 * (gate**2).sum(axis=0))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # 8000 draws: entries differ from the true Jacobian by about sqrt(5 / 8000) of their size
    assert np.abs(found - jacobian).max() < 0.15


def test_units_that_hardly_ever_respond_get_no_huge_jacobian():
    evidence = Evidence(
        np.array([[1.0, 3e-8]]), np.array([1.0, 1e-15]), np.array(0.0), np.array(0.0)
    )
    assert JacobianControlVariate(ridge=0.0).jacobian(evidence)[0, 1] > 1e7
    assert abs(JacobianControlVariate(ridge=0.01).jacobian(evidence)[0, 1]) < 1e-4
    assert JacobianControlVariate(ridge=0.01).jacobian(evidence)[0, 0] == pytest.approx(1, rel=0.01)


def test_no_evidence_predicts_nothing():
    control_variate = JacobianControlVariate()
    start = control_variate.init(get_backend("numpy"), 2, 3, np.float32)
    assert not control_variate.jacobian(start).any()
    assert control_variate.beta(start) == 0


@pytest.mark.parametrize(("covariance", "beta"), [(-1.0, 0.0), (0.5, 0.25), (9.0, 1.0)])
def test_beta_is_clipped(covariance, beta):
    evidence = Evidence(np.zeros((1, 1)), np.zeros(1), np.array(covariance), np.array(2.0))
    assert JacobianControlVariate().beta(evidence) == beta


def test_evidence_is_forgotten():
    old = Evidence(*(np.ones(shape) for shape in ((2, 3), (3,), (), ())))
    new = Evidence(*(np.full(shape, 10.0) for shape in ((2, 3), (3,), (), ())))
    learned = JacobianControlVariate(forgetting=0.5).learn(old, new)
    assert all((part == 10.5).all() for part in learned)


def test_adaptive_weight_needs_a_sure_signal():
    assert Merit().best_weight() == 0
    steady, noisy = Merit(), Merit()
    rng = np.random.default_rng(0)
    for _ in range(200):
        steady = steady.update(signal=0.3, power=1.0)
        noisy = noisy.update(signal=float(rng.normal()), power=1.0)
    assert steady.best_weight() == pytest.approx(0.3)
    assert noisy.best_weight() < 0.05


@pytest.mark.parametrize(
    "arguments",
    [
        {"residual": -0.1},
        {"residual": 1.1},
        {"residual": "some"},
        {"forgetting": 0.0},
        {"forgetting": 1.0},
        {"ridge": -1.0},
    ],
)
def test_bad_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(BadInput, match=name):
        JacobianControlVariate(**arguments)
