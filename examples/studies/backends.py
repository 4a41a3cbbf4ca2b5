"""The same training step on two backends: how long it takes, and that it is the same step.

    export NOLR_DATA=...
    python examples/studies/backends.py [BACKEND]

Compares NumPy with BACKEND, `cupy` unless given, over recipes and batch sizes. Times are medians of
turns taken one after the other, NumPy with the recipe's workers, BACKEND with one. The losses are
those of the first steps with the noise drawn on the host for both, so that they can differ by
rounding alone. Writes results/backends.json beside this file, and prints a table.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import nolr
from nolr.environment import keep_memory, limit_threads, processor, versions
from nolr.files import write_atomically
from nolr.recipes import build_trainer, get_recipe
from nolr.training import Trainer

RESULTS = Path(__file__).parent / "results" / "backends.json"
CASES = {
    "mnist-dense": (128, 1024, 8192),
    "mnist-spiking": (128, 1024, 8192),
    "mnist-rows-recurrent": (128, 1024, 8192),
    "mnist-conv": (128, 1024),
}
SAME = 20  # steps whose losses are compared
TURNS = 3


def make_trainer(name: str, backend: str, **more: int | str) -> Trainer:
    recipe = get_recipe(name)
    if backend != "numpy":  # threads that share a device only wait for each other
        more = {"workers": 1, **more}
    own = {"backend": backend, "seed": 0, "monitor_every": 10**9}
    settings = recipe.settle(recipe.settings.with_values(own | more))
    trainer = build_trainer(settings, recipe.build(settings), recipe.data(settings))
    return replace(trainer, epochs=10**9)


def make_step(trainer: Trainer) -> Callable[[], None]:
    states = trainer.run(trainer.init())
    return lambda: next(states)


def time_of(step: Callable[[], None], backend: nolr.types.Backend, seconds: float = 0.3) -> float:
    """Seconds of one step, over about so many seconds."""
    backend.synchronize()
    started, count = perf_counter(), 0
    while count < 3 or perf_counter() - started < seconds:
        step()
        backend.synchronize()
        count += 1
    return (perf_counter() - started) / count


def losses(name: str, backend: str) -> list[float]:
    """Of the first steps, with noise from the host."""
    trainer = make_trainer(name, backend, noise_source="host")
    states = trainer.run(trainer.init())
    sums = [next(states).loss_sum for _ in range(SAME)]
    return [(b - a) / trainer.batch_size for a, b in pairwise([0.0, *sums])]


def compare(name: str, other: str) -> dict:
    rows = []
    for batch in CASES[name]:
        trainers = [make_trainer(name, label, batch_size=batch) for label in ("numpy", other)]
        steps = [make_step(trainer) for trainer in trainers]
        for step in steps:
            for _ in range(3):  # compiles kernels, and fills the caches of memory
                step()
        times: list[list[float]] = [[], []]
        for _ in range(TURNS):
            for spent, trainer, step in zip(times, trainers, steps, strict=True):
                spent.append(time_of(step, trainer.backend))
        seconds = [statistics.median(spent) for spent in times]
        row = {"batch_size": batch, "numpy": seconds[0], other: seconds[1]}
        rows.append(row | {"numpy_over": seconds[0] / seconds[1]})
        print(
            f"{name:<22}{batch:>6}{1e3 * seconds[0]:>10.2f}{1e3 * seconds[1]:>10.2f}"
            f"{rows[-1]['numpy_over']:>8.2f}",
            flush=True,
        )
    ours, theirs = losses(name, "numpy"), losses(name, other)
    apart = max(abs(a - b) / abs(a) for a, b in zip(ours, theirs, strict=True))
    print(f"{name:<22}first {SAME} losses apart by {apart:.1e} at most", flush=True)
    return {"step_seconds": rows, "losses_numpy": ours, f"losses_{other}": theirs, "apart": apart}


def main() -> None:
    keep_memory()
    other = sys.argv[1] if len(sys.argv) > 1 else "cupy"
    try:
        backend = nolr.get_backend(other)
    except nolr.BadInput as error:
        sys.exit(str(error))
    print(f"{'recipe':<22}{'batch':>6}{'numpy ms':>10}{other + ' ms':>10}{'ratio':>8}")
    with limit_threads(1):
        found = {name: compare(name, other) for name in CASES}
    result = {
        "command": f"python examples/studies/backends.py {other}",
        "seed": 0,
        "date": date.today().isoformat(),
        "machine": processor(),
        "device": backend.device,
        "versions": versions(),
        "recipes": found,
    }
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    write_atomically(RESULTS, (json.dumps(rows | {other: result}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
