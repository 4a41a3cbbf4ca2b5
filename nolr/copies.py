"""Copies of a sample live in axis 0: tiled, never interleaved, so that pairs stay aligned.

rows = [sample 0 .. N-1 of copy 0 | sample 0 .. N-1 of copy 1 | ...]
"""

from __future__ import annotations

from nolr.backends import namespace
from nolr.types import Array

__all__ = ["add_noise", "flatten_units", "fresh_noisy", "split_copies", "tile"]


def tile(array: Array, copies: int) -> Array:
    """(N, ...) -> (copies·N, ...), each copy holding all N rows in order."""
    if copies == 1:
        return array
    return namespace(array).concat([array] * copies, axis=0)


def split_copies(array: Array, samples: int) -> Array:
    """(C·N, ...) -> (C, N, ...): a view that names the copies again."""
    return namespace(array).reshape(array, (-1, samples, *array.shape[1:]))


def add_noise(drive: Array, noise: Array | None) -> Array:
    """z = v + ε for v of N rows, shared by all copies, and ε of C·N rows."""
    if noise is None:
        return drive
    if noise.shape == drive.shape:
        return drive + noise
    z = split_copies(noise, drive.shape[0]) + drive
    return namespace(z).reshape(z, noise.shape)


def fresh_noisy(drive: Array, noise: Array | None) -> Array:
    """The same as an array of its own, that can be written."""
    return namespace(drive).asarray(drive, copy=True) if noise is None else add_noise(drive, noise)


def flatten_units(array: Array, leading: int) -> Array:
    """Keep the first `leading` axes and flatten the rest into one."""
    if array.ndim == leading + 1:
        return array
    return namespace(array).reshape(array, (*array.shape[:leading], -1))
