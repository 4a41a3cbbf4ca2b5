"""Any other array-API library with arrays in host memory: torch on the CPU, array-api-strict.

The strict library implements the standard and nothing else, so code that runs on it is
backend-agnostic. Torch is used as an array library only; its autograd is never switched on.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from nolr.backends.generic import im2col
from nolr.backends.numpy import host_coins, host_normal, host_uniform
from nolr.types import Array, Key, Shape, Window

__all__ = ["ArrayApiBackend"]

NAMESPACES = {"torch": "array_api_compat.torch", "array-api-strict": "array_api_strict"}


class ArrayApiBackend:
    """An adapter for one namespace. The standard has no random numbers: they come from the host."""

    device = "host"
    cache_bytes = 1 << 19

    def __init__(self, name: str) -> None:
        self.name = name
        self.xp = importlib.import_module(NAMESPACES[name])
        self._dtypes = {
            kind: getattr(self.xp, kind)
            for kind in ("float32", "float64", "int32", "int64", "uint8", "bool")
        }

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        # A copy: the host array may be read-only, which torch warns about, or be written later.
        array = np.array(host, dtype=dtype)
        return self.xp.asarray(array)

    def to_host(self, array: Array) -> Any:
        return np.from_dlpack(array).copy()

    def normal(self, key: Key, shape: Shape, dtype: Any) -> Array:
        host = "float32" if dtype == self._dtypes["float32"] else "float64"
        return self.xp.asarray(host_normal(key, shape, host))

    def uniform(self, key: Key, shape: Shape, dtype: Any) -> Array:
        host = "float32" if dtype == self._dtypes["float32"] else "float64"
        return self.xp.asarray(host_uniform(key, shape, host))

    def coins(self, key: Key, shape: Shape, probability: float) -> Array:
        return self.xp.asarray(host_coins(key, shape, probability))

    def im2col(self, x: Array, window: Window) -> Array:
        return im2col(self.xp, x, window)

    def scatter_add(self, rows: Array, values: Array, size: int) -> Array:
        # The standard has no scatter: a product with one-hot rows, slow but right.
        numbers = self.xp.arange(size, dtype=rows.dtype)
        return self.xp.astype(numbers[:, None] == rows, values.dtype) @ values

    def sparse(self, matrix: Any, dtype: Any) -> Any:
        # The standard has no sparse arrays.
        return self.xp.astype(self.asarray(matrix.toarray()), dtype)

    def synchronize(self) -> None:
        """Nothing is queued."""
