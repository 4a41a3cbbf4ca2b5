"""NumPy: the host, and the reference that every other backend is compared with."""

from __future__ import annotations

from math import prod
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from nolr.types import Array, Key, Shape, Window

__all__ = ["NumpyBackend", "host_coins", "host_generator", "host_normal", "host_uniform"]


class NumpyBackend:
    """Arrays in the host's memory."""

    name = "numpy"
    xp = xp
    device = "host"
    cache_bytes = 1 << 20

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        return np.asarray(host, dtype=dtype)

    def to_host(self, array: Array) -> Any:
        return array

    def normal(self, key: Key, shape: Shape, dtype: Any) -> Array:
        return host_normal(key, shape, dtype)

    def uniform(self, key: Key, shape: Shape, dtype: Any) -> Array:
        return host_uniform(key, shape, dtype)

    def coins(self, key: Key, shape: Shape, probability: float) -> Array:
        return host_coins(key, shape, probability)

    def im2col(self, x: Array, window: Window) -> Array:
        """With a stride of 1 a column holds whole padded lines, one after another.

        So it is copied in one piece, ten times as fast as line by line; the windows that would
        wrap around the edge, at the end of every line, are the junk.
        """
        samples, channels, height, width = x.shape
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window
        rows, columns = window.positions((height, width))
        line = width + 2 * pw
        # The last line's junk reads beyond the image: hence the tail.
        padded = np.zeros((samples, channels, (height + 2 * ph) * line + dw * (kw - 1)), x.dtype)
        image = padded[:, :, : (height + 2 * ph) * line].reshape(samples, channels, -1, line)
        image[:, :, ph : ph + height, pw : pw + width] = x
        run = line if sh == sw == 1 else columns
        step = padded.itemsize
        taps = np.lib.stride_tricks.as_strided(
            padded,
            (samples, channels, kh, kw, rows, run),
            (*padded.strides[:2], *(step * n for n in (dh * line, dw, sh * line, sw))),
        )
        return taps.reshape(samples, channels * kh * kw, rows, run)

    def scatter_add(self, rows: Array, values: Array, size: int) -> Array:
        from scipy.sparse import csr_array  # np.add.at takes one number at a time

        count = rows.shape[0]
        picks = csr_array(
            (np.ones(count, values.dtype), rows, np.arange(count + 1)), shape=(count, size)
        )
        return picks.T @ values

    def sparse(self, matrix: Any, dtype: Any) -> Any:
        return matrix.astype(dtype)

    def synchronize(self) -> None:
        """Nothing is queued."""


def host_generator(key: Key) -> np.random.Generator:
    """Return a generator that is a pure function of the key.

    SeedSequence hashes the whole key, so streams of different keys are independent.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def host_normal(key: Key, shape: Shape, dtype: Any) -> np.ndarray:
    """Standard normal numbers (shape), a pure function of the arguments.

    Float32 draws are the hot path of training. NumPy's ziggurat takes 6-7 ns a number and cannot
    be vectorised; Box and Muller's transform (Annals of Mathematical Statistics 29, 1958) of raw
    bits runs through SIMD logarithms and cosines and takes 2 ns. Its radius has 32 bits, so no
    number is larger than sqrt(2 ln 2³³) = 6.8 in absolute value; float64 draws use the ziggurat.
    """
    if np.dtype(dtype) != np.float32:
        return host_generator(key).standard_normal(shape).astype(dtype, copy=False)
    size = prod(shape)
    half = (size + 1) // 2
    bits = np.random.SFC64(np.random.SeedSequence(key)).random_raw(half).view(np.uint32)
    radius = bits[:half].astype(np.float32)
    radius *= np.float32(2.0**-32)  # uniform on (0, 1]: half a step above 0 keeps log finite
    radius += np.float32(2.0**-33)
    np.log(radius, out=radius)
    radius *= np.float32(-2.0)
    np.sqrt(radius, out=radius)
    angle = bits[half:].astype(np.float32)
    angle *= np.float32(2.0**-31 * np.pi)
    normal = np.empty((2, half), np.float32)
    np.cos(angle, out=normal[0])
    np.sin(angle, out=normal[1])
    normal *= radius
    return normal.reshape(-1)[:size].reshape(shape)


def host_uniform(key: Key, shape: Shape, dtype: Any) -> np.ndarray:
    """Numbers uniform on [0, 1) (shape), a pure function of the arguments."""
    return host_generator(key).random(shape, dtype=np.dtype(dtype))


def host_coins(key: Key, shape: Shape, probability: float) -> np.ndarray:
    """True with this probability to within 2⁻¹⁷ (shape): 16 bits a coin, not 32 and a division."""
    limit = round(probability * 65536)
    if limit > 65535:
        return np.ones(shape, bool)
    size = prod(shape)
    words = np.random.SFC64(np.random.SeedSequence(key)).random_raw((size + 3) // 4)
    return (words.view(np.uint16)[:size] < np.uint16(limit)).reshape(shape)
