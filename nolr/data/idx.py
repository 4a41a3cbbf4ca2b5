"""The idx format of MNIST: arrays of any rank, big-endian, usually gzipped.

    byte 0, 1   zero
    byte 2      type of the entries: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
    byte 3      number of dimensions d
    4 d bytes   the dimensions, uint32
    the rest    the entries, last index fastest

Source: http://yann.lecun.com/exdb/mnist/, "THE IDX FILE FORMAT".
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nolr.errors import BadInput

__all__ = ["read_idx"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
CHUNK = 1 << 20  # bytes read at a time


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an idx file, gzipped or not, in its own type and this machine's byte order.

    Returns:
        An array of the shape that the file states, writable.

    Raises:
        BadInput: the file is missing, is not idx, is damaged, or is shorter or longer than its
            dimensions say.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            gzipped = file.read(2) == GZIP
            file.seek(0)
            if not gzipped:
                return _read(file, path)
            with gzip.open(file) as unpacked:
                return _read(unpacked, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unusable(path, f"its gzip stream is damaged ({error})") from None
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror}: check the path") from None


def _read(stream: BinaryIO | gzip.GzipFile, path: Path) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise _unusable(
            path, f"it is not idx: expected two zero bytes, a type and a rank, got {magic.hex(' ')}"
        )
    code, rank = magic[2:]
    if code not in DTYPES:
        known = ", ".join(f"{known:02x}" for known in DTYPES)
        raise _unusable(path, f"its entries have an unknown type: expected {known}, got {code:02x}")
    if rank == 0:
        raise _unusable(path, "it has no dimensions: expected at least 1, got 0")
    dimensions = stream.read(4 * rank)
    if len(dimensions) < 4 * rank:
        raise _unusable(
            path,
            f"it is truncated: expected {4 * rank} bytes of dimensions, got {len(dimensions)}",
        )
    shape = struct.unpack(f">{rank}I", dimensions)
    dtype = np.dtype(DTYPES[code])
    size = math.prod(shape) * dtype.itemsize  # a Python integer: it cannot overflow
    # Piece by piece: a damaged header may state more bytes than this machine has memory.
    content = bytearray()
    while len(content) <= size and (chunk := stream.read(CHUNK)):
        content += chunk
    if len(content) < size:
        raise _unusable(
            path, f"it is truncated: shape {shape} needs {size} bytes, got {len(content)}"
        )
    if len(content) > size:
        raise _unusable(path, f"it has trailing data: shape {shape} needs {size} bytes, got more")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _unusable(path: Path, problem: str) -> BadInput:
    return BadInput(f"cannot use {str(path)!r}: {problem}; get the file anew from where it is from")
