"""Where the files of a data set lie, and whether they are the ones in the catalogue.

A file is used only after its length and sha256 agree with the catalogue.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from nolr.data.source import SourceFile, SourceSet
from nolr.errors import BadInput

__all__ = [
    "Finding",
    "available",
    "data_folder",
    "home_of",
    "inspect",
    "locate",
    "read_checked",
    "sha256_of",
    "survey",
]

ENVIRONMENT = "NOLR_DATA"
CHUNK = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class Finding:
    """What was found where a file should lie: its state, and in words what is wrong with it."""

    file: SourceFile
    state: Literal["complete", "missing", "altered"]
    path: Path
    problem: str = ""


def data_folder(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds one sub-folder a set: the one given, else NOLR_DATA, else datasets/."""
    return Path(explicit or os.environ.get(ENVIRONMENT) or "datasets")


def home_of(
    source: SourceSet, file: SourceFile, folder: str | os.PathLike[str] | None = None
) -> Path:
    """Where a file belongs, whether it is there or not."""
    return data_folder(folder) / source.folder / file.name


def inspect(
    source: SourceSet, file: SourceFile, folder: str | os.PathLike[str] | None = None
) -> Finding:
    """Compare a file with the catalogue: first its size, then its sha256.

    Raises:
        BadInput: the file is there but cannot be read.
    """
    path = _place_of(source, file, folder)
    try:
        if not path.is_file():
            return Finding(file, "missing", path, "it is not there")
        found = path.stat()
        if found.st_size < file.size:
            problem = f"it is truncated: expected {file.size} bytes, got {found.st_size}"
            return Finding(file, "altered", path, problem)
        if found.st_size > file.size:
            problem = f"it is too long: expected {file.size} bytes, got {found.st_size}"
            return Finding(file, "altered", path, problem)
        digest = _sha256(
            path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )
    except OSError as error:
        raise _unreadable(path, error) from None
    if digest != file.sha256:
        return Finding(file, "altered", path, _wrong_digest(file, digest))
    return Finding(file, "complete", path)


def survey(source: SourceSet, folder: str | os.PathLike[str] | None = None) -> tuple[Finding, ...]:
    """Inspect all files of a version of the set: the one that is complete, if any is.

    Else it is the version of which most is there; where nothing is, the one that is downloaded.

    Raises:
        BadInput: a file is there but cannot be read.
    """
    surveys = []
    for version in source.versions:
        findings = tuple(inspect(source, file, folder) for file in version)
        if all(finding.state == "complete" for finding in findings):
            return findings
        surveys.append(findings)
    return max(surveys, key=_share_found)


def available(
    source: SourceSet, folder: str | os.PathLike[str] | None = None
) -> tuple[SourceFile, ...]:
    """The files of a version of the set that is there and unaltered.

    Raises:
        BadInput: there is none.
    """
    findings = survey(source, folder)
    for finding in findings:
        if finding.state != "complete":
            raise _unusable(source, finding.path, finding.problem)
    return tuple(finding.file for finding in findings)


def locate(source: SourceSet, name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """The path of a file that is there and unaltered.

    Raises:
        BadInput: it is missing, truncated, altered or unreadable.
    """
    finding = inspect(source, source.file(name), folder)
    if finding.state != "complete":
        raise _unusable(source, finding.path, finding.problem)
    return finding.path


def read_checked(
    source: SourceSet, name: str, folder: str | os.PathLike[str] | None = None
) -> bytes:
    """The content of a file, read once and checked before it is returned.

    Between `locate` and a later read the file may change; what comes back from here is exactly
    what was checked, which matters where reading can execute code (pickles).

    Raises:
        BadInput: it is missing, truncated, altered or unreadable.
    """
    file = source.file(name)
    path = _place_of(source, file, folder)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _unusable(source, path, "it is not there") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(content) != file.size:
        problem = f"it is altered: expected {file.size} bytes, got {len(content)}"
        raise _unusable(source, path, problem)
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise _unusable(source, path, _wrong_digest(file, digest))
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


def _place_of(source: SourceSet, file: SourceFile, folder: str | os.PathLike[str] | None) -> Path:
    """Where a file lies: the first of the set's folders that has it, else where it belongs."""
    for sub in source.folders:
        path = data_folder(folder) / sub / file.name
        try:
            if path.is_file():
                return path
        except OSError as error:
            raise _unreadable(path, error) from None
    return home_of(source, file, folder)


def _share_found(findings: tuple[Finding, ...]) -> tuple[float, float]:
    """How much of a version is complete, and how much is there at all, 0..1."""
    states = [finding.state for finding in findings]
    return states.count("complete") / len(states), 1 - states.count("missing") / len(states)


def _wrong_digest(file: SourceFile, digest: str) -> str:
    return f"it is altered: expected sha256 {file.sha256}, got {digest}"


def _unusable(source: SourceSet, path: Path, problem: str) -> BadInput:
    return BadInput(
        f"cannot use {str(path)!r}: {problem}; {source.remedy}, or name the data folder with "
        f"--data-dir or {ENVIRONMENT}"
    )


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"cannot read {str(path)!r}: {error.strerror}: check its permissions")
