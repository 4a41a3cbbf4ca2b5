"""idx files: read as they were written, refused when damaged; and the two sets made of them."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_sets import need_real, write_set

from nolr.data import idx, load_fashion_mnist, load_mnist, mnist
from nolr.data.idx import read_idx
from nolr.data.mnist import read_images
from nolr.errors import BadInput

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """An idx file, written out by the description of the format."""
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def save(path, content):
    path.write_bytes(content)
    return path


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
GOOD = idx_bytes(IMAGES)


@given(
    kind=st.sampled_from(list(CODES)),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    gzipped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_was_written_is_read(tmp_path_factory, kind, shape, gzipped, seed):
    array = np.random.default_rng(seed).integers(-100, 100, shape).astype(kind)
    content = idx_bytes(array)
    path = save(
        tmp_path_factory.mktemp("idx") / "f", gzip.compress(content) if gzipped else content
    )
    found = read_idx(path)
    np.testing.assert_array_equal(found, array, strict=True)
    assert found.dtype.isnative
    assert found.flags.writeable


def test_the_bytes_of_the_description():
    """Header of the official train-images file, as the format's page prints it."""
    assert idx_bytes(np.zeros((0, 28, 28), np.uint8)).hex() == "00000803000000000000001c0000001c"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is not idx"),
        (b"\0\0", "it is not idx: .*got 00 00;"),
        (b"\1" + GOOD[1:], "it is not idx: .*got 01 00 08 03"),
        (b"\x89PNG\r\n", "it is not idx"),
        (b"\0\0\x07" + GOOD[3:], "unknown type: expected 08, 09, 0b, 0c, 0d, 0e, got 07"),
        (b"\0\0\x08\0", "no dimensions"),
        (GOOD[:10], "truncated: expected 12 bytes of dimensions, got 6"),
        (GOOD[:-1], r"truncated: shape \(2, 3, 4\) needs 24 bytes, got 23"),
        (GOOD + b"!", r"trailing data: shape \(2, 3, 4\) needs 24 bytes, got more"),
        (b"\0\0\x0e\xff" + b"\xff" * 1020, r"truncated: shape \(4294967295,"),
        (gzip.compress(GOOD)[:-9], "gzip stream is damaged"),
        (gzip.compress(GOOD)[:-4] + b"abcd", "gzip stream is damaged"),
        (gzip.compress(GOOD)[:-8] + b"abcd" * 2, "gzip stream is damaged"),
        (gzip.compress(GOOD)[:10] + b"\xff" * 20, "gzip stream is damaged"),
        (gzip.compress(GOOD) + b"more", "gzip stream is damaged"),
        (gzip.compress(GOOD[:-1]), "truncated"),
        (gzip.compress(GOOD + b"!"), "trailing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, words):
    path = save(tmp_path / "some-idx3-ubyte", content)
    with pytest.raises(BadInput, match=words) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("extra", [b"!", b""])
def test_the_end_is_looked_for_even_when_a_piece_ends_with_the_entries(
    tmp_path, monkeypatch, extra
):
    monkeypatch.setattr(idx, "CHUNK", 8)
    packed = gzip.compress(GOOD + extra)
    if not extra:
        packed = packed[:-8] + b"abcd" + packed[-4:]  # the checksum of gzip, after the entries
    with pytest.raises(BadInput, match="trailing data" if extra else "gzip stream is damaged"):
        read_idx(save(tmp_path / "f", packed))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere.*No such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="cannot read"):
        read_idx(tmp_path)


def toy_set(folder, arrays):
    """A catalogue entry for files that this writes."""
    return write_set(
        folder, {name: gzip.compress(idx_bytes(array)) for name, array in arrays.items()}
    )


def toy_arrays():
    return {
        "train-images-idx3-ubyte.gz": IMAGES,
        "train-labels-idx1-ubyte.gz": np.array([7, 1], np.uint8),
        "t10k-images-idx3-ubyte.gz": IMAGES[:1],
        "t10k-labels-idx1-ubyte.gz": np.array([3], np.uint8),
    }


def test_four_files_make_two_data_sets(tmp_path):
    train, test = read_images(toy_set(tmp_path, toy_arrays()), tmp_path)
    np.testing.assert_array_equal(train.inputs, IMAGES, strict=True)
    np.testing.assert_array_equal(train.targets, np.array([7, 1]), strict=True)
    np.testing.assert_array_equal(test.inputs, IMAGES[:1], strict=True)
    np.testing.assert_array_equal(test.targets, np.array([3]), strict=True)


def test_images_are_decoded_once(tmp_path, monkeypatch):
    source = toy_set(tmp_path, toy_arrays())
    before = read_images(source, tmp_path)
    monkeypatch.setattr(mnist, "read_idx", lambda path: pytest.fail("decoded again"))
    for part, again in zip(before, read_images(source, tmp_path), strict=True):
        np.testing.assert_array_equal(part.inputs, again.inputs, strict=True)
        np.testing.assert_array_equal(part.targets, again.targets, strict=True)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("train-images-idx3-ubyte.gz", IMAGES[0], r"uint8 of 3 dimensions, got .*\(3, 4\)"),
        ("train-images-idx3-ubyte.gz", IMAGES.astype("i2"), "got int16"),
        ("t10k-labels-idx1-ubyte.gz", np.zeros(2, np.uint8), "1 inputs but 2 targets"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, name, array, words):
    with pytest.raises(BadInput, match=words):
        read_images(toy_set(tmp_path, toy_arrays() | {name: array}), tmp_path)


def test_an_altered_file_is_not_even_unpacked(tmp_path):
    source = toy_set(tmp_path, toy_arrays())
    path = tmp_path / "toy" / "train-images-idx3-ubyte.gz"
    save(path, gzip.compress(idx_bytes(IMAGES + np.uint8(1))))
    with pytest.raises(BadInput, match=r"altered|truncated|too long"):
        read_images(source, tmp_path)


def test_missing_sets_say_how_to_get_them(tmp_path):
    with pytest.raises(BadInput, match="nolr data fetch mnist"):
        load_mnist(tmp_path)
    with pytest.raises(BadInput, match="nolr data fetch fashion-mnist"):
        load_fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "load", "train_counts", "test_counts", "first", "mean", "deviation"),
    [
        (
            "mnist",
            load_mnist,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
            0.1307,
            0.3081,
        ),
        (
            "fashion-mnist",
            load_fashion_mnist,
            [6000] * 10,
            [1000] * 10,
            [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
            0.2860,
            0.3530,
        ),
    ],
)
def test_the_real_sets(name, load, train_counts, test_counts, first, mean, deviation):
    need_real(name)
    train, test = load()
    assert train.inputs.shape == (60_000, 28, 28)
    assert test.inputs.shape == (10_000, 28, 28)
    assert train.inputs.dtype == test.inputs.dtype == np.uint8
    assert train.targets.dtype == np.int64
    assert np.bincount(train.targets).tolist() == train_counts
    assert np.bincount(test.targets).tolist() == test_counts
    assert train.targets[:10].tolist() == first
    histogram = np.bincount(train.inputs.ravel(), minlength=256) / train.inputs.size
    levels = np.arange(256) / 255
    assert round(float(histogram @ levels), 4) == mean
    variance = float(histogram @ levels**2 - (histogram @ levels) ** 2)
    assert round(variance**0.5, 4) == deviation
