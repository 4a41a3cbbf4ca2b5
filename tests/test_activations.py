"""Activations: the function itself, its smoothed slope, and the approximate Φ."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import reference

from nolr.activations import Identity, ReLU, Sigmoid, Step, Tanh, normal_cdf

V = np.array([-2.5, -1.0, -0.3, -0.01, 0.02, 0.4, 0.9, 2.2])

# How far the smoothed slope may be off at each noise level: the fast Φ is good to 3e-4; three
# quadrature points are good while the noise is small against the function's bend, and their error
# grows like σ⁶; the others are closed forms, limited by the trapezium rule
# of the oracle (which sees a step as one grid cell wide).
SLOPES = [
    (Identity(), {0.1: 1e-6, 1.0: 1e-6}),
    (ReLU(), {0.1: 3.1e-4, 0.5: 3.1e-4, 1.0: 3.1e-4}),
    (Tanh(), {0.1: 3e-6, 0.2: 2e-4, 0.3: 1.1e-3, 0.5: 1.1e-2}),
    (Sigmoid(), {0.1: 1e-7, 0.3: 1e-5, 0.5: 1e-4}),
    (Step(), {0.1: 2e-3, 0.5: 2e-4, 1.0: 1e-4}),
    (Step(threshold=0.3), {0.1: 2e-3, 0.5: 2e-4}),
]


@pytest.mark.parametrize("activation", [row[0] for row in SLOPES], ids=repr)
def test_values_match_the_scalar_function(activation, backend):
    expected = [reference.function_of(activation)(v) for v in V]
    got = backend.to_host(activation(backend.asarray(V, "float64")))
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [row[0] for row in SLOPES], ids=repr)
def test_dtype_and_shape_are_kept(activation, backend, dtype):
    v = backend.asarray(V.reshape(2, 4), dtype)
    for result in (activation(v), activation.smoothed_derivative(v, 0.3)):
        assert tuple(result.shape) == (2, 4)
        assert result.dtype == v.dtype


@pytest.mark.parametrize(("activation", "tolerances"), SLOPES, ids=[repr(row[0]) for row in SLOPES])
def test_smoothed_slope_matches_numerical_smoothing(activation, tolerances):
    f = reference.function_of(activation)
    for scale, tolerance in tolerances.items():
        expected = [reference.smoothed_slope(f, v, scale) for v in V]
        got = activation.smoothed_derivative(V.copy(), scale)
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=f"σ = {scale}")


@pytest.mark.parametrize("activation", [Tanh(), Sigmoid()], ids=repr)
def test_quadrature_of_a_narrow_noise_is_the_plain_derivative(activation):
    f = reference.function_of(activation)
    expected = [(f(v + 1e-6) - f(v - 1e-6)) / 2e-6 for v in V]
    np.testing.assert_allclose(activation.smoothed_derivative(V.copy(), 1e-4), expected, atol=1e-7)


@pytest.mark.parametrize("activation", [row[0] for row in SLOPES], ids=repr)
def test_the_argument_is_left_alone(activation):
    # The fast bodies work in place; only ever on arrays of their own.
    v = V.copy()
    activation(v)
    activation.smoothed_derivative(v, 0.2)
    np.testing.assert_array_equal(v, V)


def test_fast_normal_cdf_keeps_its_promise():
    x = np.linspace(-6, 6, 5001)
    exact = np.array([reference.normal_cdf(value) for value in x])
    error = np.abs(normal_cdf(x.copy()) - exact).max()
    assert error < 3.1e-4
    # The promise is tight: a looser or an exact Φ would not be this function.
    assert error > 1e-5


def test_step_takes_the_threshold_itself_as_silent():
    np.testing.assert_array_equal(Step(0.5)(np.array([0.4, 0.5, 0.6])), [0.0, 0.0, 1.0])


@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0])
def test_step_slope_is_the_slope_of_its_own_probability(scale):
    # E[f(v + ε)] = Φ((v - V)/σ) exactly, so here no quadrature blurs the comparison.
    for v in V:
        above, below = (reference.normal_cdf((v + h - 0.3) / scale) for h in (1e-5, -1e-5))
        got = Step(0.3).smoothed_derivative(np.array([v]), scale)[0]
        assert got == pytest.approx((above - below) / 2e-5, abs=1e-7)


def test_step_slope_is_a_density():
    # E[f(v + ε)] rises from 0 to 1, so its slope integrates to 1.
    v = np.linspace(-8, 8, 20001)
    area = Step(0.7).smoothed_derivative(v, 0.6).sum() * (v[1] - v[0])
    assert abs(area - 1) < 1e-9


def test_saturated_functions_stay_finite():
    huge = np.array([-1e4, 1e4, -1e300, 1e300])
    for activation in (Tanh(), Sigmoid()):
        with np.errstate(all="raise"):
            assert np.isfinite(activation(huge)).all()
            assert np.abs(activation.smoothed_derivative(huge, 0.1)).max() < 1e-12
    assert ReLU().smoothed_derivative(np.array([-50.0, 50.0]), 0.1).tolist() == [0.0, 1.0]


def test_sigmoid_is_smoothed_over_three_points():
    # Exact for polynomials up to degree 5: the quadrature's own moments are 1, σ², 3σ⁴.
    from nolr.activations import _smooth

    for power, moment in ((0, 1.0), (1, 0.0), (2, 0.09), (3, 0.0), (4, 3 * 0.09**2), (5, 0.0)):
        got = _smooth(lambda u, power=power: u**power, np.zeros(1), sqrt(0.09))
        assert got[0] == pytest.approx(moment, abs=1e-15)
    assert _smooth(lambda u: u**6, np.zeros(1), sqrt(0.09))[0] != pytest.approx(15 * 0.09**3)
