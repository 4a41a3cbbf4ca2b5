"""What one training step costs, for nolr and for a twin: time and memory."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from twin_training import TwinTrainer, make_trainer

from nolr.environment import limit_threads

__all__ = ["cost", "memory"]

OURS = {
    "nolr": {},
    "nolr, 2 workers": {"workers": 2, "threads": 1},
    "nolr on torch": {"backend": "torch"},
}


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


def time_of(step: Callable[[], None], seconds: float = 0.4) -> float:
    """Seconds of one step, over about so many seconds."""
    started, count = perf_counter(), 0
    while count < 4 or perf_counter() - started < seconds:
        step()
        count += 1
    return (perf_counter() - started) / count


def cost(name: str, turns: int = 9) -> dict:
    """Median step times, in turns; everything with the number of threads it is fastest with."""
    labels = [*OURS, "torch", *(["snntorch"] if "spiking" in name else [])]
    steps = {label: make_step(name, label) for label in labels}
    threads = {}
    for label, step in steps.items():
        found = {}
        for count in (1, 2):
            with use_threads(count):
                step()
                found[count] = min(time_of(step) for _ in range(2))
        threads[label] = 1 if "workers" in label else min(found, key=found.__getitem__)
    times: dict[str, list[float]] = {label: [] for label in steps}
    for _ in range(turns):
        for label, step in steps.items():
            with use_threads(threads[label]):
                times[label].append(time_of(step))
    best = min(OURS, key=lambda label: statistics.median(times[label]))
    result = {
        "step_seconds": {label: statistics.median(values) for label, values in times.items()},
        "fastest": best,
        "nolr_over": {
            label: statistics.median(a / b for a, b in zip(times[best], times[label], strict=True))
            for label in labels
            if label not in OURS
        },
        "threads": threads,
    }
    print(name, result, flush=True)
    return result


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """So many threads for NumPy's products and for torch."""
    torch.set_num_threads(count)
    with limit_threads(count):
        yield


def memory(name: str) -> dict:
    """The most memory that steps take beyond what lies there between them, in MiB (Linux).

    Every contender has a process of its own, so that none finds memory which another gave back.
    """
    labels = ["nolr", "torch", *(["snntorch"] if "spiking" in name else [])]
    found = {}
    for label in labels:
        command = [sys.executable, __file__, name, label]
        found[label] = float(subprocess.run(command, capture_output=True, check=True).stdout)
    result = {"step_mebibytes": found, "nolr_over": found["nolr"] / found["torch"]}
    print(name, result, flush=True)
    return result


def peak_of(step: Callable[[], None], steps: int = 24) -> float:
    """MiB by which the resident memory rises at most in so many steps."""

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


if __name__ == "__main__":
    print(peak_of(make_step(*sys.argv[1:])))
