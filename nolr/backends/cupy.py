"""CuPy: NVIDIA GPUs. The only module that may import cupy, and only when asked to.

What differs from NumPy, and where it is dealt with:

- reductions give 0-d arrays on the device; float() of one waits for the GPU, so library code
  calls it at the end of a step, for the loss and for a check, and for figures in monitored steps;
- nothing converts to NumPy implicitly: `to_host` is the only way back;
- work is queued: `synchronize` before reading a clock;
- writes to duplicate indices are undefined: `scatter_add` adds atomically, no other code has any;
- sparse matrices live in cupyx.
"""

from __future__ import annotations

import importlib
from functools import cache
from math import prod
from typing import Any

import numpy as np

from nolr.backends.generic import im2col
from nolr.errors import BadInput
from nolr.types import Array, Backend, Key, Shape, Window

__all__ = ["PHILOX", "CupyBackend", "open_cupy", "philox_words"]

# Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011).
# A counter-based generator: thread i encrypts (i, block, step, stage and stream) under the seed.
# Nothing is seeded or stored, so one kernel launch is the whole draw.
PHILOX = r"""
__device__ inline void philox4x32(unsigned int c[4], unsigned int k0, unsigned int k1) {
    for (int round = 0; round < 10; ++round) {
        unsigned long long a = 0xD2511F53ULL * c[0];
        unsigned long long b = 0xCD9E8D57ULL * c[2];
        c[0] = (unsigned int)(b >> 32) ^ c[1] ^ k0;
        c[2] = (unsigned int)(a >> 32) ^ c[3] ^ k1;
        c[1] = (unsigned int)b;
        c[3] = (unsigned int)a;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
}
"""

# Each thread turns four words into four normal numbers by two Box-Muller transforms.
_FILL = r"""
    unsigned int c[4] = {(unsigned int)i, c1, c2, c3};
    philox4x32(c, k0, k1);
    for (int pair = 0; pair < 2; ++pair) {
        double u = (c[2 * pair] + 0.5) * 2.3283064365386963e-10;
        double angle = c[2 * pair + 1] * 4.656612873077393e-10;
        T sine, cosine, radius = sqrt((T)-2 * log((T)u));
        sincospi((T)angle, &sine, &cosine);
        long long at = 4 * (long long)i + 2 * pair;
        if (at < size) out[at] = radius * cosine;
        if (at + 1 < size) out[at + 1] = radius * sine;
    }
"""

# The upper 24 bits of a word: as many as a float32 holds.
_UNIFORM = r"""
    unsigned int c[4] = {(unsigned int)i, c1, c2, c3};
    philox4x32(c, k0, k1);
    for (int word = 0; word < 4; ++word) {
        long long at = 4 * (long long)i + word;
        if (at < size) out[at] = (c[word] >> 8) * (T)5.9604644775390625e-08;
    }
"""


def philox_words(key: Key) -> tuple[int, int, int, int, int]:
    """Spread a key over Philox's words (k0, k1, c1, c2, c3): different keys never collide.

    Holds for seeds below 2⁶⁴, steps and blocks below 2³², stages below 2²⁴.
    """
    low = 0xFFFFFFFF
    return (
        key.seed & low,
        (key.seed >> 32) & low,
        key.block & low,
        key.step & low,
        (key.stream << 24) | key.stage,
    )


class CupyBackend:
    """Arrays in the memory of the current CUDA device."""

    name = "cupy"
    cache_bytes = 1 << 28  # a GPU wants large pieces

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.xp = importlib.import_module("array_api_compat.cupy")
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        self.device = properties["name"].decode()
        words = "uint32 k0, uint32 k1, uint32 c1, uint32 c2, uint32 c3, int64 size"
        self._normal, self._uniform = (
            cupy.ElementwiseKernel(words, "raw T out", body, f"nolr_philox_{name}", preamble=PHILOX)
            for name, body in (("normal", _FILL), ("uniform", _UNIFORM))
        )

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        return self._cupy.asarray(host, dtype=dtype)

    def to_host(self, array: Array) -> Any:
        return self._cupy.asnumpy(array)

    def normal(self, key: Key, shape: Shape, dtype: Any) -> Array:
        return self._draw(self._normal, key, shape, dtype)

    def uniform(self, key: Key, shape: Shape, dtype: Any) -> Array:
        return self._draw(self._uniform, key, shape, dtype)

    def coins(self, key: Key, shape: Shape, probability: float) -> Array:
        return self.uniform(key, shape, self.xp.float32) < probability

    def _draw(self, kernel: Any, key: Key, shape: Shape, dtype: Any) -> Array:
        size = prod(shape)
        numbers = self._cupy.empty(shape, dtype)
        if size:
            words = (np.uint32(word) for word in philox_words(key))
            kernel(*words, size, numbers, size=(size + 3) // 4)
        return numbers

    def im2col(self, x: Array, window: Window) -> Array:
        return im2col(self.xp, x, window)

    def scatter_add(self, rows: Array, values: Array, size: int) -> Array:
        table = self._cupy.zeros((size, values.shape[1]), values.dtype)
        self._cupy.add.at(table, rows, values)
        return table

    def sparse(self, matrix: Any, dtype: Any) -> Any:
        return importlib.import_module("cupyx.scipy.sparse").csr_matrix(matrix.astype(dtype))

    def synchronize(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()


@cache
def open_cupy() -> Backend:
    """Import cupy and look for a GPU.

    Raises:
        BadInput: cupy is not installed, or the machine has no usable CUDA GPU.
    """
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise BadInput(
            f"backend 'cupy' needs the package cupy, which cannot be imported ({error}): run "
            "pip install 'nolr[cuda12]' or 'nolr[cuda13]', or choose --backend numpy"
        ) from None
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BadInput(
            f"backend 'cupy' found no usable CUDA GPU ({error}): choose --backend numpy"
        ) from None
    if devices == 0:
        raise BadInput("backend 'cupy' found no CUDA GPU: choose --backend numpy")
    try:
        backend = CupyBackend(cupy)
        backend.normal(Key(0), (4,), cupy.float32)  # compiles: a missing toolkit shows here
    except Exception as error:  # cupy has no common class for what can go wrong in a compiler
        raise BadInput(
            f"backend 'cupy' found a GPU but cannot compile for it ({error}): install the CUDA "
            "toolkit, or choose --backend numpy"
        ) from error
    return backend
