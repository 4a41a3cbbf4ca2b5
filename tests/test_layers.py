"""The contract of a layer with parameters: every test here runs over the table of `layer_rows`."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import reference
from layer_rows import COPIES, GRAPH, NUMPY, ROWS, SAMPLES, make, on_host

from nolr.activations import Identity
from nolr.backends.numpy import NumpyBackend
from nolr.errors import BadInput
from nolr.layers import LIF, Conv2D, Dense, Embedding, GraphConv, SimpleRNN
from nolr.types import Key, Stream, Window

every_row = pytest.mark.parametrize("row", ROWS, ids=str)
pointwise = pytest.mark.parametrize("row", [r for r in ROWS if not r.layer.recurrent], ids=str)
carried = pytest.mark.parametrize("row", [r for r in ROWS if r.layer.recurrent], ids=str)


def respond(row, params, x, noise):
    """(drive, y, past)."""
    drive = row.layer.drive(params, x)
    return drive, *row.layer.respond(params, drive, noise)


# --- shapes ---------------------------------------------------------------------------------------


@every_row
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_output_shape_and_dtype_are_as_announced(row, backend, dtype):
    params, x, noise = make(row, backend, dtype)
    announced = row.layer.output_shape(row.input_shape)
    for copies, eps in ((1, None), (COPIES, noise)):
        drive, y, past = respond(row, params, x, eps)
        assert tuple(drive.shape) == (SAMPLES, *row.noise_shape)
        assert tuple(y.shape) == (copies * SAMPLES, *announced)
        assert drive.dtype == y.dtype == x.dtype
        assert (past is not None) == row.layer.recurrent
        if past is not None:
            assert tuple(past.shape) == (copies * SAMPLES, *row.noise_shape)
            assert past.dtype == x.dtype


@every_row
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_and_gates_have_shape_and_dtype_too(row, backend, dtype):
    params, x, _ = make(row, backend, dtype)
    drive, _, past = respond(row, params, x, None)
    gate = row.layer.gate(drive, past, 0.3)
    assert tuple(gate.shape) == (SAMPLES, *row.noise_shape)
    assert gate.dtype == x.dtype
    pulled = row.layer.pullback(x, past, drive)
    assert set(pulled) == set(params)
    for name, array in pulled.items():
        assert tuple(array.shape) == tuple(params[name].shape), name
        assert array.dtype == x.dtype, name


@every_row
def test_a_shape_that_does_not_fit_is_refused(row):
    row.layer.output_shape(row.input_shape)  # a control: this one does
    for shape in row.bad_shapes:
        with pytest.raises(BadInput, match="expected samples of shape"):
            row.layer.output_shape(shape)
        with pytest.raises(BadInput, match="expected samples of shape"):
            row.layer.noise_shape(shape)


@every_row
def test_initial_parameters_go_by_key(row):
    first, again = (row.layer.init(Key(1, Stream.INIT)) for _ in range(2))
    other = row.layer.init(Key(2, Stream.INIT))
    for name, array in first.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, again[name])
    assert (first["W"] != other["W"]).all()


# --- responses, against loops ---------------------------------------------------------------------


def check_against_loop(row, params, x, noise, y, past, tolerance=1e-12):
    """Copies are tiled: row c·N + n is copy c of sample n."""
    for index in range(len(y)):
        eps = None if noise is None else noise[index]
        expected, carried = row.oracle(params, x[index % SAMPLES], eps)
        np.testing.assert_allclose(y[index], expected, rtol=tolerance, atol=1e-14)
        if carried is not None:
            np.testing.assert_allclose(past[index], carried, rtol=tolerance, atol=1e-14)


@every_row
@pytest.mark.parametrize("noised", [False, True], ids=["clean", "noisy"])
def test_response_is_the_loop_over_samples_and_copies(row, noised, backend):
    params, x, noise = make(row, backend)
    _, y, past = respond(row, params, x, noise if noised else None)
    check_against_loop(
        row,
        on_host(params, backend),
        backend.to_host(x),
        backend.to_host(noise) if noised else None,
        backend.to_host(y),
        None if past is None else backend.to_host(past),
    )


@every_row
def test_the_loop_sees_a_wrong_parameter_or_input(row):
    # A negative control of the test above: nothing may be left out of the loops.
    params, x, noise = make(row)
    _, y, past = respond(row, params, x, noise)
    for name in params:
        if name in ("U", "decay") and row.noise_shape[0] == 1:
            continue  # one step has no past
        other = {**params, name: params[name] + 0.5}
        with pytest.raises(AssertionError):
            check_against_loop(row, other, x, noise, y, past)
    with pytest.raises(AssertionError):
        check_against_loop(row, params, np.roll(x, 1, axis=0), noise, y, past)
    with pytest.raises(AssertionError):
        check_against_loop(row, params, x, np.roll(noise, 1, axis=0), y, past)


@every_row
def test_copies_share_the_drive(row, backend):
    params, x, noise = make(row, backend)
    _, together, _ = respond(row, params, x, noise)
    for copy in range(COPIES):
        rows = slice(copy * SAMPLES, (copy + 1) * SAMPLES)
        _, alone, _ = respond(row, params, x, noise[rows, ...])
        np.testing.assert_allclose(
            backend.to_host(together)[rows],
            backend.to_host(alone),
            rtol=1e-14,
            err_msg=f"copy {copy}",
        )


@every_row
def test_zero_noise_is_no_noise(row, backend):
    params, x, noise = make(row, backend)
    _, clean, _ = respond(row, params, x, None)
    _, silent, _ = respond(row, params, x, noise * 0)
    np.testing.assert_allclose(
        backend.to_host(silent), np.concatenate([backend.to_host(clean)] * COPIES), rtol=1e-14
    )


@every_row
def test_a_batch_is_its_samples(row, backend):
    params, x, _ = make(row, backend)
    batch = backend.to_host(respond(row, params, x, None)[1])
    for n in range(SAMPLES):
        single = backend.to_host(respond(row, params, x[n : n + 1, ...], None)[1])
        np.testing.assert_allclose(batch[n : n + 1], single, rtol=1e-12, atol=1e-14)


@every_row
def test_the_arguments_are_left_alone(row):
    params, x, noise = make(row)
    drive, _, past = respond(row, params, x, None)
    given = [array for array in (*params.values(), x, drive, past, noise) if array is not None]
    before = [array.copy() for array in given]
    row.layer.drive(params, x)
    row.layer.respond(params, drive, noise)
    row.layer.respond(params, drive, None)
    row.layer.gate(drive, past, 0.3)
    row.layer.pullback(x, past, drive)
    for array, expected in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, expected)


# --- what a layer says of itself ------------------------------------------------------------------


@every_row
def test_affine_is_what_it_says(row):
    params, x, noise = make(row)
    drive, y, _ = respond(row, params, x, noise)
    passed_on = np.concatenate([drive] * COPIES) + noise
    assert row.layer.trainable
    assert row.layer.affine == (y.shape == passed_on.shape and np.allclose(y, passed_on))


@every_row
def test_recurrent_is_what_it_says(row):
    params, x, noise = make(row)
    if len(row.noise_shape) < 2 or row.noise_shape[0] == 1:
        assert row.layer.recurrent == ("SimpleRNN" in str(row))
        return
    # Noise in the first position: does a later pre-activation feel it?
    noise[:, 1:] = 0
    _, y, past = respond(row, params, x, noise)
    _, clean, kept = respond(row, params, x, noise * 0)
    if past is None:
        assert not row.layer.recurrent
        np.testing.assert_array_equal(y[:, 1:], clean[:, 1:])
    else:
        assert row.layer.recurrent
        assert np.abs(past[:, 1:] - kept[:, 1:]).max() > 0.01


@every_row
def test_pulls_past_is_what_it_says(row):
    params, x, _ = make(row)
    drive, _, past = respond(row, params, x, None)
    if past is None or row.noise_shape[0] == 1:
        return
    changed = [
        np.abs(row.layer.pullback(x, past + 0.1, drive)[name] - array).max()
        for name, array in row.layer.pullback(x, past, drive).items()
    ]
    assert row.layer.pulls_past == (max(changed) > 1e-3)


# --- the pullback ---------------------------------------------------------------------------------


def check_pullback(row, layer):
    """Against the finite difference of v, by loops, the past being held at what it was."""
    params, x, _ = make(row)
    _, _, past = respond(row, params, x, None)
    score = np.random.default_rng(1).normal(size=(SAMPLES, *row.noise_shape))
    got = layer.pullback(x, past, score)
    assert set(got) == set(params)

    def weighed(moved):
        return sum(
            np.sum(score[n] * row.pre_activation(moved, x[n], None if past is None else past[n]))
            for n in range(SAMPLES)
        )

    for name, array in params.items():
        expected = reference.finite_difference(
            lambda changed, name=name: weighed({**params, name: changed}), array
        )
        np.testing.assert_allclose(got[name], expected, atol=1e-8, err_msg=name)


@every_row
def test_pullback_is_the_transposed_derivative_of_the_pre_activation(row):
    check_pullback(row, row.layer)


@every_row
def test_pullback_sums_over_rows(row, backend):
    params, x, _ = make(row, backend)
    drive, _, past = respond(row, params, x, None)
    score = drive * 0.3
    whole = row.layer.pullback(x, past, score)
    parts = [
        row.layer.pullback(*(None if a is None else a[n : n + 1, ...] for a in (x, past, score)))
        for n in range(SAMPLES)
    ]
    for name, array in whole.items():
        expected = sum(backend.to_host(part[name]) for part in parts)
        np.testing.assert_allclose(backend.to_host(array), expected, rtol=1e-12, atol=1e-14)


# --- the gate -------------------------------------------------------------------------------------


@pointwise
def test_gate_is_the_slope_of_the_mean_response(row):
    # E[f(v + ε) ε/σ²] = d/dv E[f(v + ε)], by the trapezium rule over one noise for all units.
    params, x, _ = make(row)
    drive = row.layer.drive(params, x[:1])
    eta = np.linspace(-9, 9, 20_001)
    weight = np.exp(-0.5 * eta * eta) / np.sqrt(2 * np.pi) * (eta[1] - eta[0])
    for sigma, tolerance in row.gate_tolerance.items():
        noise = np.multiply.outer(sigma * eta, np.ones(row.noise_shape))
        y, _ = row.layer.respond(params, drive, noise)
        expected = np.tensordot(weight * eta / sigma, y, axes=1)
        got = row.layer.gate(drive, None, sigma)[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=f"σ = {sigma}")
        if np.ptp(expected) > 10 * tolerance:  # negative control: the gate of another unit
            assert np.abs(np.roll(got, 1) - expected).max() > tolerance


@carried
def test_gate_is_that_of_the_potential_and_not_of_the_drive(row):
    params, x, _ = make(row)
    drive, _, past = respond(row, params, x, None)
    gate = row.layer.gate(drive, past, 0.8)
    if (activation := getattr(row.layer, "activation", None)) is None:
        u = (past - row.layer.threshold) / 0.8
        expected = np.exp(-0.5 * u * u) / (0.8 * np.sqrt(2 * np.pi))
    else:
        expected = activation.smoothed_derivative(past, 0.8)
    np.testing.assert_allclose(gate, expected, rtol=1e-12, atol=1e-12)
    if row.noise_shape[0] > 1:  # a control: they are not the same thing
        assert np.abs(row.layer.gate(drive, drive, 0.8) - gate).max() > 0.01


# --- backends -------------------------------------------------------------------------------------


@every_row
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_backends_agree(row, other_backend, dtype, tolerance):
    results = []
    for backend in (NUMPY, other_backend):
        params, x, noise = make(row, backend, dtype)
        drive, clean, past = respond(row, params, x, None)
        _, noisy, later = respond(row, params, x, noise)
        pulled = row.layer.pullback(x, past, drive)
        found = [drive, clean, past, noisy, later, row.layer.gate(drive, past, 0.3)]
        found += [pulled[name] for name in sorted(pulled)]
        results.append([backend.to_host(array) for array in found if array is not None])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)


# --- what belongs to one layer alone --------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "first", "second"),
    [
        (Dense, "inputs", "outputs"),
        (Conv2D, "inputs", "outputs"),
        (partial(GraphConv, operator=GRAPH), "inputs", "outputs"),
        (SimpleRNN, "inputs", "units"),
        (LIF, "inputs", "units"),
        (Embedding, "tokens", "units"),
    ],
    ids=["Dense", "Conv2D", "GraphConv", "SimpleRNN", "LIF", "Embedding"],
)
def test_sizes_are_whole_numbers_of_at_least_one(layer, first, second):
    name = type(layer(np.int64(2), 3)).__name__  # a control: these fit
    for wrong in (0, -1, 2.0, 1.5, "2", None):
        rest = f"of {name} must be a whole number of at least 1, got {re.escape(repr(wrong))}"
        with pytest.raises(BadInput, match=f"^{first} {rest}"):
            layer(wrong, 3)
        with pytest.raises(BadInput, match=f"^{second} {rest}"):
            layer(3, wrong)


@pytest.mark.parametrize(
    "layer",
    [
        lambda f: Dense(2, 2, f),
        lambda f: Conv2D(2, 2, activation=f),
        lambda f: GraphConv(2, 2, GRAPH, f),
        lambda f: SimpleRNN(2, 2, f),
    ],
    ids=["Dense", "Conv2D", "GraphConv", "SimpleRNN"],
)
def test_an_activation_is_a_function(layer, request):
    name = request.node.callspec.id
    words = rf"the activation of {name} must be a function like nolr.ReLU\(\), got 'relu'"
    with pytest.raises(BadInput, match=words):
        layer("relu")


def test_dense_says_how_to_repair_an_image():
    with pytest.raises(BadInput, match=r"Flatten\(\)"):
        Dense(12, 3).output_shape((3, 2, 2))


@pytest.mark.parametrize(
    "layer",
    [Dense(3, 2), Conv2D(3, 2), GraphConv(3, 2, GRAPH)],
    ids=lambda layer: type(layer).__name__,
)
def test_biases_start_at_zero(layer):
    np.testing.assert_array_equal(layer.init(Key(0))["b"], [0.0, 0.0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel": 0}, "kernel of Conv2D must be a whole number of at least 1, got 0"),
        ({"kernel": 2.5}, "kernel of Conv2D must be a whole number of at least 1, got 2.5"),
        ({"kernel": (3, 3)}, r"kernel of Conv2D must be a whole number .*, got \(3, 3\)"),
        ({"stride": 0}, "stride of Conv2D must be a whole number of at least 1, got 0"),
        ({"stride": 1.0}, "stride of Conv2D must be a whole number of at least 1, got 1.0"),
        ({"dilation": 0}, "dilation of Conv2D must be a whole number of at least 1, got 0"),
        ({"dilation": 1.5}, "dilation of Conv2D must be a whole number of at least 1, got 1.5"),
        ({"padding": -1}, "padding of Conv2D must be a whole number of at least 0, got -1"),
        ({"padding": 0.5}, "padding of Conv2D must be a whole number of at least 0, got 0.5"),
    ],
    ids=str,
)
def test_pixels_of_a_convolution_are_whole_numbers(options, words):
    with pytest.raises(BadInput, match=words):
        Conv2D(1, 1, **options)


def test_conv_says_how_to_repair_an_image():
    with pytest.raises(BadInput, match="channels come first"):
        Conv2D(3, 2).output_shape((8, 8, 3))
    with pytest.raises(BadInput, match="add padding, or use a smaller kernel"):
        Conv2D(3, 2, kernel=5).output_shape((3, 4, 8))


@pytest.mark.parametrize("name", ["everything", "plain"])
@pytest.mark.parametrize("samples_at_a_time", [1, 3])
def test_convolution_in_blocks_of_samples_is_the_convolution(name, samples_at_a_time, monkeypatch):
    # A cache that holds the columns of one sample only, or of three of four.
    (row,) = (row for row in ROWS if str(row) == f"Conv2D {name}")
    params, x, _ = make(row)
    whole = row.layer.drive(params, x)
    pulled = row.layer.pullback(x, None, whole)
    windows = row.noise_shape[1] * row.noise_shape[2]
    entries = row.layer.inputs * row.layer.kernel**2 * windows
    monkeypatch.setattr(NumpyBackend, "cache_bytes", 8 * entries * samples_at_a_time)
    blocks = [rows for rows, _ in row.layer._columns(x)]
    assert [rows.stop - rows.start for rows in blocks] == ([1] * 4, [3, 1])[samples_at_a_time > 1]
    np.testing.assert_allclose(row.layer.drive(params, x), whole, rtol=1e-13)
    for name, array in row.layer.pullback(x, None, whole).items():
        np.testing.assert_allclose(array, pulled[name], rtol=1e-12, atol=1e-14)


class SwappedConv(Conv2D):
    """The trap: the gradient of the weights with the stride where the dilation belongs."""

    @property
    def window(self):
        right = super().window
        return right._replace(stride=right.dilation, dilation=right.stride)


def test_a_weight_gradient_with_stride_where_dilation_belongs_is_rejected():
    # Backpropagation to the image needs such a swap, im2col needs none. This image is one where the
    # wrong columns have as many windows as the right ones: nothing but the numbers is wrong.
    (row,) = (row for row in ROWS if str(row) == "Conv2D stride")
    swapped = SwappedConv(2, 2, 3, stride=2)
    assert swapped.window == Window((3, 3), (1, 1), (0, 0), (2, 2))
    assert swapped.noise_shape(row.input_shape) == row.noise_shape
    check_pullback(row, row.layer)
    with pytest.raises(AssertionError):
        check_pullback(row, swapped)


def test_graph_convolution_needs_an_operator():
    with pytest.raises(BadInput, match=r"got ndarray: make one with normalized_adjacency\(edges\)"):
        GraphConv(2, 2, np.eye(3))


def test_a_vocabulary_that_is_too_large_is_refused():
    with pytest.raises(BadInput, match="Embedding takes at most 16777216 tokens, got 16777217"):
        Embedding((1 << 24) + 1, 2)


@pytest.mark.parametrize(
    ("tokens", "wrong"),
    [
        ([0, 5], "5"),
        ([3, -1], "-1"),
        ([1, 2.5], "2.5"),
        ([4, -0.5], "-0.5"),
        ([4.25, 0], "4.25"),
        ([0, float("nan")], "nan"),
        ([0, float("inf")], "inf"),
        ([0, 1e30], r"1e\+30"),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_no_number_of_a_token_is_refused(tokens, wrong, dtype, backend):
    layer = Embedding(5, 2)
    params = {"W": backend.asarray(layer.init(Key(0))["W"], dtype)}
    with pytest.raises(BadInput, match=rf"whole token numbers in 0\.\.4, got {wrong}: use the voc"):
        layer.drive(params, backend.asarray([tokens], dtype))


@pytest.mark.parametrize(("tokens", "wrong"), [([0, 5], "5"), ([3, -1], "-1")], ids=str)
def test_integers_are_checked_as_well(tokens, wrong, backend):
    params = {"W": backend.asarray(np.zeros((5, 2)))}
    with pytest.raises(BadInput, match=rf"whole token numbers in 0\.\.4, got {wrong}: use the voc"):
        Embedding(5, 2).drive(params, backend.asarray([tokens], "int64"))


def test_an_embedding_takes_integers_as_they_are(backend):
    layer = Embedding(5, 2)
    params = {"W": backend.asarray(layer.init(Key(0))["W"])}
    numbers = [[4, 0, 4], [1, 2, 3]]
    drives = [
        backend.to_host(layer.drive(params, backend.asarray(numbers, dtype)))
        for dtype in ("int64", "float32")
    ]
    np.testing.assert_array_equal(*drives)


def test_the_largest_vocabulary_is_one_whose_numbers_a_float32_holds():
    assert Embedding(1 << 24, 2).output_shape((3,)) == (3, 2)
    assert int(np.float32((1 << 24) - 1)) == (1 << 24) - 1
    assert int(np.float32((1 << 24) + 1)) != (1 << 24) + 1  # hence the limit


@pytest.mark.parametrize(("decay", "cut"), [(1.4, 1.0), (-0.3, 0.0)])
def test_a_learned_decay_is_used_as_if_it_were_cut_off(decay, cut):
    layer = LIF(1, 1, learn_decay=True, threshold=9.0)
    params = {"W": np.ones((1, 1)), "b": np.zeros(1), "decay": np.array([decay])}
    x = np.array([[[1.0], [0.5], [0.25]]])
    _, past = layer.respond(params, layer.drive(params, x), None)
    expected = [1.0, cut + 0.5, cut * (cut + 0.5) + 0.25]
    np.testing.assert_allclose(past[0, :, 0], expected)


@pytest.mark.parametrize(("decay", "cut"), [(1.4, 1.0), (-0.3, 0.0)])
def test_a_decay_beyond_its_range_is_pulled_back_as_that_at_its_end(decay, cut):
    # The straight-through estimate that LIF's docstring speaks of: the derivative there is 0.
    layer = LIF(1, 1, learn_decay=True, threshold=9.0)
    x, pulled = np.array([[[1.0], [0.5], [0.25]]]), []
    for value in (decay, cut):
        params = {"W": np.ones((1, 1)), "b": np.zeros(1), "decay": np.array([value])}
        drive = layer.drive(params, x)
        pulled.append(layer.pullback(x, layer.respond(params, drive, None)[1], drive)["decay"])
    np.testing.assert_array_equal(*pulled)
    assert pulled[0] != 0


def test_the_decay_of_every_neuron_starts_where_it_is_told():
    params = LIF(2, 3, decay=0.7, learn_decay=True).init(Key(0))
    np.testing.assert_array_equal(params["decay"], [0.7, 0.7, 0.7])
    assert "decay" not in LIF(2, 3, decay=0.7).init(Key(0))


def test_an_affine_layer_is_one_with_the_identity():
    assert Conv2D(1, 1, activation=Identity()).affine
    assert not Conv2D(1, 1).affine
