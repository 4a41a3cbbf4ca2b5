"""digits-dense against its backprop twin: the same data, weights, batches, steps and optimiser.

    pip install -e ".[torch]" && python examples/studies/digits_twin.py

Five variants of the likelihood-ratio estimator and two backprop twins in torch (Adam as it comes,
and Adam fused into one kernel) are trained in turn, seed by seed, so that a change of the
machine's speed hits all alike. A twin gets the same learning rate, and once more the best of
three by validation accuracy. Writes results/digits_twin.json beside this file, and prints a table.
"""

from __future__ import annotations

import json
import statistics
import sys
from datetime import date
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

import nolr
from nolr.backends.numpy import host_generator
from nolr.environment import processor, versions
from nolr.files import write_atomically
from nolr.recipes import get_recipe
from nolr.types import Stream

SEEDS = range(5)
VARIANTS = {
    "likelihood ratios alone": {"control_variate": "none"},
    "control variate, λ = 1 (unbiased)": {"residual": 1},
    "control variate, adaptive λ (default)": {},
    "control variate, λ = 0": {"residual": 0},
}
RATES = (1e-3, 3e-3, 1e-2)
RECIPE = get_recipe("digits-dense")


def train_twin(seed: int, rate: float, fused: bool) -> dict[str, float]:
    """Backprop through the same network on the same batches; time includes validation."""
    settings = RECIPE.settings.with_values({"seed": seed})
    data, network = RECIPE.data(settings), RECIPE.build(settings)
    linear = [
        layer
        for sizes in ((64, 128), (128, 64), (64, 10))
        for layer in (torch.nn.Linear(*sizes), torch.nn.ReLU())
    ][:-1]
    model = torch.nn.Sequential(*linear)
    start = [layer for layer in network.init(seed, nolr.get_backend("numpy")) if layer]
    with torch.no_grad():
        for module, layer in zip(model[::2], start, strict=True):
            module.weight.copy_(torch.from_numpy(layer["W"]))
            module.bias.copy_(torch.from_numpy(layer["b"]))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=fused)
    loss = torch.nn.CrossEntropyLoss()
    (x, y), (x_validation, y_validation), (x_test, y_test) = (
        (torch.from_numpy(part.inputs), torch.from_numpy(part.targets))
        for part in (data.train, data.validation, data.test)
    )

    def accuracy(inputs: torch.Tensor, targets: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model(inputs).argmax(dim=1) == targets).double().mean())

    started = perf_counter()
    for epoch in range(settings.epochs):
        key = nolr.Key(seed, Stream.SHUFFLE, step=epoch)
        order = torch.from_numpy(host_generator(key).permutation(len(x)))
        for rows in order.split(settings.batch_size):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        validation = accuracy(x_validation, y_validation)
    seconds = perf_counter() - started
    return {"accuracy": accuracy(x_test, y_test), "validation": validation, "seconds": seconds}


def train_nolr(seed: int, settings: dict[str, object]) -> dict[str, float]:
    """One variant of the estimator."""
    run = nolr.train(RECIPE.name, seed=seed, **settings)
    return {
        "accuracy": run.test_accuracy,
        "validation": run.validation_accuracy,
        "seconds": run.state.train_seconds,
    }


def fastest_threads() -> int:
    """Give the twin the number of threads it is fastest with."""
    times = {}
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        times[threads] = min(train_twin(0, 1e-3, fused=False)["seconds"] for _ in range(2))
    return min(times, key=times.__getitem__)


def main() -> None:
    threads = fastest_threads()
    torch.set_num_threads(threads)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in SEEDS:
        for name, settings in VARIANTS.items():
            rows.setdefault(name, []).append(train_nolr(seed, settings))
        for fused in (False, True):
            for rate in RATES:
                name = f"backprop, torch{', fused Adam' if fused else ''}, {rate:g}"
                rows.setdefault(name, []).append(train_twin(seed, rate, fused))
    table = {}
    for name, results in rows.items():
        accuracy = [100 * result["accuracy"] for result in results]
        table[name] = {
            "accuracy_mean": statistics.mean(accuracy),
            "accuracy_standard_error": statistics.stdev(accuracy) / len(accuracy) ** 0.5,
            "validation_mean": 100 * statistics.mean(r["validation"] for r in results),
            "seconds_median": statistics.median(r["seconds"] for r in results),
            "runs": results,
        }
    print("| training | test accuracy (%) | time (s) |\n|---|---|---|")
    for name, row in table.items():
        print(
            f"| {name} | {row['accuracy_mean']:.2f} ± {row['accuracy_standard_error']:.2f} "
            f"| {row['seconds_median']:.2f} |"
        )
    record = {
        "command": "python examples/studies/digits_twin.py",
        "date": date.today().isoformat(),
        "machine": processor(),
        "versions": versions() | {"torch": torch.__version__},
        "seeds": list(SEEDS),
        "torch_threads": threads,
        "recipe": RECIPE.name,
        "settings": RECIPE.settings.to_dict(),
        "rows": table,
    }
    path = Path(__file__).parent / "results" / "digits_twin.json"
    write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())
    print(f"recorded in {path}", file=sys.stderr)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
