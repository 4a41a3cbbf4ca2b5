"""The contract of a layer, in one table: a new layer is one row and gains every test below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import reference

from nolr.activations import Identity, ReLU, Sigmoid, Step, Tanh
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.initializers import glorot_normal
from nolr.layers import Dense, Flatten
from nolr.types import Key, Stream


@dataclass(frozen=True)
class Row:
    """What the tests must know of a layer."""

    layer: object
    input_shape: tuple
    bad_shapes: tuple
    oracle: Callable
    """(params, x of one sample, noise of one sample or None) -> y, by loops."""
    gate_tolerance: dict = field(default_factory=dict)
    """σ -> how far the smoothed derivative may be off; see test_activations."""

    def __str__(self):
        # Not the whole repr: the address of the initializer in it changes from run to run.
        activation = getattr(self.layer, "activation", "")
        return f"{type(self.layer).__name__}{self.input_shape} {activation}".strip()


def dense_row(activation, gate_tolerance):
    f = reference.function_of(activation)
    return Row(
        Dense(3, 5, activation, glorot_normal),
        (3,),
        ((4,), (3, 1), (1, 3), ()),
        lambda params, x, noise: reference.dense(params["W"], params["b"], f, x, noise),
        gate_tolerance,
    )


ROWS = [
    dense_row(Identity(), {0.1: 1e-6, 0.5: 1e-6}),
    dense_row(ReLU(), {0.1: 3.1e-4, 0.5: 3.1e-4}),
    dense_row(Tanh(), {0.1: 3e-6, 0.3: 1.1e-3}),
    dense_row(Sigmoid(), {0.1: 1e-7, 0.5: 1e-4}),
    dense_row(Step(), {0.1: 2e-3, 0.5: 1e-3}),
    dense_row(Step(0.4), {0.1: 2e-3, 0.5: 1e-3}),
    Row(Flatten(), (2, 3, 2), (), lambda params, x, noise: np.array(reference.flatten(x))),
    Row(Flatten(), (4,), (), lambda params, x, noise: np.array(reference.flatten(x))),
]
STAGES = [row for row in ROWS if row.layer.noise_shape(row.input_shape) is not None]

every_layer = pytest.mark.parametrize("row", ROWS, ids=str)
every_stage = pytest.mark.parametrize("row", STAGES, ids=str)

SAMPLES, COPIES = 4, 3


def make(row, backend, dtype="float64", seed=0):
    """Parameters (none of them zero), inputs, and noise for COPIES copies of all samples."""
    rng = np.random.default_rng(seed)
    params = row.layer.init(Key(seed, Stream.INIT))
    params = {name: array + 0.1 * rng.normal(size=array.shape) for name, array in params.items()}
    x = rng.normal(size=(SAMPLES, *row.input_shape))
    shape = row.layer.noise_shape(row.input_shape)
    noise = None if shape is None else 0.5 * rng.normal(size=(COPIES * SAMPLES, *shape))
    return (
        {name: backend.asarray(array, dtype) for name, array in params.items()},
        backend.asarray(x, dtype),
        None if noise is None else backend.asarray(noise, dtype),
    )


def respond(row, params, x, noise):
    return row.layer.respond(params, row.layer.drive(params, x), noise)


NUMPY = get_backend("numpy")


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_output_shape_and_dtype_are_as_announced(row, backend, dtype):
    params, x, noise = make(row, backend, dtype)
    announced = row.layer.output_shape(row.input_shape)
    y, _ = respond(row, params, x, None)
    assert tuple(y.shape) == (SAMPLES, *announced)
    assert y.dtype == x.dtype
    if noise is not None:
        drive = row.layer.drive(params, x)
        assert tuple(drive.shape) == (SAMPLES, *row.layer.noise_shape(row.input_shape))
        y, _ = row.layer.respond(params, drive, noise)
        assert tuple(y.shape) == (COPIES * SAMPLES, *announced)
        assert y.dtype == x.dtype


@every_layer
def test_a_shape_that_does_not_fit_is_refused(row):
    for shape in row.bad_shapes:
        with pytest.raises(BadInput, match="expected samples of shape"):
            row.layer.output_shape(shape)
        with pytest.raises(BadInput, match="expected samples of shape"):
            row.layer.noise_shape(shape)


@every_layer
def test_initial_parameters_go_by_key(row):
    first, again = (row.layer.init(Key(1, Stream.INIT)) for _ in range(2))
    other = row.layer.init(Key(2, Stream.INIT))
    for name, array in first.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, again[name])
    if "W" in first:
        assert (first["W"] != other["W"]).all()


@every_layer
def test_clean_response_is_the_loop(row, backend):
    params, x, _ = make(row, backend)
    y, _ = respond(row, params, x, None)
    theta = {name: backend.to_host(array) for name, array in params.items()}
    expected = [row.oracle(theta, sample, None) for sample in backend.to_host(x)]
    np.testing.assert_allclose(backend.to_host(y), expected, rtol=1e-12, atol=1e-14)


@every_stage
def test_noisy_response_is_the_loop_over_copies(row, backend):
    params, x, noise = make(row, backend)
    y, _ = respond(row, params, x, noise)
    theta = {name: backend.to_host(array) for name, array in params.items()}
    inputs, eps = backend.to_host(x), backend.to_host(noise)
    # Copies are tiled: row c·N + n is copy c of sample n.
    expected = [
        row.oracle(theta, inputs[n], eps[c * SAMPLES + n])
        for c in range(COPIES)
        for n in range(SAMPLES)
    ]
    np.testing.assert_allclose(backend.to_host(y), expected, rtol=1e-12, atol=1e-14)


@every_stage
def test_copies_share_the_drive(row, backend):
    params, x, noise = make(row, backend)
    together, _ = respond(row, params, x, noise)
    for copy in range(COPIES):
        rows = slice(copy * SAMPLES, (copy + 1) * SAMPLES)
        alone, _ = respond(row, params, x, noise[rows, ...])
        np.testing.assert_array_equal(
            backend.to_host(together)[rows], backend.to_host(alone), err_msg=f"copy {copy}"
        )


@every_stage
def test_zero_noise_is_no_noise(row, backend):
    params, x, noise = make(row, backend)
    clean, _ = respond(row, params, x, None)
    silent, _ = respond(row, params, x, noise * 0)
    np.testing.assert_array_equal(
        backend.to_host(silent), np.tile(backend.to_host(clean), (COPIES, 1))
    )


@every_layer
def test_a_batch_is_its_samples(row, backend):
    params, x, _ = make(row, backend)
    batch = backend.to_host(respond(row, params, x, None)[0])
    for n in range(SAMPLES):
        single = backend.to_host(respond(row, params, x[n : n + 1, ...], None)[0])
        np.testing.assert_allclose(batch[n : n + 1], single, rtol=1e-14)


@every_layer
def test_the_arguments_are_left_alone(row):
    params, x, noise = make(row, NUMPY)
    before = [array.copy() for array in (*params.values(), x)]
    drive = row.layer.drive(params, x)
    kept = drive.copy()
    row.layer.respond(params, drive, noise)
    row.layer.respond(params, drive, None)
    row.layer.gate(drive, None, 0.3)
    row.layer.pullback(x, None, kept)
    np.testing.assert_array_equal(drive, kept)
    for array, expected in zip((*params.values(), x), before, strict=True):
        np.testing.assert_array_equal(array, expected)


@every_stage
def test_pullback_is_the_transposed_derivative_of_the_drive(row):
    params, x, _ = make(row, NUMPY)
    score = np.random.default_rng(1).normal(size=(SAMPLES, *row.layer.noise_shape(row.input_shape)))
    got = row.layer.pullback(x, None, score)
    assert set(got) == set(params)
    for name, array in params.items():
        expected = reference.finite_difference(
            lambda moved, name=name: np.sum(row.layer.drive({**params, name: moved}, x) * score),
            array,
        )
        np.testing.assert_allclose(got[name], expected, atol=1e-8, err_msg=name)


@every_stage
def test_pullback_sums_over_rows(row, backend):
    params, x, _ = make(row, backend)
    score = row.layer.drive(params, x) * 0.3
    whole = row.layer.pullback(x, None, score)
    parts = [
        row.layer.pullback(x[n : n + 1, ...], None, score[n : n + 1, ...]) for n in range(SAMPLES)
    ]
    for name, array in whole.items():
        expected = sum(backend.to_host(part[name]) for part in parts)
        np.testing.assert_allclose(backend.to_host(array), expected, rtol=1e-12, atol=1e-14)


@every_stage
def test_gate_is_the_slope_of_the_mean_response(row):
    # E[f(v + ε) ε/σ²] = d/dv E[f(v + ε)], by the trapezium rule over one noise for all units.
    params, x, _ = make(row, NUMPY)
    drive = row.layer.drive(params, x[:1])
    eta = np.linspace(-9, 9, 40_001)
    weight = np.exp(-0.5 * eta * eta) / np.sqrt(2 * np.pi) * (eta[1] - eta[0])
    for sigma, tolerance in row.gate_tolerance.items():
        noise = np.tile((sigma * eta)[:, None], (1, drive.shape[1]))
        y, _ = row.layer.respond(params, drive, noise)
        expected = (weight * eta / sigma) @ y
        got = row.layer.gate(drive, None, sigma)[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=f"σ = {sigma}")
        if np.ptp(expected) > 10 * tolerance:  # negative control: the gate of another unit
            assert np.abs(np.roll(got, 1) - expected).max() > tolerance


@every_layer
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_backends_agree(row, other_backend, dtype, tolerance):
    results = []
    for backend in (NUMPY, other_backend):
        params, x, noise = make(row, backend, dtype)
        drive = row.layer.drive(params, x)
        found = [drive, row.layer.respond(params, drive, None)[0]]
        if noise is not None:
            found.append(row.layer.respond(params, drive, noise)[0])
            found.append(row.layer.gate(drive, None, 0.3))
        pulled = row.layer.pullback(x, None, drive)
        found += [pulled[name] for name in sorted(pulled)]
        results.append([backend.to_host(array) for array in found])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)


# --- what belongs to one layer alone --------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 2)])
def test_dense_needs_units(sizes):
    with pytest.raises(BadInput, match="at least one input and one output"):
        Dense(*sizes)


def test_dense_says_how_to_repair_an_image():
    with pytest.raises(BadInput, match=r"Flatten\(\)"):
        Dense(12, 3).output_shape((3, 2, 2))


def test_dense_bias_starts_at_zero():
    np.testing.assert_array_equal(Dense(3, 2).init(Key(0))["b"], [0.0, 0.0])


def test_flatten_has_nothing_to_train():
    assert Flatten().noise_shape((2, 2)) is None
    assert Flatten().init(Key(0)) == {}
    assert Flatten().pullback(np.ones((2, 4)), None, np.ones((2, 4))) == {}
    assert Flatten().output_shape(()) == (1,)
