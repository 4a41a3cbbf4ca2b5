"""The cache of decoded sets: faster, never different, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_sets import write_set

from nolr.data import cache
from nolr.data.cache import cache_folder, cached
from nolr.errors import BadInput

ARRAYS = {
    "images": np.arange(60, dtype=np.uint8).reshape(5, 3, 4),
    "labels": np.array([3, 1, 4, 1, 5]),
}
CONTENTS = {"a.bin": b"first", "b.bin": b"second"}


class Decoder:
    """Returns arrays, and counts how often it was asked."""

    def __init__(self, arrays=ARRAYS):
        self.arrays, self.calls = arrays, 0

    def __call__(self):
        self.calls += 1
        return self.arrays


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Call the cache for a toy set; returns the arrays and how often they were decoded."""
    monkeypatch.setenv("NOLR_CACHE", str(tmp_path / "cache"))

    def ask(contents=CONTENTS, reader=1, arrays=ARRAYS):
        source = write_set(tmp_path, contents)
        decode = Decoder(arrays)
        return cached(source, source.files, tmp_path, reader, decode), decode.calls

    return ask


def assert_same(found, arrays=ARRAYS):
    assert sorted(found) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].flags.writeable


def cache_file(tmp_path):
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name == "toy.h5"
    return path


def test_what_was_decoded_once_is_read_the_next_time(toy):
    assert toy()[1] == 1
    found, calls = toy()
    assert calls == 0
    assert_same(found)
    found["images"][:] = 0  # the caller's own
    assert_same(toy()[0])


def test_other_files_and_other_readers_are_not_served(toy, tmp_path):
    toy()
    other = {name: array[::-1] for name, array in ARRAYS.items()}  # not contiguous, either
    for change in ({"contents": CONTENTS | {"b.bin": b"sEcond"}}, {"reader": 2}):
        found, calls = toy(arrays=other, **change)
        assert calls == 1
        assert_same(found, other)
        assert toy(**change)[1] == 0
        assert toy()[1] == 1  # and back
    assert cache_file(tmp_path)


def test_a_copy_of_the_files_is_served(toy, tmp_path):
    toy()
    for name in CONTENTS:
        os.utime(tmp_path / "toy" / name, (1, 1))
    assert toy()[1] == 0


def test_files_that_are_altered_are_refused_though_the_cache_could_serve(toy, tmp_path):
    toy()
    source = write_set(tmp_path, CONTENTS)
    (tmp_path / "toy" / "b.bin").write_bytes(b"secOnd")
    with pytest.raises(BadInput, match=r"b\.bin.*altered"):
        cached(source, source.files, tmp_path, 1, Decoder())
    (tmp_path / "toy" / "b.bin").unlink()
    with pytest.raises(BadInput, match=r"b\.bin.*not there"):
        cached(source, source.files, tmp_path, 1, Decoder())


def test_files_that_change_while_they_are_read_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NOLR_CACHE", str(tmp_path / "cache"))
    source = write_set(tmp_path, CONTENTS)

    def decode():
        time.sleep(0.02)  # more than the grain of the file system's clock
        (tmp_path / "toy" / "a.bin").write_bytes(b"First")
        return ARRAYS

    with pytest.raises(BadInput, match=r"a\.bin.*altered"):
        cached(source, source.files, tmp_path, 1, decode)
    assert not (tmp_path / "cache").exists()


def hdf5(path):
    """A file that HDF5 can read, but not one of ours."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = ARRAYS["images"]
    return path.read_bytes()


PIXELS = ARRAYS["images"].tobytes()

DAMAGE = {
    "truncated": lambda content, path: content[:-1],
    "too long": lambda content, path: content + b"!",
    "empty": lambda content, path: b"",
    "altered pixel": lambda content, path: content.replace(PIXELS, PIXELS[:7] + b"!" + PIXELS[8:]),
    "text": lambda content, path: b"nothing of ours",
    "foreign": lambda content, path: hdf5(path),
    "JSON, but of others": lambda content, path: b"[1, 2]".ljust(512, b"\0") + content[512:],
    "no checksum": lambda content, path: content.replace(b"crc32", b"crc33"),
    "other format": lambda content, path: content.replace(b"nolr-data-1", b"nolr-data-0"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_foreign_file_is_replaced(toy, tmp_path, kind):
    toy()
    before = cache_file(tmp_path).read_bytes()
    after = DAMAGE[kind](before, cache_file(tmp_path))
    assert after != before
    cache_file(tmp_path).write_bytes(after)
    found, calls = toy()
    assert calls == 1
    assert_same(found)
    assert toy()[1] == 0


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(toy, tmp_path, at, bit):
    toy()
    content = bytearray(cache_file(tmp_path).read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    cache_file(tmp_path).write_bytes(content)
    found, calls = toy()
    assert calls == 1
    assert_same(found)


@pytest.mark.parametrize("obstacle", ["no folder", "a folder in its place"])
def test_a_cache_that_cannot_be_written_is_no_error(toy, tmp_path, obstacle):
    if obstacle == "no folder":
        (tmp_path / "cache").write_text("a file, where the folder should be")
    else:
        (tmp_path / "cache" / "toy.h5" / "full").mkdir(parents=True)
    for _ in range(2):
        found, calls = toy()
        assert calls == 1
        assert_same(found)
    if obstacle != "no folder":
        assert [path.name for path in (tmp_path / "cache").iterdir()] == ["toy.h5"]


def test_what_the_reader_raises_is_raised_and_nothing_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NOLR_CACHE", str(tmp_path / "cache"))
    source = write_set(tmp_path, CONTENTS)

    def decode():
        raise BadInput("no image")

    with pytest.raises(BadInput, match="no image"):
        cached(source, source.files, tmp_path, 1, decode)
    assert not (tmp_path / "cache").exists()


PROCESS = """
import sys
import numpy as np
from toy_sets import describe, make_set
from nolr.data.cache import cached

source = make_set(describe("a.bin", b"first"))
for step in range(40):
    wanted = {"x": np.arange(100_000) + step % 2}
    found = cached(source, source.files, sys.argv[1], step % 2, lambda: wanted)
    assert np.array_equal(found["x"], wanted["x"])
"""


def test_processes_at_once_do_not_harm_each_other(tmp_path):
    """Each throws out what the others have just kept, as fast as it can."""
    write_set(tmp_path, {"a.bin": b"first"})
    environment = os.environ | {
        "NOLR_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path)], env=environment, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert cache_file(tmp_path)


def test_the_folder_is_the_one_in_the_environment_else_the_user_s(monkeypatch, tmp_path):
    monkeypatch.setenv("NOLR_CACHE", "here")
    assert cache_folder() == Path("here")
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("NOLR_CACHE")
        else:
            monkeypatch.setenv("NOLR_CACHE", unset)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        found = cache_folder()
        assert found.name == "nolr" or "nolr" in found.parts
        if sys.platform == "linux":
            assert found == tmp_path / "nolr"


def test_the_tests_have_a_cache_of_their_own():
    assert cache_folder().name.startswith("nolr-cache-")
    assert cache.ENVIRONMENT == "NOLR_CACHE"
