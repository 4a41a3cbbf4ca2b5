"""Download the files of a set: resumed where it broke off, checked before it is put in place.

A file grows beside its destination as `.NAME.part`. Only when its length and sha256 agree with the
catalogue is it renamed, so whoever reads the destination sees the old file or the official one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from nolr.data.source import SourceFile, SourceSet
from nolr.data.store import home_of, inspect, sha256_of, survey
from nolr.errors import BadInput

__all__ = ["fetch"]

TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 18  # bytes read at a time

Progress = Callable[[SourceFile, int], None]  # (file, bytes that are here)


@dataclass(frozen=True)
class _Order:
    """A file to download: for which set, from where, to where, and who is told of its bytes."""

    source: SourceSet
    file: SourceFile
    url: str
    path: Path
    report: Callable[[int], None]


def fetch(
    source: SourceSet,
    folder: str | os.PathLike[str] | None = None,
    on_bytes: Progress | None = None,
) -> tuple[Path, ...]:
    """Download the files of a set that are missing or altered, and return all of their paths.

    Where an alternative version of the set is complete, nothing is downloaded.

    Args:
        on_bytes: called with the file and the number of its bytes that are here, as they come.

    Raises:
        BadInput: the set has no address, no network, the server refuses or sends something else, or
            the folder cannot be written. What had arrived stays, and the next call goes on from
            there.
    """
    report = on_bytes or (lambda file, count: None)
    findings = survey(source, folder)
    if any(finding.state != "complete" for finding in findings):
        findings = tuple(inspect(source, file, folder) for file in source.files)
    orders, paths = [], []
    for finding in findings:
        file, path = finding.file, finding.path
        if finding.state == "complete":
            report(file, file.size)
        elif file.url is None:
            raise BadInput(f"{source.remedy} ({str(path)!r}: {finding.problem})")
        else:
            path = home_of(source, file, folder)
            orders.append(_Order(source, file, file.url, path, partial(report, file)))
        paths.append(path)
    for order in orders:
        _carry_out(order)
    return tuple(paths)


def _carry_out(order: _Order) -> None:
    path = order.path
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as stream:
            _lock(stream, part, order)
            try:
                _complete(order, part, stream)
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


def _complete(order: _Order, part: Path, stream: BinaryIO) -> None:
    """Receive what the part lacks, until it is the official file.

    Raises:
        BadInput: it does not become that; a part that cannot is emptied.
    """
    file = order.file
    resumed = 0 < stream.tell() <= file.size
    if not resumed:
        stream.truncate(0)
    _receive(order, stream)
    digest = sha256_of(part)
    if digest != file.sha256 and resumed:
        # The first half may have been of another day, or another server: once from zero.
        stream.truncate(0)
        _receive(order, stream)
        digest = sha256_of(part)
    if digest != file.sha256:
        stream.truncate(0)
        raise _something_else(order, f"sha256 {file.sha256}", digest)
    os.fsync(stream.fileno())


def _lock(stream: BinaryIO, part: Path, order: _Order) -> None:
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
            f"another process is downloading {order.file.name} of {order.source.name}: wait for "
            "it, and then ask again"
        )


def _receive(order: _Order, stream: BinaryIO) -> None:
    """Append to the part until it has the length in the catalogue.

    Raises:
        BadInput: it stays shorter, or would become longer.
    """
    size = order.file.size
    have = os.fstat(stream.fileno()).st_size
    order.report(have)
    if have == size:
        return
    with _open(order, have) as response:
        if have and not _continues(response, have):
            have = 0  # the server sends the file from its beginning, whatever was asked
            stream.truncate(0)
        promised = response.length  # bytes still to come, where the server says it
        if promised is not None and have + promised != size:  # the log-in page of a hotel, say
            stream.truncate(0)
            raise _something_else(order, f"{size} bytes", f"{have + promised}")
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, HTTPException) as error:
                raise _broken_off(order, have, str(error)) from None
            if not chunk:
                break
            if have + len(chunk) > size:
                stream.truncate(0)
                raise _something_else(order, f"{size} bytes", "more")
            stream.write(chunk)
            have += len(chunk)
            order.report(have)
    stream.flush()
    if have < size:
        raise _broken_off(order, have, "the connection was closed")


def _open(order: _Order, start: int) -> HTTPResponse:
    """Ask for the file from byte `start` on."""
    headers = {"User-Agent": "nolr", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response: HTTPResponse = urlopen(Request(order.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        raise BadInput(
            f"{order.url} cannot be downloaded: the server answered {error.code} {error.reason}; "
            f"try again later, or put {order.file.name} into the data folder's "
            f"{order.source.folder}/ by hand"
        ) from None
    except (URLError, OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise BadInput(
            f"{order.url} cannot be reached ({reason}): connect this machine to the network, or "
            f"put {order.file.name} into the data folder's {order.source.folder}/ by hand"
        ) from None
    return response


def _continues(response: HTTPResponse, start: int) -> bool:
    """Whether the answer goes on at byte `start`."""
    content_range = response.headers.get("Content-Range", "")
    return response.status == 206 and content_range.startswith(f"bytes {start}-")


def _something_else(order: _Order, expected: str, got: str) -> BadInput:
    return BadInput(
        f"{order.url} sent something else than the official file: expected {expected}, got {got}; "
        "nothing was put in place, try again later or over another network"
    )


def _broken_off(order: _Order, have: int, reason: str) -> BadInput:
    return BadInput(
        f"the download of {order.url} broke off after {have} of {order.file.size} bytes "
        f"({reason}): run 'nolr data fetch {order.source.name}' again, it goes on from there"
    )
