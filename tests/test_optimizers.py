"""Optimisers against loops and against torch; the flat vector; learning rates; initial weights."""

from __future__ import annotations

from math import cos, inf, nan, pi

import numpy as np
import pytest
import reference
from scipy import stats

from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.initializers import Normal, ScaledIdentity, glorot_normal, he_normal
from nolr.learning_rates import Constant, Cosine, StepDecay, as_learning_rate
from nolr.optimizers import SGD, Adam, ravel, unravel
from nolr.types import Key, Stream

RNG = np.random.default_rng(11)
GRADIENTS = RNG.normal(size=(12, 6)) * np.array([1, 10, 0.1, 1e-4, 1e3, 0.0])
START = RNG.normal(size=6)


def minimise(optimizer, backend, dtype="float64"):
    vector = backend.asarray(START, dtype)
    state = optimizer.init(vector)
    for step, gradient in enumerate(GRADIENTS):
        vector, state = optimizer.update(backend.asarray(gradient, dtype), state, vector, step)
    return vector, state


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("rate", [0.01, Cosine(0.1, steps=10, warmup=3)], ids=repr)
@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)])
def test_adam_matches_the_loop(backend, rate, beta1, beta2, decay):
    got, _ = minimise(Adam(rate, beta1, beta2, decay), backend)
    expected = reference.adam(GRADIENTS, START, as_learning_rate(rate), beta1, beta2, decay)
    np.testing.assert_allclose(backend.to_host(got), expected, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("rate", [0.01, StepDecay(0.1, every=4)], ids=repr)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_matches_the_loop(backend, rate, momentum, decay):
    got, _ = minimise(SGD(rate, momentum, decay), backend)
    expected = reference.sgd(GRADIENTS, START, as_learning_rate(rate), momentum, decay)
    np.testing.assert_allclose(backend.to_host(got), expected, rtol=1e-12)


TORCH = [
    (Adam(0.01), lambda torch, p: torch.optim.Adam([p], 0.01)),
    (
        Adam(0.01, 0.8, 0.99, weight_decay=0.2),
        lambda torch, p: torch.optim.AdamW([p], 0.01, (0.8, 0.99), weight_decay=0.2),
    ),
    (SGD(0.05, 0.0), lambda torch, p: torch.optim.SGD([p], 0.05)),
    (SGD(0.05, 0.9), lambda torch, p: torch.optim.SGD([p], 0.05, momentum=0.9)),
]


@pytest.mark.parametrize(("optimizer", "peer"), TORCH, ids=[repr(row[0]) for row in TORCH])
def test_updates_are_those_of_torch(optimizer, peer):
    torch = pytest.importorskip("torch", reason="the peer to compare with is torch")
    parameter = torch.nn.Parameter(torch.tensor(START))
    optimiser = peer(torch, parameter)
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
    got, _ = minimise(optimizer, get_backend("numpy"))
    np.testing.assert_allclose(got, parameter.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [Adam(weight_decay=0.1), SGD(weight_decay=0.1)], ids=repr)
def test_dtype_is_kept_and_arguments_are_left_alone(backend, optimizer, dtype):
    vector, gradient = backend.asarray(START, dtype), backend.asarray(GRADIENTS[0], dtype)
    state = optimizer.init(vector)
    new, after = optimizer.update(gradient, state, vector, 0)
    assert new.dtype == vector.dtype
    assert all(array.dtype == vector.dtype for array in after)
    # Pure functions: running the step again gives the same.
    again, _ = optimizer.update(gradient, state, vector, 0)
    np.testing.assert_array_equal(backend.to_host(new), backend.to_host(again))
    np.testing.assert_array_equal(backend.to_host(vector), START.astype(dtype))
    np.testing.assert_array_equal(backend.to_host(gradient), GRADIENTS[0].astype(dtype))
    for array in state:
        np.testing.assert_array_equal(backend.to_host(array), 0)


def test_adam_first_step_has_the_size_of_the_learning_rate():
    got, _ = Adam(0.01).update(np.array([3.0, -1e-3]), Adam().init(np.zeros(2)), np.zeros(2), 0)
    np.testing.assert_allclose(got, [-0.01, 0.01], rtol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(0.0),
        lambda: Adam(nan),
        lambda: Adam(-1e-3),
        lambda: Adam(beta1=1.0),
        lambda: Adam(beta2=-0.1),
        lambda: Adam(weight_decay=-1.0),
        lambda: SGD(inf),
        lambda: SGD(momentum=1.0),
        lambda: SGD(weight_decay=-0.1),
    ],
)
def test_arguments_out_of_range_are_refused(make):
    with pytest.raises(BadInput):
        make()


# --- the flat vector ------------------------------------------------------------------------------


def some_params(backend, dtype="float32"):
    return (
        {"b": backend.asarray([1.0, 2.0], dtype), "W": backend.asarray([[3.0, 4.0]] * 2, dtype)},
        {},
        {"K": backend.asarray(np.arange(12.0).reshape(2, 3, 2), dtype)},
    )


def test_ravel_goes_layer_by_layer_and_name_by_name(backend):
    vector = backend.to_host(ravel(some_params(backend)))
    np.testing.assert_array_equal(vector, [3, 4, 3, 4, 1, 2, *range(12)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unravel_undoes_ravel(backend, dtype):
    params = some_params(backend, dtype)
    back = unravel(ravel(params), params)
    assert [set(layer) for layer in back] == [{"W", "b"}, set(), {"K"}]
    for layer, expected in zip(back, params, strict=True):
        for name, array in layer.items():
            assert array.dtype == expected[name].dtype
            np.testing.assert_array_equal(backend.to_host(array), backend.to_host(expected[name]))


def test_order_of_names_does_not_matter():
    params = some_params(get_backend("numpy"))
    turned = tuple(dict(reversed(layer.items())) for layer in params)
    np.testing.assert_array_equal(ravel(params), ravel(turned))


# --- learning rates -------------------------------------------------------------------------------


def test_cosine_warms_up_and_goes_down_to_zero():
    rate = Cosine(2.0, steps=20, warmup=4)
    assert [rate(step) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]
    for step in range(4, 20):
        assert rate(step) == pytest.approx(1 + cos(pi * (step - 4) / 16))
    assert rate(20) == rate(1000) == 0.0  # and not up again
    assert Cosine(2.0, steps=5)(0) == 2.0


def test_step_decay():
    rate = StepDecay(8.0, every=3, factor=0.5)
    assert [rate(step) for step in range(7)] == [8, 8, 8, 4, 4, 4, 2]


def test_numbers_become_constants():
    assert as_learning_rate(0.3) == Constant(0.3)
    assert as_learning_rate(1)(17) == 1.0
    rate = Cosine(1.0, 10)
    assert as_learning_rate(rate) is rate


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(0),
        lambda: Constant(nan),
        lambda: Cosine(-1.0, 10),
        lambda: Cosine(1.0, 10, warmup=10),
        lambda: Cosine(1.0, 10, warmup=-1),
        lambda: StepDecay(1.0, every=0),
        lambda: StepDecay(inf, every=2),
    ],
)
def test_rates_that_make_no_sense_are_refused(make):
    with pytest.raises(BadInput):
        make()


# --- initial weights ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("initializer", "shape", "variance"),
    [
        (he_normal, (200, 50), 2 / 50),
        (he_normal, (40, 5, 3, 3), 2 / 45),
        (glorot_normal, (200, 50), 2 / 250),
        (glorot_normal, (40, 5, 3, 3), 2 / (45 + 360)),
        (Normal(), (200, 50), 1.0),
        (Normal(0.1), (200, 50), 0.01),
    ],
)
def test_initial_weights_have_their_variance(initializer, shape, variance):
    weights = initializer(Key(3, Stream.INIT), shape)
    assert weights.shape == shape
    assert weights.dtype == np.float64
    standard = weights.reshape(-1) / np.sqrt(variance)
    assert stats.kstest(standard, "norm").pvalue > 1e-3
    assert stats.kstest(1.5 * standard, "norm").pvalue < 1e-6  # negative control
    np.testing.assert_array_equal(weights, initializer(Key(3, Stream.INIT), shape))
    assert (weights != initializer(Key(4, Stream.INIT), shape)).all()


def test_a_scaled_identity_needs_no_draw():
    weights = ScaledIdentity(0.5)(Key(3, Stream.INIT), (3, 3))
    np.testing.assert_array_equal(weights, 0.5 * np.eye(3))
    np.testing.assert_array_equal(weights, ScaledIdentity(0.5)(Key(4, Stream.INIT), (3, 3)))
    np.testing.assert_array_equal(ScaledIdentity()(Key(0), (2, 3)), [[1, 0, 0], [0, 1, 0]])
