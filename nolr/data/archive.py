"""Tar archives, packed with gzip or xz, read member by member; nothing is written to disk.

An archive can name any path, be full of links, or unpack to more than a machine holds. So only
plain files of expected names are read, up to an expected size, and the whole up to what they need.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Mapping

from nolr.errors import BadInput

__all__ = ["members"]

XZ = b"\xfd7zXZ\0"
HEADERS = 2048  # bytes a member may need for headers and padding
OTHERS = 1 << 20  # bytes that members of no interest may have together


def members(content: bytes, name: str, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the members that are asked for, in the order of the archive.

    Args:
        content: of the archive.
        name: of the archive, for errors.
        limits: the bytes that each member asked for may have at most, by name; all others are
            passed over.

    Raises:
        BadInput: the archive is damaged or too long, lacks a member, or has it twice, too long, or
            as something else than a plain file.
    """
    missing = dict(limits)
    longest = sum(limits.values()) + HEADERS * len(limits) + OTHERS
    unpack = lzma.open if content.startswith(XZ) else gzip.open
    try:
        with (
            unpack(io.BytesIO(content)) as unpacked,
            tarfile.open(fileobj=_Bounded(unpacked, longest), mode="r|") as archive,
        ):
            for member in archive:
                if member.name not in limits:
                    continue
                limit = missing.pop(member.name, None)
                if limit is None:
                    raise _unusable(name, f"it has {member.name!r} twice")
                if not member.isreg() or member.issparse():
                    raise _unusable(name, f"{member.name!r} in it is not a plain file")
                if member.size > limit:
                    raise _unusable(
                        name,
                        f"{member.name!r} in it is too long: expected at most {limit} bytes, got "
                        f"{member.size}",
                    )
                stream = archive.extractfile(member)
                assert stream is not None  # it is a plain file
                yield member.name, stream.read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        raise _unusable(name, f"it is not a whole archive ({error})") from None
    if missing:
        raise _unusable(name, f"it lacks {len(missing)} files, such as {min(missing)!r}")


class _Bounded(io.RawIOBase):
    """A stream that fails once it has given more than `limit` bytes."""

    def __init__(self, stream: gzip.GzipFile | lzma.LZMAFile, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.ReadError("it unpacks to more than it should")
        return content


def _unusable(name: str, problem: str) -> BadInput:
    return BadInput(f"cannot use {name!r}: {problem}; get the file anew from where it is from")
