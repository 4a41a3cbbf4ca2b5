"""Backends: the look-up, mixed arrays, the namespace cache, and the CUDA generator."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import shutil
import subprocess

import numpy as np
import pytest
import reference
from scipy.sparse import csr_array

from nolr.backends import (
    NAMES,
    backend_of,
    find_backends,
    generic,
    get_backend,
    itemsize,
    namespace,
    same_backend,
)
from nolr.backends.cupy import PHILOX, open_cupy, philox_words
from nolr.backends.numpy import NumpyBackend, host_coins
from nolr.errors import BadInput, nearest
from nolr.types import Key, Stream, Window


def test_unknown_backend_suggests_the_nearest():
    with pytest.raises(BadInput, match="no backend 'numpi'; did you mean 'numpy'"):
        get_backend("numpi")
    with pytest.raises(BadInput, match="choose one of: array-api-strict, cupy, numpy, torch"):
        get_backend("zzz")


@pytest.mark.parametrize(
    ("find", "words"),
    [
        (lambda: get_backend.__wrapped__("torch"), "pip install torch"),
        (lambda: get_backend.__wrapped__("array-api-strict"), "pip install array-api-strict"),
        (lambda: open_cupy.__wrapped__(), r"pip install 'nolr\[cuda12\]'"),
    ],
    ids=["torch", "array-api-strict", "cupy"],
)
def test_a_missing_library_says_what_to_install(monkeypatch, find, words):
    importlib.import_module("nolr.backends.array_api")  # what is not missing may be loaded

    def missing(name, *rest):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BadInput, match=words):
        find()


def test_the_array_says_where_it_lives(backend):
    array = backend.asarray([[1.0, 2.0]])
    assert backend_of(array) is backend
    assert namespace(array) is namespace(array)
    assert hasattr(namespace(array), "matmul")


@pytest.mark.parametrize("thing", [[1.0, 2.0], "array", None, {"W": 1}], ids=repr)
def test_what_is_no_array_is_refused(thing):
    with pytest.raises(BadInput, match="expected an array of one of the backends"):
        backend_of(thing)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_there_and_back(backend, dtype):
    host = np.array([[0, 1, 1], [1, 0, 3]]).astype(dtype)
    there = backend.asarray(host)
    back = backend.to_host(there)
    assert isinstance(back, np.ndarray)
    assert back.dtype == host.dtype
    np.testing.assert_array_equal(back, host)
    assert str(backend.asarray(host, "float32").dtype).endswith("float32")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_itemsize_is_that_of_the_host(backend, dtype):
    array = backend.asarray([0, 1], dtype)
    assert itemsize(array.dtype) == backend.to_host(array).dtype.itemsize


def test_read_only_arrays_and_lists_are_welcome(backend):
    host = np.arange(4.0)
    host.setflags(write=False)
    np.testing.assert_array_equal(backend.to_host(backend.asarray(host)), host)
    np.testing.assert_array_equal(backend.to_host(backend.asarray([1, 2], "float64")), [1.0, 2.0])


def test_to_host_takes_single_numbers(backend):
    total = backend.xp.sum(backend.asarray([1.0, 2.5]))
    assert float(backend.to_host(total)) == 3.5
    assert float(total) == 3.5


def test_mixed_backends_name_the_array_and_the_fix(other_backend):
    ours, theirs = get_backend("numpy").asarray([1.0]), other_backend.asarray([1.0])
    with pytest.raises(BadInput) as caught:
        same_backend(x=ours, weights=ours, target=theirs)
    message = str(caught.value)
    assert f"target is an array of {other_backend.name!r} but x is one of 'numpy'" in message
    # The fix that it prints is a fix: run it.
    fix = message.split("move it with ")[1]
    moved = eval(fix, {"get_backend": get_backend, "target": theirs})
    assert same_backend(x=ours, target=moved) is get_backend("numpy")


def test_one_backend_is_returned(backend):
    assert same_backend(x=backend.asarray([1.0]), y=backend.asarray([2])) is backend


def test_every_backend_is_reported():
    found = find_backends()
    assert tuple(found) == NAMES
    assert found["numpy"] == f"available, version {np.__version__}"
    for line in found.values():
        assert line.startswith(("available, version ", "not available: "))


def test_a_device_that_is_not_the_host_is_named(monkeypatch):
    assert find_backends()["numpy"].endswith(np.__version__)
    monkeypatch.setattr(NumpyBackend, "device", "Abacus 3000")
    assert find_backends()["numpy"].endswith(f"{np.__version__}, on Abacus 3000")


def test_nearest():
    assert nearest("tanhh", ["tanh", "relu"]) == "; did you mean 'tanh'?"
    assert nearest("q", {"b", "a"}) == "; choose one of: a, b"


# --- uniform numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_go_by_key(dtype, backend):
    kind = getattr(backend.xp, dtype)
    key = Key(3, Stream.AUGMENT, step=5)
    first, again = (backend.to_host(backend.uniform(key, (40, 3), kind)) for _ in range(2))
    assert first.shape == (40, 3)
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, again)
    for field in ("seed", "stream", "step", "stage", "block"):
        other = backend.uniform(key._replace(**{field: 7}), (40, 3), kind)
        assert (backend.to_host(other) != first).mean() > 0.99, field
    assert backend.uniform(key, (0, 2), kind).shape == (0, 2)


def uniform_z_scores(numbers):
    """Mean 1/2 and variance 1/12, in standard errors: those of u and of (u - 1/2)²."""
    numbers = numbers.astype(np.float64).reshape(-1)
    square = (numbers - 0.5) ** 2
    mean = (numbers.mean() - 1 / 2) / np.sqrt(1 / 12 / len(numbers))
    variance = (square.mean() - 1 / 12) / np.sqrt(1 / 180 / len(numbers))
    return np.abs([mean, variance])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_are_uniform(dtype, backend):
    numbers = backend.to_host(
        backend.uniform(Key(1, Stream.AUGMENT), (300, 400), getattr(backend.xp, dtype))
    )
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert uniform_z_scores(numbers).max() < 4
    # Neighbours are independent: products of centred numbers have mean 0, variance 1/144.
    centred = numbers.astype(np.float64).reshape(-1) - 0.5
    assert abs(np.sum(centred[:-1] * centred[1:])) * 12 / np.sqrt(len(centred)) < 4
    # Negative controls: a little shifted, a little narrower.
    assert uniform_z_scores(numbers + 0.01)[0] > 6
    assert uniform_z_scores(0.5 + 0.97 * (numbers - 0.5))[1] > 6


def test_uniform_numbers_of_the_host_are_the_same_everywhere(other_backend):
    if other_backend.name == "cupy":
        pytest.skip("cupy draws on the device")
    key = Key(2, Stream.AUGMENT)
    ours = get_backend("numpy").uniform(key, (5,), "float32")
    theirs = other_backend.uniform(key, (5,), other_backend.xp.float32)
    np.testing.assert_array_equal(ours, other_backend.to_host(theirs))


# --- columns of windows ---------------------------------------------------------------------------

WINDOWS = {
    "plain": (Window((3, 3)), (5, 4)),
    "one pixel": (Window((1, 1)), (2, 3)),
    "stride": (Window((2, 2), (2, 2)), (5, 7)),
    "stride of one axis": (Window((2, 2), (1, 2)), (4, 6)),
    "padding": (Window((3, 3), padding=(1, 1)), (3, 2)),
    "wide padding": (Window((2, 2), padding=(2, 3)), (2, 2)),
    "dilation": (Window((3, 2), dilation=(2, 3)), (6, 5)),
    "all, no two alike": (Window((3, 2), (2, 3), (1, 2), (2, 1)), (7, 8)),
    "dilation and padding": (Window((3, 3), (1, 1), (2, 2), (2, 2)), (3, 5)),
    "as large as the image": (Window((4, 5)), (4, 5)),
}
every_window = pytest.mark.parametrize("name", WINDOWS)


def check_columns(columns, x, window):
    """Column by column; what is beyond the windows of a line is junk, but it is a number."""
    rows, width = window.positions(x.shape[2:])
    assert columns.shape[:3] == (len(x), x.shape[1] * window.kernel[0] * window.kernel[1], rows)
    assert columns.shape[3] >= width
    expected = np.stack([reference.im2col(image, window) for image in x])
    np.testing.assert_array_equal(columns[..., :width], expected)
    assert np.isfinite(columns).all()  # weighed with 0, NaN would be NaN


@every_window
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_are_those_of_the_loop(name, dtype, backend):
    window, size = WINDOWS[name]
    x = np.random.default_rng(0).normal(size=(3, 2, *size)).astype(dtype)
    columns = backend.to_host(backend.im2col(backend.asarray(x), window))
    assert columns.dtype == dtype
    check_columns(columns, x, window)


@every_window
def test_columns_of_the_standard_alone_are_those_of_the_loop(name):
    # The body that other backends share, here with NumPy; and no junk in it.
    window, size = WINDOWS[name]
    x = np.random.default_rng(0).normal(size=(3, 2, *size))
    columns = generic.im2col(get_backend("numpy").xp, x, window)
    check_columns(columns, x, window)
    assert columns.shape[2:] == window.positions(size)


def test_columns_of_another_window_are_told_apart():
    window, size = WINDOWS["all, no two alike"]
    x = np.random.default_rng(0).normal(size=(1, 2, *size))
    columns = get_backend("numpy").im2col(x, window)
    swapped = window._replace(stride=window.stride[::-1])
    with pytest.raises(AssertionError):
        check_columns(columns, x, swapped)


def test_images_are_left_alone_and_may_be_slices():
    images = np.random.default_rng(0).normal(size=(6, 4, 5, 5))
    kept = images.copy()
    part = images[::2, 1:3, :, ::-1]  # neither contiguous nor forwards
    check_columns(get_backend("numpy").im2col(part, Window((3, 3))), part, Window((3, 3)))
    np.testing.assert_array_equal(images, kept)


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scatter_add_sums_the_values_of_every_row(dtype, backend):
    rng = np.random.default_rng(0)
    rows, values = rng.integers(0, 5, 40), rng.normal(size=(40, 3)).astype(dtype)
    expected = np.zeros((7, 3))  # rows 5 and 6 get nothing
    for row, value in zip(rows, values, strict=True):
        expected[row] += value
    found = backend.scatter_add(backend.asarray(rows), backend.asarray(values), 7)
    got = backend.to_host(found)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    # Negative control: writing, not adding, keeps the last value only.
    written = np.zeros((7, 3))
    written[rows] = values
    assert np.abs(got - written).max() > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_products_are_the_dense_ones(dtype, backend):
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(5, 5)) * (rng.random((5, 5)) < 0.4)
    table = backend.asarray(rng.normal(size=(5, 3)), dtype)
    matrix = backend.sparse(csr_array(dense), table.dtype)
    product = matrix @ table
    assert product.dtype == table.dtype
    assert namespace(product) is namespace(table)
    expected = dense @ backend.to_host(table)
    np.testing.assert_allclose(backend.to_host(product), expected, atol=1e-6)


# --- Philox, the generator of the CUDA kernel -----------------------------------------------------


def test_philox_words_of_different_keys_differ():
    values = {
        "seed": (0, 1, 2**31, 2**32, 2**32 + 1, 2**63),
        "stream": (0, Stream.INIT, Stream.SHUFFLE, Stream.NOISE),
        "step": (0, 1, 2, 2**31),
        "stage": (0, 1, 2, 255),
        "block": (0, 1, 2, 70_000),
    }
    keys = [Key(*fields) for fields in itertools.product(*values.values())]
    words = {philox_words(key) for key in keys}
    assert len(words) == len(keys)
    assert all(0 <= word < 2**32 for tuple_ in words for word in tuple_)


# Random123's known answers: (counter, key, output) of philox4x32-10.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.fixture(scope="module")
def philox(tmp_path_factory):
    """The kernel's own source, compiled for the host."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler 'cc' to compile the CUDA source for the host with")
    folder = tmp_path_factory.mktemp("philox")
    (folder / "philox.c").write_text(
        "#define __device__ static\n"
        + PHILOX
        + "void run(unsigned int *c, unsigned int k0, unsigned int k1) { philox4x32(c, k0, k1); }"
    )
    library = folder / "philox.so"
    subprocess.run(
        [compiler, "-std=c99", "-shared", "-fPIC", "-o", library, folder / "philox.c"], check=True
    )
    function = ctypes.CDLL(str(library)).run
    function.argtypes = [ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32, ctypes.c_uint32]
    function.restype = None

    def run(counter, key):
        block = (ctypes.c_uint32 * 4)(*counter)
        function(block, *key)
        return list(block)

    return run


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(philox, counter, key, answer):
    assert philox(words(counter), words(key)) == words(answer)


def test_philox_needs_every_bit_of_counter_and_key(philox):
    # A negative control of the vectors: one bit anywhere changes about half the output's bits.
    base = philox([1, 2, 3, 4], [5, 6])
    for position in range(6):
        for bit in (0, 31):
            inputs = [1, 2, 3, 4, 5, 6]
            inputs[position] ^= 1 << bit
            other = philox(inputs[:4], inputs[4:])
            flipped = sum((a ^ b).bit_count() for a, b in zip(base, other, strict=True))
            assert 30 < flipped < 98


# --- coins ----------------------------------------------------------------------------------------


def test_coins_that_are_certain_draw_no_numbers(monkeypatch):
    monkeypatch.setattr(np.random, "SFC64", None)
    assert host_coins(Key(0), (3, 2), 1.0).all()


@pytest.mark.parametrize("probability", [0.99999, 0.999991, 1 - 2**-17, 1 - 2**-18, 1 - 1e-12, 1.0])
def test_coins_of_almost_certain_heads_are_almost_all_heads(backend, probability):
    coins = backend.to_host(backend.coins(Key(2), (1000, 1000), probability))
    assert coins.shape == (1000, 1000)
    assert coins.dtype == bool
    # On the host one in 2¹⁶ is a tail at least, unless none is: fifteen in a million.
    assert coins.size - int(coins.sum()) < 60


def test_host_coins_are_the_ones_they_always_were():
    coins = host_coins(Key(3, step=1), (4, 6), 0.7)
    assert "".join(str(int(coin)) for coin in coins.reshape(-1)) == "000011101111011111001011"
    assert host_coins(Key(3), (0, 2), 0.7).shape == (0, 2)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_coins_fall_with_their_probability(backend, probability):
    from scipy import stats

    key, shape = Key(1, step=4), (100, 333)
    coins = backend.to_host(backend.coins(key, shape, probability))
    assert coins.shape == shape
    assert coins.dtype == bool
    np.testing.assert_array_equal(coins, backend.to_host(backend.coins(key, shape, probability)))
    count = int(coins.sum())
    if probability in (0.0, 1.0):
        assert count == probability * coins.size
    else:
        assert stats.binomtest(count, coins.size, probability).pvalue > 1e-6
        assert stats.binomtest(count, coins.size, probability + 0.03).pvalue < 1e-6  # a control
        other = backend.to_host(backend.coins(key._replace(step=5), shape, probability))
        assert (coins != other).any()
