"""Workers: the parts of a batch side by side, one thread each.

NumPy lets go of the interpreter in its loops and products, so threads share the work of large
arrays: also where BLAS has nothing to do, in element-wise functions and in the drawing of noise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import lru_cache
from typing import TypeVar

__all__ = ["run_together", "split_evenly"]

T = TypeVar("T")


def split_evenly(samples: int, parts: int) -> list[slice]:
    """Cut 0..samples-1 into as many slices, or fewer if there are fewer samples.

    >>> split_evenly(5, 2)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    parts = max(1, min(parts, samples))
    size, more = divmod(samples, parts)
    ends = [size * (part + 1) + min(part + 1, more) for part in range(parts)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def run_together(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run tasks at the same time, the first of them in this thread, and return their results.

    Every task sees the caller's context, NumPy's way with errors among it. If tasks raise, the
    first one's error is raised once all have ended.
    """
    first, *others = tasks
    if not others:
        return [first()]
    pool = _pool(len(others))
    futures = [pool.submit(copy_context().run, task) for task in others]
    try:
        results = [first()]
    finally:
        wait(futures)
    return [*results, *(future.result() for future in futures)]


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: starting them in every step would cost more than a small step."""
    return ThreadPoolExecutor(threads, thread_name_prefix="nolr")


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
