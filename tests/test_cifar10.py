"""CIFAR-10: toy batches in every form it is published in, what must be refused, the real sets."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import pickle
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python2_opcodes import array, integer, sequence, stored, string
from toy_sets import describe, make_set, need_real, write_set

from nolr.data import CIFAR10_CLASSES, load_cifar10
from nolr.data.catalogue import CATALOGUE
from nolr.data.cifar10 import VARIANTS, read_cifar10
from nolr.data.cifar10_batches import read_pickle, read_rows
from nolr.errors import BadInput

BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
ALL = (*BATCHES, "test_batch")


def make_batch(seed, count):
    """Images of one batch, (count, 3, 32, 32), and their labels."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (count, 3, 32, 32)).astype(np.uint8),
        rng.integers(0, 10, count),
    )


TOY = {name: make_batch(seed, 2 + seed) for seed, name in enumerate(ALL)}


def rows(images, labels):
    """A batch of the binary version, written out by its description."""
    content = b""
    for image, label in zip(images, labels, strict=True):
        content += bytes([label])
        for channel in image:  # red, green, blue
            for line in channel:
                content += bytes(line)
    return content


def listed(numbers):
    return b"](" + b"".join(map(integer, numbers)) + b"e"


def dictionary(**entries):
    """A pickle of Python 2 with these entries."""
    items = b"".join(string(name.encode()) + value for name, value in entries.items())
    return stored(b"}(" + items + b"u")


def batch_pickle(images, labels):
    return dictionary(
        batch_label=string(b"training batch 1 of 5"),
        labels=listed(labels.tolist()),
        data=array(images.reshape(len(images), -1)),
        filenames=b"](" + string(b"leptodactylus_pentadactylus_s_000004.png") + b"e",
    )


def tar(contents, pack=gzip.compress):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return pack(stream.getvalue())


BINARY = {f"{name}.bin": rows(*batch) for name, batch in TOY.items()}
PYTHON = {name: batch_pickle(*batch) for name, batch in TOY.items()}
FORMS = {
    "binary archive": {
        "cifar-10-binary.tar.gz": tar(
            {
                "cifar-10-batches-bin/readme.html": b"<p>",
                "cifar-10-batches-bin/batches.meta.txt": b"",
            }
            | {f"cifar-10-batches-bin/{name}": content for name, content in BINARY.items()}
        )
    },
    "python archive": {
        "cifar-10-python.tar.gz": tar(
            {"cifar-10-batches-py/batches.meta": b"nobody loads this"}
            | {f"cifar-10-batches-py/{name}": content for name, content in PYTHON.items()}
        )
    },
    "binary files": BINARY,
    "python files": PYTHON,
}


def assert_toy(train, test):
    images = np.concatenate([TOY[name][0] for name in BATCHES])
    labels = np.concatenate([TOY[name][1] for name in BATCHES])
    np.testing.assert_array_equal(train.inputs, images, strict=True)
    np.testing.assert_array_equal(train.targets, labels, strict=True)
    np.testing.assert_array_equal(test.inputs, TOY["test_batch"][0], strict=True)
    np.testing.assert_array_equal(test.targets, TOY["test_batch"][1], strict=True)
    for part in (train, test):
        assert part.inputs.flags.c_contiguous
        assert part.inputs.flags.writeable
        assert part.targets.flags.writeable


@pytest.mark.parametrize("form", FORMS)
def test_every_version_gives_the_same_images(tmp_path, form):
    source = write_set(tmp_path, FORMS[form], name=f"toy {form}")
    for _ in range(2):  # the second time from the cache, where it is used
        assert_toy(*read_cifar10(source, tmp_path))


def test_rows_of_bytes_are_not_kept_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("NOLR_CACHE", str(tmp_path / "cache"))
    read_cifar10(write_set(tmp_path, FORMS["binary files"]), tmp_path)
    assert not (tmp_path / "cache").exists()
    read_cifar10(write_set(tmp_path, FORMS["binary archive"]), tmp_path)
    assert os.listdir(tmp_path / "cache") == ["toy.h5"]


@pytest.mark.parametrize(
    "place",
    ["cifar-10", "cifar-10/cifar-10-batches-bin", "cifar-10-batches-bin", "."],
)
def test_loose_files_may_lie_in_the_folder_that_tar_makes(tmp_path, monkeypatch, place):
    official = CATALOGUE["cifar-10"]
    toy = make_set(
        describe("cifar-10-binary.tar.gz", b"not here"),
        name="cifar-10",
        folder=official.folder,
        elsewhere=official.elsewhere,
        alternatives=(tuple(describe(name, content) for name, content in BINARY.items()),),
    )
    monkeypatch.setitem(CATALOGUE, "cifar-10", toy)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for name, content in BINARY.items():
        (tmp_path / place / name).write_bytes(content)
    assert_toy(*load_cifar10(tmp_path))


@given(count=st.integers(1, 4), seed=st.integers(0, 999))
def test_both_formats_are_read_as_they_are_described(count, seed):
    images, labels = make_batch(seed, count)
    for found in (
        read_rows(rows(images, labels), "f"),
        read_pickle(batch_pickle(images, labels), "f"),
    ):
        np.testing.assert_array_equal(found[0], images, strict=True)
        np.testing.assert_array_equal(found[1], labels, strict=True)


IMAGES, LABELS = TOY["data_batch_1"]
FLAT = array(IMAGES.reshape(2, -1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "expected rows of 3073 bytes, got 0 bytes"),
        (BINARY["test_batch.bin"][:-1], "expected rows of 3073 bytes, got 21510 bytes"),
        (bytes(3074), "expected rows of 3073 bytes, got 3074 bytes"),
        (b"\x0a" + bytes(3072), "expected labels from 0 to 9, got 10"),
    ],
)
def test_rows_that_are_none_are_refused(content, words):
    with pytest.raises(BadInput, match=rf"'some\.bin'.*{words}"):
        read_rows(content, "some.bin")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a pickle of CIFAR-10"),
        (batch_pickle(IMAGES, LABELS)[:-9], "not a pickle of CIFAR-10"),
        (stored(listed([1])), "expected a dictionary with data and labels, got list"),
        (dictionary(data=FLAT), "expected a dictionary with data and labels, got dict"),
        (
            dictionary(data=listed([1]), labels=listed([1, 2])),
            r"expected data of uint8 \(N, 3072\)",
        ),
        (
            dictionary(data=array(IMAGES[:, 0].reshape(2, -1)), labels=listed([1, 2])),
            r"expected data of uint8 \(N, 3072\), got uint8 \(2, 1024\)",
        ),
        (
            dictionary(data=array(np.zeros((2, 3072), np.int16)), labels=listed([1, 2])),
            r"got int16 \(2, 3072\)",
        ),
        (dictionary(data=FLAT, labels=listed([1])), "expected 2 labels, as data has rows, got 1"),
        (dictionary(data=FLAT, labels=FLAT), "expected labels as a list of integers"),
        (
            dictionary(data=FLAT, labels=b"](" + string(b"1") + string(b"2") + b"e"),
            "expected labels as a list of integers",
        ),
        (dictionary(data=FLAT, labels=listed([1, 10])), "expected labels from 0 to 9, got 10"),
        (dictionary(data=FLAT, labels=listed([-1, 1])), "expected labels from 0 to 9, got -1"),
    ],
)
def test_pickles_that_are_no_batches_are_refused(content, words):
    with pytest.raises(BadInput, match=words) as caught:
        read_pickle(content, "data_batch_1")
    assert "'data_batch_1'" in str(caught.value)
    assert "\n" not in str(caught.value)


class Marker:
    """Pickles as a call that leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "content",
    [
        stored(b"c__builtin__\neval\n" + sequence(string(b"1")) + b"R"),
        stored(b"cscipy.sparse.csr\ncsr_matrix\n"),  # what another format may name
        stored(b"ccollections\ndefaultdict\n"),
    ],
)
def test_a_batch_may_name_arrays_and_nothing_else(content):
    with pytest.raises(BadInput, match="is not allowed in it"):
        read_pickle(content, "data_batch_1")


@pytest.mark.parametrize("form", ["python files", "python archive"])
def test_a_hostile_pickle_is_refused_before_it_can_act(tmp_path, form):
    hostile = pickle.dumps(Marker(tmp_path / "trace"), protocol=2)
    files = dict(FORMS[form])
    name = next(iter(files))
    # Altered after the checksum was made, then with a checksum that fits.
    source = write_set(tmp_path, files, name=f"toy {form}")
    spoilt = hostile.ljust(len(files[name]), b".")
    if "archive" in form:
        inside = {f"cifar-10-batches-py/{batch}": hostile for batch in ALL}
        spoilt = tar(inside)
    (tmp_path / "toy" / name).write_bytes(spoilt)
    with pytest.raises(BadInput, match=r"altered|truncated|too long"):
        read_cifar10(source, tmp_path)
    with pytest.raises(BadInput, match=r"mkdir is not allowed"):
        read_cifar10(write_set(tmp_path, files | {name: spoilt}, name=f"toy {form}"), tmp_path)
    assert not (tmp_path / "trace").exists()
    pickle.loads(hostile)  # the negative control: Python's own reader does call it
    assert (tmp_path / "trace").exists()


def test_an_archive_with_too_much_in_a_batch_is_refused(tmp_path):
    inside = {f"cifar-10-batches-bin/{name}": content for name, content in BINARY.items()}
    inside["cifar-10-batches-bin/data_batch_3.bin"] = bytes(3073 * 10_001)
    source = write_set(tmp_path, {"cifar-10-binary.tar.gz": tar(inside)})
    with pytest.raises(
        BadInput, match=r"data_batch_3\.bin' in it is too long: .*30730000.*30733073"
    ):
        read_cifar10(source, tmp_path)


# The JPEG copy


def jpeg(level, size=(32, 32), mode="RGB"):
    """An image of one grey value, which JPEG keeps as it is."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new(mode, size, (level,) * 3 if mode == "RGB" else level).save(stream, "JPEG")
    return stream.getvalue()


def two_halves():
    """Red above, blue below: neither axis can be mistaken for another."""
    from PIL import Image

    image = Image.new("RGB", (32, 32), (255, 0, 0))
    image.paste((0, 0, 255), (0, 16, 32, 32))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95)
    return stream.getvalue()


JPEG_IMAGES = {
    "train/cat/0000.jpg": jpeg(10),
    "train/airplane/0000.jpg": jpeg(20),
    "train/cat/0001.jpg": jpeg(30),
    "test/truck/0000.jpg": two_halves(),
}


def jpeg_set(folder, images=JPEG_IMAGES, train=b"\3\0\3", test=b"\x09"):
    return write_set(
        folder,
        {
            "cifar-10-images-jpeg.tar.xz": tar(images, lzma.compress),
            "train-labels-official-order.u8": train,
            "test-labels-official-order.u8": test,
        },
    )


def test_jpeg_files_come_back_in_the_official_order(tmp_path):
    train, test = read_cifar10(jpeg_set(tmp_path), tmp_path)
    assert train.targets.tolist() == [3, 0, 3]
    assert train.targets.dtype == np.int64
    assert train.inputs.shape == (3, 3, 32, 32)
    assert train.inputs.dtype == np.uint8
    for image, level in zip(train.inputs, (10, 20, 30), strict=True):
        assert set(image.ravel().tolist()) == {level}
    assert test.targets.tolist() == [9]
    red, green, blue = test.inputs[0].astype(int)
    assert red[:14].min() > 240
    assert blue[18:].min() > 240
    assert max(green.max(), red[18:].max(), blue[:14].max()) < 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": b"\3\0\3\3"}, "lacks 1 files, such as 'train/cat/0002.jpg'"),
        ({"train": b"\3\0\x0a"}, r"train-labels.*labels from 0 to 9, got 10"),
        (
            {"images": JPEG_IMAGES | {"test/truck/0000.jpg": b"no image"}},
            "'test/truck/0000.jpg' in .*expected a JPEG file.*got cannot identify",
        ),
        (
            {"images": JPEG_IMAGES | {"test/truck/0000.jpg": jpeg(1)[:-400]}},
            "'test/truck/0000.jpg' in .*expected a JPEG file",
        ),
        (
            {"images": JPEG_IMAGES | {"train/cat/0001.jpg": jpeg(1, size=(32, 31))}},
            "expected a JPEG file, RGB of 32 × 32, got RGB of 32 × 31",
        ),
        (
            {"images": JPEG_IMAGES | {"train/cat/0001.jpg": jpeg(1, mode="L")}},
            "expected a JPEG file, RGB of 32 × 32, got L of 32 × 32",
        ),
        ({"images": JPEG_IMAGES | {"train/cat/0001.jpg": bytes(9000)}}, "too long"),
    ],
)
def test_jpeg_files_that_do_not_fit_are_refused(tmp_path, change, words):
    with pytest.raises(BadInput, match=words) as caught:
        read_cifar10(jpeg_set(tmp_path, **change), tmp_path)
    assert "\n" not in str(caught.value)


# What is asked for by name


def test_missing_sets_say_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="nolr data fetch cifar-10"):
        load_cifar10(tmp_path)
    for variant in VARIANTS[1:]:
        with pytest.raises(BadInput, match=f"{variant} cannot be downloaded: it is"):
            load_cifar10(tmp_path, variant=variant)


def test_an_unknown_variant_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(BadInput, match="no variant 'cifar-10-jpg'; did you mean 'cifar-10-jpeg'"):
        load_cifar10(tmp_path, variant="cifar-10-jpg")


@pytest.mark.parametrize(
    ("variant", "sizes", "train_counts", "test_counts"),
    [
        ("cifar-10", (50_000, 10_000), [5000] * 10, [1000] * 10),
        ("cifar-10-jpeg", (50_000, 10_000), [5000] * 10, [1000] * 10),
        (
            "cifar-10-subset",
            (8068, 1017),
            [810, 777, 808, 783, 856, 782, 808, 799, 835, 810],
            [105, 93, 100, 104, 92, 87, 114, 102, 110, 110],
        ),
    ],
)
def test_the_real_sets(variant, sizes, train_counts, test_counts):
    need_real(variant)
    train, test = load_cifar10(variant=variant)
    for part, size, counts in zip((train, test), sizes, (train_counts, test_counts), strict=True):
        assert part.inputs.shape == (size, 3, 32, 32)
        assert part.inputs.dtype == np.uint8
        assert np.bincount(part.targets).tolist() == counts
    assert train.targets[:5].tolist() == [6, 9, 9, 4, 1]
    assert test.targets[:5].tolist() == [3, 8, 8, 0, 6]
    if variant != "cifar-10-jpeg":
        assert train.inputs[0, :, 0, 0].tolist() == [59, 62, 63]  # red, green, blue of one pixel
        assert train.inputs[0, :, 0, 1].tolist() == [43, 46, 45]  # the next in its row


def test_the_real_jpeg_copy_is_what_the_catalogue_says_of_it_decoded():
    need_real("cifar-10-jpeg")
    train, test = load_cifar10(variant="cifar-10-jpeg")
    images = np.concatenate([train.inputs, test.inputs]).reshape(60_000, -1)
    labels = np.concatenate([train.targets, test.targets]).astype(np.uint8)
    for number, batch in enumerate(ALL):
        part = slice(number * 10_000, (number + 1) * 10_000)
        content = np.concatenate([labels[part, None], images[part]], axis=1).tobytes()
        expected = CATALOGUE["cifar-10-jpeg"].file(f"{batch}.bin").sha256
        assert hashlib.sha256(content).hexdigest() == expected


def test_the_real_jpeg_copy_is_near_the_real_images_and_not_equal():
    need_real("cifar-10-subset")
    need_real("cifar-10-jpeg")
    exact = load_cifar10(variant="cifar-10-subset")
    lossy = load_cifar10(variant="cifar-10-jpeg")
    for mine, theirs, start in ((exact[0], lossy[0], 4000), (exact[1], lossy[1], 1017)):
        np.testing.assert_array_equal(mine.targets[:start], theirs.targets[:start])
        error = mine.inputs[:start].astype(float) - theirs.inputs[:start]
        assert 29 < 10 * np.log10(255**2 / np.mean(error**2)) < 31  # PSNR in dB


def test_the_classes_are_the_ten_of_the_official_file():
    need_real("cifar-10-subset")
    from nolr.data.store import data_folder

    names = (data_folder() / "cifar-10-subset" / "batches.meta.txt").read_text().split()
    assert tuple(names) == CIFAR10_CLASSES
