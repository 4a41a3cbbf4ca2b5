"""The self-test of a backend: does it compute what NumPy computes, and is its noise noise?

    python -m nolr.testing --backend cupy

is the first thing to run on a new machine: it needs no data and takes less than a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from nolr.backends import get_backend
from nolr.testing.backend_estimators import certify_estimator, compare_with_numpy
from nolr.testing.backend_operations import OPERATIONS, CheckFailed
from nolr.testing.families import FAMILIES

__all__ = ["BackendReport", "Check", "check_backend"]


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
    checks = dict(OPERATIONS)
    for family in FAMILIES:
        checks[f"{family}: as on NumPy"] = partial(compare_with_numpy, family=family)
    for family in FAMILIES:
        checks[f"{family}: unbiased"] = partial(certify_estimator, family=family)
    done = []
    for label, run in checks.items():
        started = perf_counter()
        try:
            passed, detail = True, run(backend)
        except CheckFailed as failure:
            passed, detail = False, str(failure)
        except Exception as error:  # a broken backend may raise anything: the rest is still of use
            passed, detail = False, f"{type(error).__name__}: {error}"
        done.append(Check(label, passed, detail, perf_counter() - started))
        if on_check is not None:
            on_check(done[-1])
    return BackendReport(name, tuple(done))
