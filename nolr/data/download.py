"""Download the files of a set: resumed where it broke off, checked before it is put in place.

A file grows beside its destination as `.NAME.part`. Only when its length and sha256 agree with the
catalogue is it renamed, so whoever reads the destination sees the old file or the official one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from nolr.data.catalogue import SourceFile, SourceSet
from nolr.data.store import inspect, place_of, sha256_of
from nolr.errors import BadInput

__all__ = ["fetch"]

TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 18  # bytes read at a time

Progress = Callable[[SourceFile, int], None]  # (file, bytes that are here)


def fetch(
    source: SourceSet,
    folder: str | os.PathLike[str] | None = None,
    on_bytes: Progress | None = None,
) -> tuple[Path, ...]:
    """Download the files of a set that are missing or altered, and return all of their paths.

    Args:
        on_bytes: called with the file and the number of its bytes that are here, as they come.

    Raises:
        BadInput: no network, the server refuses or sends something else, or the folder cannot be
            written. What had arrived stays, and the next call goes on from there.
    """
    report = on_bytes or (lambda file, count: None)
    paths = []
    for file in source.files:
        if inspect(file, folder).state == "complete":
            report(file, file.size)
        else:
            _fetch_file(file, place_of(file, folder), report)
        paths.append(place_of(file, folder))
    return tuple(paths)


def _fetch_file(file: SourceFile, path: Path, report: Progress) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as stream:
            _lock(stream, part, file)
            try:
                _complete(file, part, stream, report)
            except BaseException:
                stream.flush()
                if os.name == "posix" and part.stat().st_size == 0:
                    part.unlink()  # nothing came, so nothing is left behind
                raise
            if os.name == "posix":  # while the lock is held; elsewhere open files cannot move
                part.replace(path)
        if os.name != "posix":
            part.replace(path)
    except OSError as error:
        raise BadInput(
            f"cannot write {str(path)!r}: {error.strerror}: choose another place with --data-dir"
        ) from None


def _complete(file: SourceFile, part: Path, stream: BinaryIO, report: Progress) -> None:
    """Receive what the part lacks, until it is the official file.

    Raises:
        BadInput: it does not become that; a part that cannot is emptied.
    """
    resumed = 0 < stream.tell() <= file.size
    if not resumed:
        stream.truncate(0)
    _receive(file, stream, report)
    digest = sha256_of(part)
    if digest != file.sha256 and resumed:
        # The first half may have been of another day, or another server: once from zero.
        stream.truncate(0)
        _receive(file, stream, report)
        digest = sha256_of(part)
    if digest != file.sha256:
        stream.truncate(0)
        raise _something_else(file, f"sha256 {file.sha256}", digest)
    os.fsync(stream.fileno())


def _lock(stream: BinaryIO, part: Path, file: SourceFile) -> None:
    """Keep a second process from writing into the same part, or into the file it has become."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(stream.fileno()), part.stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise BadInput(
            f"another process is downloading {file.name} of {file.folder}: wait for it, and then "
            "ask again"
        )


def _receive(file: SourceFile, stream: BinaryIO, report: Progress) -> None:
    """Append to the part until it has the length in the catalogue.

    Raises:
        BadInput: it stays shorter, or would become longer.
    """
    have = os.fstat(stream.fileno()).st_size
    report(file, have)
    if have == file.size:
        return
    with _open(file, have) as response:
        if have and not _continues(response, have):
            have = 0  # the server sends the file from its beginning, whatever was asked
            stream.truncate(0)
        promised = response.length  # bytes still to come, where the server says it
        if promised is not None and have + promised != file.size:  # the log-in page of a hotel, say
            stream.truncate(0)
            raise _something_else(file, f"{file.size} bytes", f"{have + promised}")
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, HTTPException) as error:
                raise _broken_off(file, have, str(error)) from None
            if not chunk:
                break
            if have + len(chunk) > file.size:
                stream.truncate(0)
                raise _something_else(file, f"{file.size} bytes", "more")
            stream.write(chunk)
            have += len(chunk)
            report(file, have)
    stream.flush()
    if have < file.size:
        raise _broken_off(file, have, "the connection was closed")


def _open(file: SourceFile, start: int) -> HTTPResponse:
    """Ask for the file from byte `start` on."""
    headers = {"User-Agent": "nolr", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response: HTTPResponse = urlopen(Request(file.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        raise BadInput(
            f"{file.url} cannot be downloaded: the server answered {error.code} {error.reason}; "
            f"try again later, or put {file.name} into the data folder's {file.folder}/ by hand"
        ) from None
    except (URLError, OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise BadInput(
            f"{file.url} cannot be reached ({reason}): connect this machine to the network, or put "
            f"{file.name} into the data folder's {file.folder}/ by hand"
        ) from None
    return response


def _continues(response: HTTPResponse, start: int) -> bool:
    """Whether the answer goes on at byte `start`."""
    content_range = response.headers.get("Content-Range", "")
    return response.status == 206 and content_range.startswith(f"bytes {start}-")


def _something_else(file: SourceFile, expected: str, got: str) -> BadInput:
    return BadInput(
        f"{file.url} sent something else than the official file: expected {expected}, got {got}; "
        "nothing was put in place, try again later or over another network"
    )


def _broken_off(file: SourceFile, have: int, reason: str) -> BadInput:
    return BadInput(
        f"the download of {file.url} broke off after {have} of {file.size} bytes ({reason}): run "
        f"'nolr data fetch {file.folder}' again, it goes on from there"
    )
