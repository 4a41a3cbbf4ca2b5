"""The operations of a backend, one by one: moving arrays, drawing numbers, and the few others.

A check returns in a few words how well the backend did, or raises CheckFailed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.sparse import csr_array

from nolr.types import Backend, Key, Window

__all__ = ["OPERATIONS", "PRECISION", "CheckFailed", "largest_difference", "require"]

NUMBERS = 1_000_000
LEAST_P = 1e-7  # of a test of random numbers: some twenty of them are made
PRECISION = 1e-10  # relative, in float64


class CheckFailed(Exception):
    """A check that failed, in one sentence."""


def require(condition: bool, sentence: str) -> None:
    """Raise CheckFailed with this sentence unless the condition holds."""
    if not condition:
        raise CheckFailed(sentence)


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the largest expected entry; raises CheckFailed if the shapes differ."""
    require(found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}")
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300))


# --- arrays and random numbers --------------------------------------------------------------------


def _there_and_back(backend: Backend) -> str:
    for dtype in ("float32", "float64", "int64", "bool"):
        host = np.array([[0, 1], [3, 0]]).astype(dtype)
        back = backend.to_host(backend.asarray(host))
        require(np.array_equal(back, host) and back.dtype == host.dtype, f"{dtype} came back wrong")
    return ""


def _judge(p: float, what: str) -> str:
    require(p > LEAST_P, f"{what}: p = {p:.1e}")
    return f"p = {min(p, 1.0):.2g}"


def _normal_numbers(backend: Backend) -> str:
    found = []
    for dtype in ("float32", "float64"):
        numbers = backend.normal(Key(1), (NUMBERS,), getattr(backend.xp, dtype))
        host = np.asarray(backend.to_host(numbers), dtype=np.float64)
        found.append(stats.kstest(host, "norm").pvalue)
        found.append(2 * stats.norm.sf(abs(np.mean(host**2) - 1) * (NUMBERS / 2) ** 0.5))
        halves = host.reshape(2, -1)
        found.append(stats.pearsonr(*halves).pvalue)
        found.append(stats.pearsonr(host[:-1], host[1:]).pvalue)
    return _judge(min(found) * len(found), "not independent standard normal numbers")


def _uniform_numbers(backend: Backend) -> str:
    numbers = backend.to_host(backend.uniform(Key(2), (NUMBERS,), backend.xp.float32))
    require(numbers.min() >= 0 and numbers.max() < 1, "not within [0, 1)")
    return _judge(stats.kstest(numbers, "uniform").pvalue, "not uniform")


def _coins(backend: Backend) -> str:
    heads = int(np.sum(backend.to_host(backend.coins(Key(3), (NUMBERS,), 0.3))))
    # The probability is right to within 2⁻¹⁷, which a million coins cannot see.
    return _judge(stats.binomtest(heads, NUMBERS, 0.3).pvalue, "not heads in three of ten")


def _same_key(backend: Backend) -> str:
    def draw(key: Key) -> np.ndarray:
        return np.asarray(backend.to_host(backend.normal(key, (7, 5), backend.xp.float32)))

    require(np.array_equal(draw(Key(1, step=4)), draw(Key(1, step=4))), "two draws differ")
    others = (Key(2, step=4), Key(1, step=5), Key(1, step=4, stage=1), Key(1, step=4, block=1))
    for key in others:
        require(not np.array_equal(draw(Key(1, step=4)), draw(key)), f"{key} is no other draw")
    return ""


# --- operations -----------------------------------------------------------------------------------


def _im2col(backend: Backend) -> str:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 7))
    window = Window((3, 2), (2, 1), (1, 0), (1, 2))
    height, width = window.positions((6, 7))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    taps = np.zeros((2, 3, 3, 2, height, width))
    for tap in np.ndindex(3, 2):
        for place in np.ndindex(height, width):
            row, column = 2 * place[0] + tap[0], place[1] + 2 * tap[1]
            taps[(..., *tap, *place)] = padded[:, :, row, column]
    found = backend.to_host(backend.im2col(backend.asarray(x), window))[..., :width]
    expected = taps.reshape(2, 18, height, width)
    require(found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}")
    require(np.array_equal(found, expected), "other taps than those of the windows")
    return ""


def _scatter_add(backend: Backend) -> str:
    rng = np.random.default_rng(0)
    rows, values = rng.integers(0, 5, size=40), rng.normal(size=(40, 3))
    expected = np.zeros((5, 3))
    np.add.at(expected, rows, values)
    found = backend.to_host(backend.scatter_add(backend.asarray(rows), backend.asarray(values), 5))
    difference = largest_difference(found, expected)
    require(difference < PRECISION, f"off by {difference:.1e}")
    return f"to {difference:.0e}"


def _sparse(backend: Backend) -> str:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(6, 6)) * (rng.random((6, 6)) < 0.4)
    x = rng.normal(size=(6, 3))
    matrix = backend.sparse(csr_array(dense), backend.xp.float64)
    found = np.asarray(backend.to_host(matrix @ backend.asarray(x)))
    difference = largest_difference(found, dense @ x)
    require(difference < PRECISION, f"off by {difference:.1e}")
    return f"to {difference:.0e}"


OPERATIONS: dict[str, Callable[[Backend], str]] = {
    "there and back": _there_and_back,
    "normal numbers": _normal_numbers,
    "uniform numbers": _uniform_numbers,
    "coins": _coins,
    "the same key, the same numbers": _same_key,
    "im2col": _im2col,
    "scatter-add": _scatter_add,
    "sparse products": _sparse,
}
"""The checks, by name."""
