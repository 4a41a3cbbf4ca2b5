"""Layers that carry noise through time: unbiased against quadrature, and the traps.

What they share with all layers, loops and pullbacks, is in the table of test_layers.py.
"""

from __future__ import annotations

from itertools import product
from math import erf, sqrt

import harness
import numpy as np
import pytest
import reference

from nolr.activations import Identity, Tanh
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import JacobianControlVariate, LikelihoodRatio
from nolr.layers import LIF, Dense, Embedding, MeanOverTime, SimpleRNN
from nolr.losses import MeanSquaredError
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.types import Key

NUMPY = get_backend("numpy")


@pytest.mark.parametrize(
    ("make_layer", "message"),
    [
        (lambda: LIF(1, 1, steps=0), "steps of LIF must be a whole number of at least 1, got 0"),
        (lambda: LIF(1, 1, steps=2.5), "steps of LIF must be a whole number .*, got 2.5"),
        (lambda: LIF(1, 1, decay=1.1), "decay"),
        (lambda: LIF(1, 1, decay=float("nan")), "decay"),
        (lambda: LIF(1, 1, threshold=0.0), "threshold"),
        (lambda: LIF(1, 1, reset="soft"), "reset"),
    ],
)
def test_bad_arguments_are_refused(make_layer, message):
    with pytest.raises(BadInput, match=message):
        make_layer()


def test_layers_over_time_say_how_to_repair_a_shape():
    with pytest.raises(BadInput, match="one row of inputs a step"):
        SimpleRNN(3, 2).output_shape((3,))
    with pytest.raises(BadInput, match="give steps for inputs without time, and only for them"):
        LIF(3, 2).output_shape((3,))
    with pytest.raises(BadInput, match="give steps for inputs without time, and only for them"):
        LIF(3, 2, steps=4).output_shape((4, 3))
    for layer, shape in ((LIF(3, 2), (0, 3)), (Embedding(3, 2), (0,)), (SimpleRNN(3, 2), (0, 3))):
        with pytest.raises(BadInput, match="with at least one time step, got"):
            layer.output_shape(shape)


# --- unbiasedness ---------------------------------------------------------------------------------

SIGMA = 0.5
X = np.array([0.7, -0.4])
TARGET = np.array([0.3])


def z_scores(network, params, expected, method, x, calls=64, tile=4000):
    """How many standard errors the mean estimate is off, entry by entry."""
    batch = np.tile(x[None], (tile, *[1] * x.ndim)), np.tile(TARGET, (tile, 1))
    # A state of strong and wrong predictions: they must not show in the mean.
    state = harness.adversarial(
        method, harness.Case(network, MeanSquaredError(), None, None, params)
    )
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
    decay = float(params["decay"][0]) if layer.learn_decay else layer.decay
    eps = np.linspace(-9 * SIGMA, 9 * SIGMA, 20_001)
    density = np.exp(-0.5 * (eps / SIGMA) ** 2) / (SIGMA * sqrt(2 * np.pi)) * (eps[1] - eps[0])
    cdf = np.vectorize(lambda value: 0.5 * (1 + erf(value / sqrt(2))))
    # The first spike splits the integral at the threshold, so that it is smooth in each part.
    total = 0.0
    for spike in (0.0, 1.0):
        inside = _soft_indicator(d + eps, layer.threshold, eps[1] - eps[0])
        inside = inside if spike else 1.0 - inside
        kept = d + eps if carried else np.full_like(eps, d)
        if layer.reset == "zero":
            v = decay * kept * (1 - spike) + d
        else:
            v = decay * kept - layer.threshold * spike + d
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
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("learned", [False, True], ids=["given decay", "learned decay"])
def test_lif_is_unbiased_and_noise_at_the_threshold_alone_would_not_be(method, reset, learned):
    layer = LIF(2, 1, 2, decay=0.9, threshold=0.6, reset=reset, learn_decay=learned)
    network = Sequential(layer, MeanOverTime(), input_shape=(2,))
    params = {"W": np.array([[0.9, 0.3]]), "b": np.array([0.1])}
    if learned:
        params["decay"] = np.array([0.9])
    layers = (params, {})
    right = gradient_of(lambda moved: mean_lif_loss(layer, moved), params)
    wrong = gradient_of(lambda moved: mean_lif_loss(layer, moved, carried=False), params)
    assert np.abs(z_scores(network, layers, right, method, X)).max() < 4.5
    assert np.abs(z_scores(network, layers, wrong, method, X)).max() > 6


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
