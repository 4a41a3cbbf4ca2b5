"""Files are replaced atomically: a reader, or a machine that fails, sees the old one or the new."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from nolr.errors import BadInput

__all__ = ["check_writable", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its destination, then rename it into place.

    Raises:
        BadInput: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(
            f"cannot write {str(path)!r}: {error.strerror}: choose another place with --out"
        ) from None


def check_writable(path: Path) -> None:
    """Fail early, before any work is done that could not be saved.

    Raises:
        BadInput: the folder cannot be written, or the path is a folder.
    """
    try:
        if path.is_dir():
            raise BadInput(f"cannot write {str(path)!r}: it is a folder; name a file in it")
        if os.path.lexists(path) and not path.is_file():
            raise BadInput(f"cannot write {str(path)!r}: it is not a regular file; choose another")
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that is too long fails here, not after hours of training
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadInput(
            f"cannot write into {str(path.parent)!r}: {error.strerror}: choose another place "
            "with --out"
        ) from None
