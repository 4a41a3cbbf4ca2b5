"""Properties over shapes, batch sizes, dtypes, noise levels and seeds, on every backend.

Hypothesis draws the settings; statistical samples are nolr's own, by key.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nolr.activations import Identity, ReLU, Sigmoid, Step, Tanh
from nolr.backends import backend_of, get_backend
from nolr.copies import split_copies, tile
from nolr.estimation import (
    CleanLoss,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    NoBaseline,
)
from nolr.layers import Dense, Flatten
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
from nolr.network import Residual, Sequential
from nolr.noise import Gaussian
from nolr.optimizers import ravel, unravel
from nolr.sampling import Antithetic, Independent
from nolr.tails import run_tails
from nolr.types import Key, Stream

sizes = st.integers(1, 5)
dtypes = st.sampled_from(["float32", "float64"])
seeds = st.integers(0, 2**64 - 1)
sigmas = st.floats(0.01, 2.0)
activations = st.sampled_from([Identity(), ReLU(), Tanh(), Sigmoid(), Step(0.2)])


@st.composite
def networks(draw):
    """A chain of one to three dense layers, with or without a residual block, after Flatten."""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    width = int(np.prod(shape))
    links = [Flatten()]
    for _ in range(draw(st.integers(0, 2))):
        outputs = draw(sizes)
        links.append(Dense(width, outputs, draw(activations)))
        width = outputs
    if draw(st.booleans()):
        inner = draw(sizes)
        links.append(
            Residual(Dense(width, inner, draw(activations)), Dense(inner, width, draw(activations)))
        )
    links.append(Dense(width, draw(sizes)))
    return Sequential(*links, input_shape=shape)


@st.composite
def estimators(draw):
    sampler = draw(st.sampled_from([Independent(), Antithetic()]))
    size = len(sampler.signs)
    baseline = draw(st.sampled_from([NoBaseline(), CleanLoss(), LeaveGroupOut()]))
    groups = draw(st.integers(baseline.minimum_groups, 4))
    residual = draw(st.sampled_from([None, "adaptive", 0, 0.3, 1.0]))
    return LikelihoodRatio(
        Gaussian(draw(sigmas)),
        groups * size,
        sampler,
        draw(st.sampled_from([LayerWise(), Joint()])),
        baseline,
        None if residual is None else JacobianControlVariate(residual),
        draw(st.sampled_from([1, 2, 20])),
        draw(st.sampled_from([1, 100, 1 << 20])),
    )


def batch_of(network, backend, samples, dtype, seed):
    rng = np.random.default_rng(seed)
    x = backend.asarray(rng.normal(size=(samples, *network.input_shape)), dtype)
    labels = rng.integers(0, network.output_shape[0], samples)
    return x, backend.asarray(labels, "int64")


@given(networks(), sizes, dtypes, seeds)
def test_forward_takes_a_batch_sample_by_sample(backend, network, samples, dtype, seed):
    params = network.init(seed, backend, dtype)
    x, _ = batch_of(network, backend, samples, dtype, seed)
    output = network.forward(params, x)
    assert tuple(output.shape) == (samples, *network.output_shape)
    assert output.dtype == x.dtype
    rows = [backend.to_host(network.forward(params, x[n : n + 1, ...])) for n in range(samples)]
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    got = backend.to_host(output)
    # A step turns rounding into a jump, so neighbours of a threshold may disagree.
    same = np.isclose(got, np.concatenate(rows), rtol=tolerance, atol=tolerance)
    assert same.all() or any(
        isinstance(network.layer(s).activation, Step) for s in range(len(network.stages))
    )


@given(networks(), sizes, dtypes, seeds, st.integers(1, 4))
def test_tails_without_noise_end_where_the_clean_run_does(
    backend, network, samples, dtype, seed, copies
):
    params = network.init(seed, backend, dtype)
    x, _ = batch_of(network, backend, samples, dtype, seed)
    trace = network.run_clean(params, x)
    stages = range(len(network.stages))
    silent = {
        stage: backend.xp.zeros((copies * samples, *network.noise_shapes[stage]), dtype=x.dtype)
        for stage in stages
    }
    for noises in ([silent], [{stage: silent[stage]} for stage in stages]):
        output = backend.to_host(run_tails(network, params, trace, noises).output)
        assert output.shape == (len(noises) * copies * samples, *network.output_shape)
        if any(isinstance(network.layer(s).activation, Step) for s in stages):
            continue  # rounding at the threshold, as above
        clean = np.tile(backend.to_host(trace.output), (len(noises) * copies, 1))
        tolerance = 1e-4 if dtype == "float32" else 1e-11
        np.testing.assert_allclose(output, clean, rtol=tolerance, atol=tolerance)


@given(
    networks(),
    estimators(),
    st.sampled_from([CrossEntropy(), ZeroOne(), MeanSquaredError()]),
    sizes,
    dtypes,
    seeds,
)
def test_estimates_have_the_layout_of_the_parameters_and_repeat(
    backend, network, method, loss, samples, dtype, seed
):
    params = network.init(seed, backend, dtype)
    batch = batch_of(network, backend, samples, dtype, seed)
    found = []
    for _ in range(2):
        state = method.init(network, params, loss)
        for step in range(3):
            estimate, state = method(network, params, batch, loss, Key(seed, step=step), state)
        found.append(backend.to_host(ravel(estimate.grads)))
    for grad, theta in zip(estimate.grads, params, strict=True):
        assert set(grad) == set(theta)
        for name, array in grad.items():
            assert tuple(array.shape) == tuple(theta[name].shape)
            assert array.dtype == theta[name].dtype
            assert backend_of(array) is backend
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(*found)


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=4),
    dtypes,
    seeds,
)
def test_ravel_and_unravel_are_inverse(backend, shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    params = tuple(
        {f"p{i}": backend.asarray(rng.normal(size=shape), dtype)} for i, shape in enumerate(shapes)
    )
    vector = ravel(params)
    assert tuple(vector.shape) == (sum(int(np.prod(shape)) for shape in shapes),)
    again = ravel(unravel(vector, params))
    np.testing.assert_array_equal(backend.to_host(vector), backend.to_host(again))


@given(sizes, st.integers(1, 6), st.lists(sizes, max_size=2), seeds)
def test_copies_can_be_told_apart_again(backend, samples, copies, shape, seed):
    x = np.random.default_rng(seed).normal(size=(samples, *shape))
    split = backend.to_host(split_copies(tile(backend.asarray(x), copies), samples))
    np.testing.assert_array_equal(split, np.broadcast_to(x, (copies, *x.shape)))


keys = st.builds(
    Key,
    seeds,
    st.sampled_from([Stream.INIT, Stream.SHUFFLE, Stream.NOISE]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 1000),
    st.integers(0, 2**32 - 1),
)


@given(keys, keys, st.lists(st.integers(0, 6), max_size=3), dtypes)
def test_draws_are_a_function_of_the_key(backend, key, other, shape, dtype):
    kind = getattr(backend.xp, dtype)
    first, again = (backend.to_host(backend.normal(key, tuple(shape), kind)) for _ in range(2))
    assert first.shape == tuple(shape)
    assert str(first.dtype) == dtype
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    if key != other and first.size > 2:
        assert not np.array_equal(first, backend.to_host(backend.normal(other, first.shape, kind)))


@given(
    sizes,
    st.integers(1, 6),
    dtypes,
    seeds,
    st.sampled_from([CrossEntropy(), ZeroOne(), MeanSquaredError()]),
)
def test_losses_never_mix_samples(backend, samples, classes, dtype, seed, loss):
    rng = np.random.default_rng(seed)
    output = backend.asarray(3 * rng.normal(size=(samples, classes)), dtype)
    target = backend.asarray(rng.integers(0, classes, samples), "int64")
    whole = backend.to_host(loss(output, target))
    assert whole.shape == (samples,)
    assert (whole >= -1e-6).all()
    for n in range(samples):
        alone = backend.to_host(loss(output[n : n + 1, :], target[n : n + 1]))
        np.testing.assert_allclose(alone, whole[n : n + 1], rtol=1e-5, atol=1e-6)


@given(networks(), sizes, seeds)
def test_backends_start_from_the_same_parameters_and_end_alike(backend, network, samples, seed):
    numpy = get_backend("numpy")
    results = []
    for b in (numpy, backend):
        params = network.init(seed, b, "float64")
        x, _ = batch_of(network, b, samples, "float64", seed)
        results.append(b.to_host(network.forward(params, x)))
    stages = range(len(network.stages))
    if not any(isinstance(network.layer(s).activation, Step) for s in stages):
        np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-10)
