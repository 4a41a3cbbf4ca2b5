"""Files are replaced whole or not at all."""

from __future__ import annotations

import os

import pytest

from nolr.errors import BadInput
from nolr.files import check_writable, write_atomically, write_together


def test_writes_and_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "file.bin"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file.bin"]


def test_a_failure_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BadInput, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("moment", [0, 1, 2, 3])
def test_an_interrupt_keeps_all_old_files_or_none(tmp_path, monkeypatch, moment):
    old = {tmp_path / name: name.encode() for name in ("a", "b", "c", "d")}
    write_together(old)
    calls, fsync = [], os.fsync

    def interrupt(descriptor):
        calls.append(descriptor)
        if len(calls) == moment + 1:
            raise KeyboardInterrupt
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupt)
    new = {**dict.fromkeys(old, b"new"), tmp_path / "d": None}
    if moment < 3:  # while one of the three is written
        with pytest.raises(KeyboardInterrupt):
            write_together(new)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old
    else:
        write_together(new)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
            "a": b"new",
            "b": b"new",
            "c": b"new",
        }


def test_what_was_written_beside_goes_when_a_rename_fails(tmp_path, monkeypatch):
    def fail(scratch, path):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(BadInput, match=r"cannot write '.*one': Operation not permitted"):
        write_together({tmp_path / "one": b"1", tmp_path / "two": b"2"})
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_others_may_read_it_as_they_may_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_writability_is_checked_before_any_work(tmp_path):
    check_writable(tmp_path / "folder" / "file")
    with pytest.raises(BadInput, match="it is a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").write_text("")
    for below in ("below", "far/below"):
        with pytest.raises(BadInput, match="cannot write into"):
            check_writable(tmp_path / "file" / below)
    for name in ("x" * 300, f"folder/{'x' * 300}", f"{'x' * 300}/file"):
        with pytest.raises(BadInput, match="File name too long"):
            check_writable(tmp_path / name)
    assert os.listdir(tmp_path) == ["file"]  # to look leaves nothing behind
