"""What one training step costs, for nolr and for a twin: time and memory.

In every turn each contender has a fresh process of its own. In one process the threads of one
library wait in a busy loop while another computes, and one finds memory that another gave back; and
where the system puts the threads of a process can make it slow for as long as it lives.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from twin_training import TwinTrainer, make_trainer

from nolr.environment import blas_kernels, keep_memory, limit_threads

__all__ = ["cost", "memory"]

OURS = {
    "nolr": {},
    "nolr, 2 workers": {"workers": 2},
    "nolr on torch": {"backend": "torch"},
}
THREADS = (1, 2)
TURNS = 15
SPANS, SECONDS = 3, 0.25
"""A process is timed over so many spans of about so many seconds, with every number of threads."""


def cost(name: str) -> dict:
    """Step times, in turns: the least, which is what a step takes where nothing gets in its way.

    Everything with the number of threads it is fastest with.
    """
    labels = [*OURS, "torch", *(["snntorch"] if "spiking" in name else [])]
    times: dict[str, dict[int, list[float]]] = {
        label: {count: [] for count in THREADS} for label in labels
    }
    for _ in range(TURNS):
        for label in labels:
            for count, seconds in in_fresh_process(step_times, name, label).items():
                times[label][count].append(seconds)
    threads = {
        label: min(THREADS, key=lambda count: min(found[count])) for label, found in times.items()
    }
    least = {label: min(times[label][count]) for label, count in threads.items()}
    best = min(OURS, key=least.__getitem__)
    peers = [label for label in labels if label not in OURS]
    result = {
        "step_seconds": least,
        "fastest": best,
        "nolr_over": {label: least[best] / least[label] for label in peers},
        "threads": threads,
        "kernels": [f"{blas['library']} {blas['kernel']}" for blas in blas_kernels()],
        "least_by_threads": by_threads(times, min),
        "median_by_threads": by_threads(times, statistics.median),
    }
    print(name, result, flush=True)
    return result


def by_threads(
    times: dict[str, dict[int, list[float]]], summary: Callable[[list[float]], float]
) -> dict[str, dict[int, float]]:
    return {
        label: {count: summary(seconds) for count, seconds in found.items()}
        for label, found in times.items()
    }


def memory(name: str) -> dict:
    """The most memory that steps take beyond what lies there between them, in MiB (Linux)."""
    labels = ["nolr", "torch", *(["snntorch"] if "spiking" in name else [])]
    found = {label: in_fresh_process(peak_of, name, label) for label in labels}
    result = {"step_mebibytes": found, "nolr_over": found["nolr"] / found["torch"]}
    print(name, result, flush=True)
    return result


def in_fresh_process(function: Callable[..., Any], *arguments: str) -> Any:
    """What a function of this file returns in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def make_step(name: str, label: str) -> Callable[[], None]:
    """What makes one training step, for nolr or a twin."""
    trainer = replace(make_trainer(name, 0, **OURS.get(label, {})), epochs=10**9)
    if label in OURS:
        states = trainer.run(trainer.init())
        return lambda: next(states)
    order = np.random.default_rng(0).permutation(len(trainer.data.train))
    rows = torch.from_numpy(order)[: trainer.batch_size]
    twin = TwinTrainer(trainer, peer=label == "snntorch")
    return lambda: twin.step(rows)


def step_times(name: str, label: str) -> dict[int, float]:
    """Seconds of one step, by number of threads."""
    keep_memory()
    step, found = make_step(name, label), {}
    for count in THREADS:
        torch.set_num_threads(count)
        with limit_threads(count):
            step()
            found[count] = statistics.median(time_of(step) for _ in range(SPANS))
    return found


def time_of(step: Callable[[], None]) -> float:
    """Seconds of one step, over a span."""
    started, count = perf_counter(), 0
    while count < 4 or perf_counter() - started < SECONDS:
        step()
        count += 1
    return (perf_counter() - started) / count


def peak_of(name: str, label: str, steps: int = 24) -> float:
    """MiB by which the resident memory rises at most in so many steps."""
    step = make_step(name, label)

    def status(entry: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(entry)).split()[1]) / 1024

    step()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS:")
    for _ in range(steps):
        step()
    return status("VmHWM:") - before
