"""Where the files of a data set lie, and whether they are the official ones.

A file is used only after its length and sha256 agree with the catalogue.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from nolr.data.catalogue import SourceFile
from nolr.errors import BadInput

__all__ = ["Finding", "data_folder", "inspect", "locate", "place_of", "read_checked", "sha256_of"]

ENVIRONMENT = "NOLR_DATA"
CHUNK = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class Finding:
    """What was found where a file should lie: its state, and in words what is wrong with it."""

    state: Literal["complete", "missing", "altered"]
    path: Path
    problem: str = ""


def data_folder(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds one sub-folder a set: the one given, else NOLR_DATA, else datasets/."""
    return Path(explicit or os.environ.get(ENVIRONMENT) or "datasets")


def place_of(file: SourceFile, folder: str | os.PathLike[str] | None = None) -> Path:
    """Where a file belongs, whether it is there or not."""
    return data_folder(folder) / file.folder / file.name


def inspect(file: SourceFile, folder: str | os.PathLike[str] | None = None) -> Finding:
    """Compare a file with the catalogue: first its size, then its sha256.

    Raises:
        BadInput: the file is there but cannot be read.
    """
    path = place_of(file, folder)
    try:
        if not path.is_file():
            return Finding("missing", path, "it is not there")
        found = path.stat()
        if found.st_size < file.size:
            problem = f"it is truncated: expected {file.size} bytes, got {found.st_size}"
            return Finding("altered", path, problem)
        if found.st_size > file.size:
            problem = f"it is too long: expected {file.size} bytes, got {found.st_size}"
            return Finding("altered", path, problem)
        digest = _sha256(
            path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )
    except OSError as error:
        raise _unreadable(path, error) from None
    if digest != file.sha256:
        return Finding("altered", path, _wrong_digest(file, digest))
    return Finding("complete", path)


def locate(file: SourceFile, folder: str | os.PathLike[str] | None = None) -> Path:
    """The path of a file that is there and unaltered.

    Raises:
        BadInput: it is missing, truncated, altered or unreadable.
    """
    finding = inspect(file, folder)
    if finding.state != "complete":
        raise _unusable(file, finding.path, finding.problem)
    return finding.path


def read_checked(file: SourceFile, folder: str | os.PathLike[str] | None = None) -> bytes:
    """The content of a file, read once and checked before it is returned.

    Between `locate` and a later read the file may change; what comes back from here is exactly
    what was checked, which matters where reading can execute code (pickles).

    Raises:
        BadInput: it is missing, truncated, altered or unreadable.
    """
    path = place_of(file, folder)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _unusable(file, path, "it is not there") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(content) != file.size:
        problem = f"it is altered: expected {file.size} bytes, got {len(content)}"
        raise _unusable(file, path, problem)
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise _unusable(file, path, _wrong_digest(file, digest))
    return content


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _sha256(path: Path, *stat: int) -> str:
    """The sha256 of a file, computed once for every state of it that `stat` can tell apart.

    Hashing 26 MB takes longer than a small experiment's set-up; a file that is written to or
    replaced has another inode, size or time, hence another entry.
    """
    return sha256_of(path)


def _wrong_digest(file: SourceFile, digest: str) -> str:
    return f"it is altered: expected sha256 {file.sha256}, got {digest}"


def _unusable(file: SourceFile, path: Path, problem: str) -> BadInput:
    return BadInput(
        f"cannot use {str(path)!r}: {problem}; download it with 'nolr data fetch {file.folder}', "
        f"or name the data folder with --data-dir or {ENVIRONMENT}"
    )


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"cannot read {str(path)!r}: {error.strerror}: check its permissions")
