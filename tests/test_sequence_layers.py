"""Layers with a time axis: against loops, against quadrature, and the traps of carried noise.

What they share with all layers is tested in test_layers.py; here the past takes part.
"""

from __future__ import annotations

from itertools import product
from math import erf, sqrt

import numpy as np
import pytest
import reference

from nolr.activations import Identity, ReLU, Tanh
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import JacobianControlVariate, LikelihoodRatio
from nolr.layers import LIF, Dense, MeanOverTime, SimpleRNN
from nolr.losses import MeanSquaredError
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.types import Key, Stream

NUMPY = get_backend("numpy")
SAMPLES, COPIES, STEPS = 3, 2, 4


def loop_rnn(layer, params, x, noise):
    """States of one sample, unit by unit."""
    state, states, past = [0.0] * layer.units, [], []
    for t in range(len(x)):
        z = [
            sum(params["W"][i, j] * x[t, j] for j in range(layer.inputs))
            + sum(params["U"][i, j] * state[j] for j in range(layer.units))
            + params["b"][i]
            + (0.0 if noise is None else noise[t, i])
            for i in range(layer.units)
        ]
        state = [float(layer.activation(np.float64(value))) for value in z]
        past.append(z)
        states.append(state)
    return (states[-1] if layer.last else states), past


def loop_lif(layer, params, x, noise):
    """Spikes of one sample, neuron by neuron, with the noise in the potential and carried."""
    steps = layer.steps or len(x)
    spikes, past = np.zeros((steps, layer.units)), np.zeros((steps, layer.units))
    for i in range(layer.units):
        potential = spike = 0.0
        for t in range(steps):
            row = x if layer.steps else x[t]
            current = sum(params["W"][i, j] * row[j] for j in range(layer.inputs)) + params["b"][i]
            if layer.reset == "zero":
                carried = layer.decay * potential * (1 - spike)
            else:
                carried = layer.decay * potential - layer.threshold * spike
            potential = carried + current + (0.0 if noise is None else noise[t, i])
            spike = float(potential > layer.threshold)
            past[t, i], spikes[t, i] = potential, spike
    return spikes, past


ROWS = [
    (SimpleRNN(3, 2), (STEPS, 3), loop_rnn),
    (SimpleRNN(3, 2, last=False), (STEPS, 3), loop_rnn),
    (SimpleRNN(1, 2, ReLU()), (1, 1), loop_rnn),
    (LIF(3, 2, threshold=0.5), (STEPS, 3), loop_lif),
    (LIF(3, 2, threshold=0.5, reset="subtract", decay=0.7), (STEPS, 3), loop_lif),
    (LIF(3, 2, steps=STEPS, threshold=0.5), (3,), loop_lif),
]
every_row = pytest.mark.parametrize(
    ("layer", "shape", "loop"), ROWS, ids=[f"{type(r[0]).__name__}-{i}" for i, r in enumerate(ROWS)]
)


def make(layer, shape, backend=NUMPY, dtype="float64"):
    rng = np.random.default_rng(5)
    params = {
        name: array + 0.2 * rng.normal(size=array.shape)
        for name, array in layer.init(Key(0, Stream.INIT)).items()
    }
    x = rng.normal(size=(SAMPLES, *shape))
    noise = 0.5 * rng.normal(size=(COPIES * SAMPLES, *layer.noise_shape(shape)))
    return (
        {name: backend.asarray(array, dtype) for name, array in params.items()},
        backend.asarray(x, dtype),
        backend.asarray(noise, dtype),
    )


@every_row
def test_responses_and_pasts_are_those_of_the_loop(layer, shape, loop, backend):
    params, x, noise = make(layer, shape, backend)
    host = {name: backend.to_host(array) for name, array in params.items()}
    inputs, eps = backend.to_host(x), backend.to_host(noise)
    drive = layer.drive(params, x)
    assert tuple(drive.shape) == (SAMPLES, *layer.noise_shape(shape))
    for noised in (False, True):
        y, past = layer.respond(params, drive, noise if noised else None)
        assert tuple(y.shape[1:]) == layer.output_shape(shape)
        assert tuple(past.shape[1:]) == layer.noise_shape(shape)
        for row in range(y.shape[0]):
            expected = loop(layer, host, inputs[row % SAMPLES], eps[row] if noised else None)
            np.testing.assert_allclose(backend.to_host(y)[row], expected[0], rtol=1e-12)
            np.testing.assert_allclose(backend.to_host(past)[row], expected[1], rtol=1e-12)


def pre_activation(layer, params, x, past):
    """v, with the past held at the values that it had."""
    v = layer.drive(params, x).copy()
    if isinstance(layer, SimpleRNN):
        v[:, 1:] += layer.activation(past[:, :-1]) @ params["U"].T
    return v


@every_row
def test_pullback_is_the_derivative_of_v_with_the_past_held_fixed(layer, shape, loop):
    params, x, _ = make(layer, shape)
    _, past = layer.respond(params, layer.drive(params, x), None)
    score = np.random.default_rng(1).normal(size=past.shape)
    got = layer.pullback(x, past, score)
    for name, array in params.items():
        expected = reference.finite_difference(
            lambda moved, name=name: np.sum(
                pre_activation(layer, {**params, name: moved}, x, past) * score
            ),
            array,
        )
        np.testing.assert_allclose(got[name], expected, atol=1e-8, err_msg=name)


@every_row
def test_gate_is_that_of_the_potential_and_not_of_the_drive(layer, shape, loop):
    params, x, _ = make(layer, shape)
    drive = layer.drive(params, x)
    _, past = layer.respond(params, drive, None)
    gate = layer.gate(drive, past, 0.3)
    assert gate.shape == past.shape
    activation = getattr(layer, "activation", None)
    for index in np.ndindex(past.shape):
        v = past[index]
        if activation is None:
            u = (v - layer.threshold) / 0.3
            expected = np.exp(-0.5 * u * u) / (0.3 * sqrt(2 * np.pi))
        else:
            expected = activation.smoothed_derivative(np.array(v), 0.3)
        np.testing.assert_allclose(gate[index], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SimpleRNN(3, 2), (3,)),
        (SimpleRNN(3, 2), (4, 2)),
        (SimpleRNN(3, 2), (0, 3)),
        (LIF(3, 2), (3,)),
        (LIF(3, 2), (4, 2)),
        (LIF(3, 2, steps=4), (4, 3)),
        (MeanOverTime(), (3,)),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(layer, shape):
    with pytest.raises(BadInput, match="expected samples of shape"):
        layer.output_shape(shape)


@pytest.mark.parametrize(
    ("make_layer", "message"),
    [
        (lambda: SimpleRNN(0, 1), "at least one input"),
        (lambda: LIF(1, 0), "at least one input"),
        (lambda: LIF(1, 1, steps=0), "at least one input"),
        (lambda: LIF(1, 1, decay=1.1), "decay"),
        (lambda: LIF(1, 1, decay=float("nan")), "decay"),
        (lambda: LIF(1, 1, threshold=0.0), "threshold"),
        (lambda: LIF(1, 1, reset="soft"), "reset"),
    ],
)
def test_bad_arguments_are_refused(make_layer, message):
    with pytest.raises(BadInput, match=message):
        make_layer()


def test_mean_over_time():
    x = np.arange(12.0).reshape(2, 3, 2)
    y, _ = MeanOverTime().respond({}, MeanOverTime().drive({}, x), None)
    np.testing.assert_array_equal(y, x.mean(axis=1))


# --- unbiasedness ---------------------------------------------------------------------------------

SIGMA = 0.5
X = np.array([0.7, -0.4])
TARGET = np.array([0.3])


def z_scores(network, params, expected, method, x, calls=64, tile=2000):
    """How many standard errors the mean estimate is off, entry by entry."""
    batch = np.tile(x[None], (tile, *[1] * x.ndim)), np.tile(TARGET, (tile, 1))
    state = method.init(network, params, MeanSquaredError())
    draws = []
    for step in range(calls):
        key = Key(0, step=step)
        estimate, _ = method(network, params, batch, MeanSquaredError(), key, state)
        grads = estimate.grads[network.stages[0]]
        draws.append(np.concatenate([grads[name].ravel() for name in sorted(grads)]))
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1) / sqrt(calls)
    return (mean - expected) / error


def gradient_of(function, params):
    return np.concatenate(
        [
            reference.finite_difference(
                lambda moved, name=name: function({**params, name: moved}), params[name]
            ).ravel()
            for name in sorted(params)
        ]
    )


def mean_lif_loss(layer, params, carried=True):
    """E[loss] of one neuron over two steps: an integral over ε_1, and Φ for the second spike.

    With carried=False the trap: the noise decides the spike, but the clean potential is kept.
    """
    d = float(params["W"][0] @ X + params["b"][0])
    eps = np.linspace(-9 * SIGMA, 9 * SIGMA, 20_001)
    density = np.exp(-0.5 * (eps / SIGMA) ** 2) / (SIGMA * sqrt(2 * np.pi)) * (eps[1] - eps[0])
    cdf = np.vectorize(lambda value: 0.5 * (1 + erf(value / sqrt(2))))
    # The first spike splits the integral at the threshold, so that it is smooth in each part.
    total = 0.0
    for spike in (0.0, 1.0):
        inside = _soft_indicator(d + eps, layer.threshold, eps[1] - eps[0])
        inside = inside if spike else 1.0 - inside
        kept = d + eps if carried else np.full_like(eps, d)
        v = layer.decay * kept * (1 - spike) + d
        second = cdf((v - layer.threshold) / SIGMA)
        for other, probability in ((1.0, second), (0.0, 1.0 - second)):
            loss = (0.5 * (spike + other) - TARGET[0]) ** 2
            total += loss * float(np.sum(density * inside * probability))
    return total


def _soft_indicator(potential, threshold, width):
    """1 above the threshold, 0 below, and linear within a cell of the grid."""
    return np.clip((potential - threshold) / width + 0.5, 0.0, 1.0)


METHODS = {
    "plain": LikelihoodRatio(Gaussian(SIGMA), control_variate=None),
    "four copies in blocks": LikelihoodRatio(
        Gaussian(SIGMA), copies=4, block_bytes=1, control_variate=None
    ),
    "control variate": LikelihoodRatio(
        Gaussian(SIGMA), control_variate=JacobianControlVariate(residual=1)
    ),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


@every_method
def test_lif_is_unbiased_and_noise_at_the_threshold_alone_would_not_be(method):
    layer = LIF(2, 1, steps=2, decay=0.9, threshold=0.6)
    network = Sequential(layer, MeanOverTime(), input_shape=(2,))
    params = {"W": np.array([[0.9, 0.3]]), "b": np.array([0.1])}
    layers = (params, {})
    right = gradient_of(lambda moved: mean_lif_loss(layer, moved), params)
    wrong = gradient_of(lambda moved: mean_lif_loss(layer, moved, carried=False), params)
    assert np.abs(z_scores(network, layers, right, method, X)).max() < 4.5
    assert np.abs(z_scores(network, layers, wrong, method, X)).max() > 8


@every_method
@pytest.mark.parametrize("last", [True, False])
def test_simple_rnn_is_unbiased(method, last):
    layer = SimpleRNN(1, 1, last=last)
    behind = () if last else (MeanOverTime(),)
    network = Sequential(layer, *behind, input_shape=(3, 1))
    params = {"W": np.array([[0.8]]), "U": np.array([[-0.9]]), "b": np.array([0.2])}
    x = np.array([[0.5], [-1.0], [0.7]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    noise = SIGMA * np.array(list(product(nodes, repeat=3)))[:, :, None]
    weight = np.array([np.prod(w) for w in product(weights / sqrt(2 * np.pi), repeat=3)])

    def mean_loss(moved):
        y, _ = layer.respond(moved, layer.drive(moved, x[None]), noise)
        y = y if last else y.mean(axis=1)
        return float(weight @ (y[:, 0] - TARGET[0]) ** 2)

    layers = (params, {}) if behind else (params,)
    right = gradient_of(mean_loss, params)
    scores = z_scores(network, layers, right, method, x)
    assert np.abs(scores).max() < 4.5
    assert np.abs(z_scores(network, layers, 1.2 * right, method, x)).max() > 5


def test_the_readout_of_a_spiking_network_is_exact():
    network = Sequential(
        LIF(2, 3, steps=4), MeanOverTime(), Dense(3, 1, Identity()), input_shape=(2,)
    )
    params = network.init(0, NUMPY, "float64")
    method = LikelihoodRatio(Gaussian(SIGMA))
    batch = np.tile(X, (6, 1)), np.tile(TARGET, (6, 1))
    loss = MeanSquaredError()
    estimate, _ = method(network, params, batch, loss, Key(0), method.init(network, params, loss))
    expected = reference.finite_difference(
        lambda moved: float(
            np.mean(
                loss(network.forward((*params[:2], {**params[2], "W": moved}), batch[0]), batch[1])
            )
        ),
        params[2]["W"],
    )
    np.testing.assert_allclose(estimate.grads[2]["W"], expected, atol=1e-8)


def test_smoothed_tanh_of_a_state_is_finite_for_huge_pasts():
    gate = SimpleRNN(1, 1, Tanh()).gate(np.zeros((1, 1, 1)), np.full((1, 1, 1), 1e30), 0.1)
    assert np.isfinite(gate).all()
