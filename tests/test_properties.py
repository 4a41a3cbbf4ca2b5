"""Properties over shapes, batch sizes, dtypes, noise levels and seeds, on every backend.

Hypothesis draws the settings; statistical samples are nolr's own, by key.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nolr.backends import backend_of, get_backend
from nolr.copies import split_copies, tile
from nolr.estimation import LikelihoodRatio
from nolr.layers import Conv2D, Flatten, MaxPool2D
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
from nolr.network import Sequential
from nolr.optimizers import ravel, unravel
from nolr.tails import run_tails
from nolr.testing import Case
from nolr.testing.strategies import cases, estimators, parameter_estimators
from nolr.types import Key, Stream

sizes = st.integers(1, 5)
DTYPES = ("float32", "float64")
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**64 - 1)
TOLERANCE = {"float32": 1e-4, "float64": 1e-11}
# A step turns rounding into a jump: two ways to the same number may end on either side of it.
smooth_cases = cases(jumps=False, dtypes=DTYPES)


def assert_close(found, expected, dtype):
    """Equal to within rounding, as a fraction of the largest entry."""
    tolerance = TOLERANCE[dtype] * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@given(smooth_cases)
def test_forward_takes_a_batch_sample_by_sample(backend, case):
    case = case.on(backend.name)
    output, x = case.output(), case.batch[0]
    assert tuple(output.shape) == (len(case.inputs), *case.network.output_shape)
    assert output.dtype == x.dtype
    rows = [
        backend.to_host(case.network.forward(case.params, x[n : n + 1, ...]))
        for n in range(len(case.inputs))
    ]
    assert_close(backend.to_host(output), np.concatenate(rows), case.dtype)


@given(smooth_cases, st.integers(1, 4))
def test_tails_without_noise_end_where_the_clean_run_does(backend, case, copies):
    case = case.on(backend.name)
    network, params, (x, _) = case.network, case.params, case.batch
    trace = network.run_clean(params, x)
    stages = range(len(network.stages))
    silent = {
        stage: backend.xp.zeros((copies * x.shape[0], *network.noise_shapes[stage]), dtype=x.dtype)
        for stage in stages
    }
    for noises in ([silent], [{stage: silent[stage]} for stage in stages]):
        output = backend.to_host(run_tails(network, params, trace, noises).output)
        clean = np.concatenate([backend.to_host(trace.output)] * (len(noises) * copies))
        assert output.shape == clean.shape
        assert_close(output, clean, case.dtype)


@given(cases(estimator=estimators() | parameter_estimators(), dtypes=DTYPES))
def test_estimates_have_the_layout_of_the_parameters_and_repeat(backend, case):
    case = case.on(backend.name)
    found = []
    for _ in range(2):
        estimate = case.estimate()
        found.append(backend.to_host(ravel(estimate.grads)))
    for grad, theta in zip(estimate.grads, case.params, strict=True):
        assert set(grad) == set(theta)
        for name, array in grad.items():
            assert tuple(array.shape) == tuple(theta[name].shape)
            assert array.dtype == theta[name].dtype
            assert backend_of(array) is backend
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(*found)


def test_a_pool_may_be_larger_than_an_earlier_image():
    # 1 × 1 pixel, that padding makes 2 × 2, that a pool takes together.
    layers = Conv2D(1, 1, 1), Conv2D(1, 1, 2, padding=1), MaxPool2D(2), Flatten()
    network = Sequential(*layers, input_shape=(1, 1, 1))
    x, target = np.ones((2, 1, 1, 1)), np.zeros((2, 1))
    Case(network, x, target, MeanSquaredError(), LikelihoodRatio()).estimate()


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


@given(smooth_cases)
def test_backends_start_from_the_same_parameters_and_end_alike(backend, case):
    case = case.on("numpy", "float64")
    expected = get_backend("numpy").to_host(case.output())
    np.testing.assert_allclose(
        backend.to_host(case.on(backend.name).output()), expected, rtol=1e-9, atol=1e-10
    )
