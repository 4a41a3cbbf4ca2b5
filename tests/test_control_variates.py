"""The control variate's running regressions, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import JacobianControlVariate
from nolr.estimation.evidence import Evidence
from nolr.estimation.figures import Merit


def test_jacobian_is_the_ridge_regression_of_the_output_on_what_moved():
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(3, 5))
    gate = rng.uniform(0.5, 1.0, size=(8000, 5))
    moved = 0.1 * rng.normal(size=(8000, 5)) * gate
    energy = 0.1**2 * (gate**2).sum(axis=0)  # the expected one: what was drawn differs a little
    shift = moved @ jacobian.T
    nothing, unknown = np.zeros(8000), np.zeros((3, 5))
    for ridge in (0.0, 0.3):
        control_variate = JacobianControlVariate(ridge=ridge)
        seen = control_variate.observe(shift, moved, energy, unknown, nothing, nothing)
        start = control_variate.init(get_backend("numpy"), 3, 5, np.float64)
        found = control_variate.jacobian(control_variate.learn(start, seen, 0))
        expected = shift.T @ moved / (energy + ridge * energy.mean())
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    # 8000 draws: entries differ from the true Jacobian by about sqrt(5 / 8000) of their size
    seen = JacobianControlVariate().observe(shift, moved, energy, unknown, nothing, nothing)
    assert np.abs(JacobianControlVariate(ridge=0.0).jacobian(seen) - jacobian).max() < 0.15


def test_what_is_known_of_the_jacobian_takes_the_disturbance_out_of_the_regression():
    rng = np.random.default_rng(3)
    jacobian, known = rng.normal(size=(2, 3, 40))
    known = jacobian + 0.1 * known
    control_variate, nothing = JacobianControlVariate(ridge=0.0), np.zeros(50)
    energy = np.full(40, 50.0)

    def errors(explained):
        found = []
        for _ in range(200):
            moved = rng.normal(size=(50, 40))
            surprise = moved @ (jacobian - explained).T
            seen = control_variate.observe(surprise, moved, energy, explained, nothing, nothing)
            found.append(control_variate.jacobian(seen) - jacobian)
        return np.stack(found)

    with_known, without = errors(known), errors(np.zeros_like(known))
    # Unbiased either way: 24,000 numbers of standard deviation 0.09, their mean squared is known
    power = (40 + 2 - 1) / 50 * 0.1**2
    assert with_known.var() == pytest.approx(power, rel=0.15)
    assert np.abs(with_known.mean(axis=0)).max() < 5 * (power / 200) ** 0.5
    assert without.var() > 50 * with_known.var()


def test_beta_is_the_regression_of_the_odd_loss_on_what_was_foreseen():
    rng = np.random.default_rng(1)
    foreseen = rng.normal(size=500)
    odd_loss = 0.4 * foreseen + 0.01 * rng.normal(size=500)
    control_variate = JacobianControlVariate()
    seen = control_variate.observe(
        np.zeros((500, 2)), np.zeros((500, 3)), np.zeros(3), np.zeros((2, 3)), odd_loss, foreseen
    )
    expected = sum(odd_loss * foreseen) / sum(foreseen**2)
    assert control_variate.beta(seen) == pytest.approx(expected, rel=1e-12)
    assert control_variate.beta(seen) == pytest.approx(0.4, abs=0.01)


def test_evidence_of_two_blocks_is_that_of_both_together(backend):
    rng = np.random.default_rng(2)
    shapes = ((8, 2), (8, 3), (8, 3), (8,), (8,))
    shift, moved, energies, *losses = (backend.asarray(rng.normal(size=shape)) for shape in shapes)
    control_variate = JacobianControlVariate()
    explained = backend.asarray(rng.normal(size=(2, 3)))

    def observe(rows):
        energy = backend.xp.sum(energies[rows, ...], axis=0)
        seen = [array[rows, ...] for array in losses]
        rows_of = shift[rows, ...], moved[rows, ...]
        return control_variate.observe(*rows_of, energy, explained, *seen)

    whole = observe(slice(0, 8))
    parts = [observe(rows) for rows in (slice(0, 3), slice(3, 8))]
    for together, expected in zip(parts[0].plus(parts[1]), whole, strict=True):
        np.testing.assert_allclose(backend.to_host(together), backend.to_host(expected), rtol=1e-12)


def test_units_that_hardly_ever_respond_get_no_huge_jacobian():
    evidence = Evidence(
        np.array([[1.0, 3e-8]]), np.array([1.0, 1e-15]), *(np.array(0.0) for _ in range(3))
    )
    assert JacobianControlVariate(ridge=0.0).jacobian(evidence)[0, 1] > 1e7
    assert abs(JacobianControlVariate(ridge=0.01).jacobian(evidence)[0, 1]) < 1e-4
    assert JacobianControlVariate(ridge=0.01).jacobian(evidence)[0, 0] == pytest.approx(1, rel=0.01)


def test_no_evidence_predicts_nothing():
    control_variate = JacobianControlVariate()
    start = control_variate.init(get_backend("numpy"), 2, 3, np.float32)
    assert not control_variate.jacobian(start).any()
    assert control_variate.beta(start) == 0
    assert control_variate.beta(start, first=1.0) == 1  # where J̄ need not be learned
    known = start._replace(covariance=np.float32(0.25), power=np.float32(0.5))
    assert control_variate.beta(known, first=1.0) == control_variate.beta(known) == 0.5


@pytest.mark.parametrize(("covariance", "beta"), [(-1.0, 0.0), (0.5, 0.25), (9.0, 1.0)])
def test_beta_is_clipped(covariance, beta):
    evidence = Evidence(
        np.zeros((1, 1)), np.zeros(1), np.array(9.0), np.array(covariance), np.array(2.0)
    )
    assert JacobianControlVariate().beta(evidence) == beta


def test_evidence_is_forgotten():
    old = Evidence(*(np.ones(shape) for shape in ((2, 3), (3,), (), (), ())))
    new = Evidence(*(np.full(shape, 10.0) for shape in ((2, 3), (3,), (), (), ())))
    learned = JacobianControlVariate(forgetting=0.5).learn(old, new, 0)
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
        {"ridge": float("nan")},
        {"ridge": float("inf")},
        {"probe": "blocks"},
    ],
)
def test_bad_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(BadInput, match=name):
        JacobianControlVariate(**arguments)


def test_the_nearest_probe_is_suggested():
    with pytest.raises(BadInput, match="no probe 'blok'; did you mean 'block'"):
        JacobianControlVariate(probe="blok")
