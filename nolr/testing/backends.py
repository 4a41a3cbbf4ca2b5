"""The self-test of a backend: does it compute what NumPy computes, and is its noise noise?

    python -m nolr.testing --backend cupy

is the first thing to run on a new machine: it needs no data and takes less than a minute.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse import csr_array

from nolr.backends import get_backend
from nolr.estimation import JacobianControlVariate, LikelihoodRatio
from nolr.noise import Gaussian
from nolr.sampling import Antithetic
from nolr.testing.certificate import UNBIASED
from nolr.testing.families import FAMILIES
from nolr.testing.unbiased import check_unbiased
from nolr.types import Backend, Key, Window

__all__ = ["BackendReport", "Check", "check_backend"]

SIGMA = 0.5
NUMBERS = 1_000_000
LEAST_P = 1e-7  # of a test of random numbers: some twenty of them are made
PRECISION = 1e-10  # relative, in float64


@dataclass(frozen=True)
class Check:
    """One check and what came out."""

    name: str
    passed: bool
    detail: str
    seconds: float


@dataclass(frozen=True)
class BackendReport:
    """The outcome of `check_backend`."""

    backend: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        lines = [f"backend {self.backend}: {'passed' if self.passed else 'FAILED'}"]
        for check in self.checks:
            verdict = "ok" if check.passed else "FAILED"
            lines.append(f"{check.name:<36}{verdict:<8}{check.seconds:>6.2f} s  {check.detail}")
        return "\n".join(lines)


def check_backend(name: str, on_check: Callable[[Check], None] | None = None) -> BackendReport:
    """Compare a backend with NumPy, test its random numbers, and certify an estimator on it.

    Args:
        name: as for `get_backend`.
        on_check: is told of every check as soon as it is done.

    Raises:
        BadInput: the backend cannot be opened.
    """
    backend = get_backend(name)
    checks: dict[str, Callable[[Backend], str]] = {
        "there and back": _there_and_back,
        "normal numbers": _normal_numbers,
        "uniform numbers": _uniform_numbers,
        "coins": _coins,
        "the same key, the same numbers": _same_key,
        "im2col": _im2col,
        "scatter-add": _scatter_add,
        "sparse products": _sparse,
    }
    for family in FAMILIES:
        checks[f"{family}: as on NumPy"] = partial(_as_on_numpy, family=family)
    for family in FAMILIES:
        checks[f"{family}: unbiased"] = partial(_unbiased, family=family)
    done = []
    for label, run in checks.items():
        started = perf_counter()
        try:
            passed, detail = True, run(backend)
        except _Failed as failure:
            passed, detail = False, str(failure)
        except Exception as error:  # a broken backend may raise anything: the rest is still of use
            passed, detail = False, f"{type(error).__name__}: {error}"
        done.append(Check(label, passed, detail, perf_counter() - started))
        if on_check is not None:
            on_check(done[-1])
    return BackendReport(name, tuple(done))


class _Failed(Exception):
    """A check that failed, in one sentence."""


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise _Failed(sentence)


def _largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the largest entry."""
    _require(found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}")
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300))


# --- arrays and random numbers --------------------------------------------------------------------


def _there_and_back(backend: Backend) -> str:
    for dtype in ("float32", "float64", "int64", "bool"):
        host = np.array([[0, 1], [3, 0]]).astype(dtype)
        back = backend.to_host(backend.asarray(host))
        _require(
            np.array_equal(back, host) and back.dtype == host.dtype, f"{dtype} came back wrong"
        )
    return ""


def _judge(p: float, what: str) -> str:
    _require(p > LEAST_P, f"{what}: p = {p:.1e}")
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
    _require(numbers.min() >= 0 and numbers.max() < 1, "not within [0, 1)")
    return _judge(stats.kstest(numbers, "uniform").pvalue, "not uniform")


def _coins(backend: Backend) -> str:
    heads = int(np.sum(backend.to_host(backend.coins(Key(3), (NUMBERS,), 0.3))))
    # The probability is right to within 2⁻¹⁷, which a million coins cannot see.
    return _judge(stats.binomtest(heads, NUMBERS, 0.3).pvalue, "not heads in three of ten")


def _same_key(backend: Backend) -> str:
    def draw(key: Key) -> np.ndarray:
        return np.asarray(backend.to_host(backend.normal(key, (7, 5), backend.xp.float32)))

    _require(np.array_equal(draw(Key(1, step=4)), draw(Key(1, step=4))), "two draws differ")
    others = (Key(2, step=4), Key(1, step=5), Key(1, step=4, stage=1), Key(1, step=4, block=1))
    for key in others:
        _require(not np.array_equal(draw(Key(1, step=4)), draw(key)), f"{key} is no other draw")
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
    _require(found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}")
    _require(np.array_equal(found, expected), "other taps than those of the windows")
    return ""


def _scatter_add(backend: Backend) -> str:
    rng = np.random.default_rng(0)
    rows, values = rng.integers(0, 5, size=40), rng.normal(size=(40, 3))
    expected = np.zeros((5, 3))
    np.add.at(expected, rows, values)
    found = backend.to_host(backend.scatter_add(backend.asarray(rows), backend.asarray(values), 5))
    difference = _largest_difference(found, expected)
    _require(difference < PRECISION, f"off by {difference:.1e}")
    return f"to {difference:.0e}"


def _sparse(backend: Backend) -> str:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(6, 6)) * (rng.random((6, 6)) < 0.4)
    x = rng.normal(size=(6, 3))
    matrix = backend.sparse(csr_array(dense), backend.xp.float64)
    found = np.asarray(backend.to_host(matrix @ backend.asarray(x)))
    difference = _largest_difference(found, dense @ x)
    _require(difference < PRECISION, f"off by {difference:.1e}")
    return f"to {difference:.0e}"


# --- estimators -----------------------------------------------------------------------------------


def _estimator(source: str) -> LikelihoodRatio:
    return LikelihoodRatio(
        Gaussian(SIGMA), 4, Antithetic(source), control_variate=JacobianControlVariate(1.0)
    )


def _task(backend: Backend, family: str, dtype: str) -> tuple[Any, ...]:
    found = FAMILIES[family]
    params = found.network.init(3, backend, dtype)
    batch = backend.asarray(found.inputs, dtype), backend.asarray(found.target)
    return found.network, params, batch, found.loss


def _as_on_numpy(backend: Backend, family: str) -> str:
    """Five steps of learning with noise from the host: outputs, gradients, and what is learned."""
    results = []
    for one in (get_backend("numpy"), backend):
        network, params, batch, loss = _task(one, family, "float64")
        estimator = _estimator("host")
        state = estimator.init(network, params, loss)
        for step in range(5):
            estimate, state = estimator(network, params, batch, loss, Key(0, step=step), state)
        arrays = [network.forward(params, batch[0]), *(a for e in state.evidence for a in e)]
        arrays += [theta[k] for theta in estimate.grads for k in sorted(theta)]
        results.append([np.asarray(one.to_host(array)).reshape(-1) for array in arrays])
    differences = [
        _largest_difference(found, expected)
        for expected, found in zip(*results, strict=True)
        if expected.size
    ]
    _require(max(differences) < PRECISION, f"off by {max(differences):.1e}")
    return f"to {max(differences):.0e}"


def _unbiased(backend: Backend, family: str) -> str:
    """With noise from the device, in float32, as in training."""
    network, params, batch, loss = _task(backend, family, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certificate = check_unbiased(
            _estimator("device"), network, params, batch, loss, tolerance=0.2, error_rate=1e-7
        )
    _require(certificate.verdict == UNBIASED, f"{certificate.verdict}: {certificate.worst}")
    bound = max(found.bound for found in certificate.findings)
    return f"to {bound:.0%} after {certificate.draws} draws, against {certificate.reference}"
