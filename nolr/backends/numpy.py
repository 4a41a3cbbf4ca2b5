"""NumPy: the host, and the reference that every other backend is compared with."""

from __future__ import annotations

from math import prod
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from nolr.types import Array, Key, Shape

__all__ = ["NumpyBackend", "host_generator", "host_normal"]


class NumpyBackend:
    """Arrays in the host's memory."""

    name = "numpy"
    xp = xp

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        return np.asarray(host, dtype=dtype)

    def to_host(self, array: Array) -> Any:
        return array

    def normal(self, key: Key, shape: Shape, dtype: Any) -> Array:
        return host_normal(key, shape, dtype)

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
