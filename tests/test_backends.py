"""Backends: the look-up, mixed arrays, the namespace cache, and the CUDA generator."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import shutil
import subprocess

import numpy as np
import pytest

from nolr.backends import (
    NAMES,
    backend_of,
    find_backends,
    get_backend,
    namespace,
    same_backend,
)
from nolr.backends.cupy import PHILOX, open_cupy, philox_words
from nolr.errors import BadInput, nearest
from nolr.types import Key, Stream


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


def test_nearest():
    assert nearest("tanhh", ["tanh", "relu"]) == "; did you mean 'tanh'?"
    assert nearest("q", {"b", "a"}) == "; choose one of: a, b"


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
