"""Archives: what is asked for is read, and nothing that an archive says can do harm."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nolr.data import archive
from nolr.data.archive import members
from nolr.errors import BadInput

PACK = {"gz": gzip.compress, "xz": lzma.compress}
LIMITS = {"in/a.bin": 10, "in/b.bin": 10}


def plain(name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def tar(*entries, form=tarfile.PAX_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as file:
        for info, content in entries:
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


A, B = plain("in/a.bin", b"first"), plain("in/b.bin", b"0123456789")
GOOD = [A, special("in", tarfile.DIRTYPE), plain("in/readme.html", b"<p>" * 999), B]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_is_asked_for_is_read_in_order_and_the_rest_passed_over(packing, form):
    content = PACK[packing](tar(*GOOD, form=form))
    found = list(members(content, "toy.tar", LIMITS))
    assert found == [("in/a.bin", b"first"), ("in/b.bin", b"0123456789")]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([A], "lacks 1 files, such as 'in/b.bin'"),
        ([], "lacks 2 files, such as 'in/a.bin'"),
        ([A, B, A], "has 'in/a.bin' twice"),
        ([A, plain("in/b.bin", b"0123456789!")], "'in/b.bin' in it is too long: .* 10 .*got 11"),
        (
            [A, special("in/b.bin", tarfile.SYMTYPE, "/etc/passwd")],
            "'in/b.bin' in it is not a plain",
        ),
        ([A, special("in/b.bin", tarfile.LNKTYPE, "in/a.bin")], "'in/b.bin' in it is not a plain"),
        ([A, special("in/b.bin", tarfile.DIRTYPE)], "'in/b.bin' in it is not a plain"),
        ([A, special("in/b.bin", tarfile.FIFOTYPE)], "'in/b.bin' in it is not a plain"),
        ([A, plain("../in/b.bin", b"x"), plain("/in/b.bin", b"x")], "lacks 1 files"),
        ([A, plain("big", b"\0" * 2_000_000), B], "unpacks to more than it should"),
        ([plain("in/" + "x" * 2_000_000, b""), A, B], "unpacks to more than it should"),
    ],
)
def test_archives_that_are_not_as_expected_are_refused(entries, words):
    content = gzip.compress(tar(*entries))
    with pytest.raises(BadInput, match=words) as caught:
        list(members(content, "toy.tar", LIMITS))
    assert str(caught.value).startswith("cannot use 'toy.tar': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: b"",
        lambda packed: b"hello",
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:20] + b"\xff" * 20,
        lambda packed: packed[:6],
    ],
)
def test_damaged_archives_are_refused(packing, spoil):
    content = PACK[packing](os.urandom(3000) + tar(*GOOD))
    with pytest.raises(BadInput, match=r"it is not a whole archive"):
        list(members(spoil(content), "toy.tar", LIMITS))
    with pytest.raises(BadInput, match=r"it is not a whole archive"):
        list(members(PACK[packing](b"not tar" * 999), "toy.tar", LIMITS))


def test_nothing_is_written_whatever_an_archive_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = plain("../outside.bin", b"!"), plain(str(tmp_path / "absolute.bin"), b"!")
    content = gzip.compress(tar(*outside, *GOOD))
    assert len(list(members(content, "toy.tar", LIMITS))) == 2
    assert os.listdir(tmp_path) == []
    assert not (tmp_path.parent / "outside.bin").exists()


def test_a_bomb_is_left_before_it_goes_off(monkeypatch):
    """200 MB of zeros in 200 kB: no more is unpacked than the files asked for may need."""
    given_out = []
    read = archive._Bounded.read

    def watched(self, size=-1):
        content = read(self, size)
        given_out.append(len(content))
        return content

    monkeypatch.setattr(archive._Bounded, "read", watched)
    content = gzip.compress(tar(plain("bomb", bytes(200_000_000)), A, B), compresslevel=1)
    with pytest.raises(BadInput, match="unpacks to more"):
        list(members(content, "toy.tar", LIMITS))
    assert sum(given_out) < 2_000_000


@given(at=st.integers(0, 511), byte=st.integers(0, 255), block=st.integers(0, 12))
def test_any_damage_to_the_headers_ends_well(at, byte, block):
    """With the wrong content or refused, but never otherwise; the checksum is compared before."""
    spoilt = bytearray(tar(*GOOD))
    spoilt[(block * 512 + at) % len(spoilt)] = byte
    try:
        found = dict(members(gzip.compress(bytes(spoilt)), "toy.tar", LIMITS))
    except BadInput:
        return
    assert found.keys() == LIMITS.keys()
    assert all(len(content) <= LIMITS[name] for name, content in found.items())
