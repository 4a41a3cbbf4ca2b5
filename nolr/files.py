"""Files are replaced atomically: a reader, or a machine that fails, sees the old one or the new."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nolr.errors import BadInput

__all__ = ["check_writable", "write_atomically", "write_together"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its destination, then rename it into place.

    Raises:
        BadInput: the folder cannot be written.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes | None]) -> None:
    """Write files that belong together: none is replaced before all are complete on the disk.

    Each is written beside its destination. The renames follow one another at once, so that an
    interrupt or an error in all that takes time leaves every old file as it was, and nothing else.

    Args:
        contents: bytes of every file; None for one that is to be there no more.

    Raises:
        BadInput: a folder cannot be written.
    """
    scratches: dict[Path, Path] = {}
    path = Path()
    try:
        try:
            for path, content in contents.items():
                if content is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    scratches[path] = path.with_name(f".{path.name}.{os.getpid()}.tmp")
                    _write(scratches[path], content)
            for path in contents:
                if path in scratches:
                    scratches[path].replace(path)
                else:
                    path.unlink(missing_ok=True)
        except BaseException:
            for scratch in scratches.values():
                with contextlib.suppress(OSError):  # what went wrong first is what is told
                    scratch.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(
            f"cannot write {str(path)!r}: {error.strerror}: choose another place with --out"
        ) from None


def _write(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_writable(path: Path) -> None:
    """Fail early, before any work is done that could not be saved. Nothing is left behind.

    Raises:
        BadInput: the folder cannot be written, or the path is a folder.
    """
    try:
        if path.is_dir():
            raise BadInput(f"cannot write {str(path)!r}: it is a folder; name a file in it")
        if os.path.lexists(path) and not path.is_file():
            raise BadInput(f"cannot write {str(path)!r}: it is not a regular file; choose another")
        # The folders that are missing are made with the file. Until then it counts that the one
        # that is there can be written, and that no name is too long.
        there = path.parent
        while not os.path.lexists(there):
            there = there.parent
        for part in path.relative_to(there).parts:
            with contextlib.suppress(FileNotFoundError):
                (there / part).lstat()
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise BadInput(
            f"cannot write into {str(path.parent)!r}: {error.strerror}: choose another place "
            "with --out"
        ) from None
