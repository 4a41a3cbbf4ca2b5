"""Every recipe against its backprop twin: same data, weights, batches, epochs and optimiser.

    pip install -e ".[torch]" snntorch
    export NOLR_DATA=...
    python examples/studies/backprop_twin.py accuracy [RECIPE[:SEEDS] ...]
    python examples/studies/backprop_twin.py twin [RECIPE[:SEEDS] ...]
    python examples/studies/backprop_twin.py cost [RECIPE ...]
    python examples/studies/backprop_twin.py gradients [RECIPE ...]
    python examples/studies/backprop_twin.py table

`accuracy` trains the recipes, seeds 0-2 unless another number of seeds is given; `twin` their
twins, with the best of three learning rates by validation accuracy on seed 0. `cost` times steps of
both, in turns; ours include the evaluation after an epoch, theirs do not. `gradients` compares the
estimate of a trained network, stage by stage, with the exact gradients of the clean loss and of the
loss with noise. Each adds to results/backprop_twin.json beside this file; recipes not named keep
what was recorded. `table` prints the tables and draws the picture.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch_twin import SnnTorchTwin, Twin

import nolr
from nolr.backends.numpy import host_generator
from nolr.environment import keep_memory, limit_threads, processor, versions
from nolr.files import write_atomically
from nolr.learning_rates import as_learning_rate
from nolr.recipes import RECIPES, build_trainer, get_recipe
from nolr.training import Trainer
from nolr.types import Key, Stream

RESULTS = Path(__file__).parent / "results" / "backprop_twin.json"
SEEDS = 3
RATES = (1 / 3, 1.0, 3.0)  # times the recipe's
UNLABELLED = -1


def make_trainer(name: str, seed: int, **more: int | str) -> Trainer:
    recipe = get_recipe(name)
    settings = recipe.settle(recipe.settings.with_values({"seed": seed, **more}))
    return build_trainer(settings, recipe.build(settings), recipe.data(settings))


# --- the twin -------------------------------------------------------------------------------------


class TwinTrainer:
    """A twin and all that it needs for a step, as `Trainer` does it."""

    def __init__(self, trainer: Trainer, factor: float = 1.0, peer: bool = False) -> None:
        self.trainer = trainer
        params = trainer.network.init(trainer.seed, trainer.backend)
        self.model = (SnnTorchTwin if peer else Twin)(trainer.network, params)
        self.rate = as_learning_rate(trainer.optimizer.learning_rate)
        self.factor, self.step_number = factor, 0
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=self.rate(0), weight_decay=trainer.optimizer.l2, fused=True
        )
        self.parts = [
            (torch.from_numpy(part.inputs), torch.from_numpy(part.targets))
            for part in (trainer.data.train, trainer.data.validation, trainer.data.test)
        ]

    def step(self, rows: torch.Tensor) -> None:
        x, y = (array[rows] for array in self.parts[0])
        if self.trainer.augmentation is not None:
            x = F.dropout(x, self.trainer.augmentation.rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.factor * self.rate(self.step_number)
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x).flatten(0, -2), y.flatten(), ignore_index=UNLABELLED)
        loss.backward()
        self.optimizer.step()
        self.step_number += 1

    def accuracy(self, part: int) -> float:
        right = labels = 0
        with torch.no_grad():
            for x, y in zip(*(array.split(2048) for array in self.parts[part]), strict=True):
                right += int((self.model(x).argmax(dim=-1) == y).sum())
                labels += int((y >= 0).sum())
        return right / labels

    def train(self) -> dict:
        history, started = [], perf_counter()
        samples = len(self.trainer.data.train)
        for epoch in range(self.trainer.epochs):
            key = Key(self.trainer.seed, Stream.SHUFFLE, step=epoch)
            order = torch.from_numpy(host_generator(key).permutation(samples))
            for rows in order.split(self.trainer.batch_size):
                self.step(rows)
            history.append({"validation": self.accuracy(1), "seconds": perf_counter() - started})
        return {
            "test_accuracy": self.accuracy(2),
            "validation_accuracy": history[-1]["validation"],
            "seconds": history[-1]["seconds"],
            "history": history,
        }


# --- accuracy -------------------------------------------------------------------------------------


def accuracy(name: str, seeds: int) -> dict:
    """Train the recipe as it is."""
    rows = []
    for seed in range(seeds):
        run = nolr.train(name, seed=seed)
        history = [
            {"validation": r.validation_accuracy, "seconds": r.train_seconds} for r in run.history
        ]
        rows.append(
            {
                "seed": seed,
                "test_accuracy": run.test_accuracy,
                "validation_accuracy": run.validation_accuracy,
                "seconds": run.state.train_seconds,
                "history": history,
            }
        )
        print(name, seed, run.test_accuracy, f"{run.state.train_seconds:.1f} s", flush=True)
    return {
        "variant": run.settings.variant,
        "settings": run.settings.to_dict(),
        "test_accuracy_mean": statistics.mean(row["test_accuracy"] for row in rows),
        "seeds": rows,
    }


def twin(name: str, seeds: int) -> dict:
    """Train the twin: seed 0 with three learning rates, the others with the best of them."""
    by_rate = {}
    for factor in RATES:
        by_rate[factor] = TwinTrainer(make_trainer(name, 0), factor).train()
        print(name, f"twin, rate × {factor:.2g}:", by_rate[factor]["test_accuracy"], flush=True)
    best = max(by_rate, key=lambda factor: by_rate[factor]["validation_accuracy"])
    rows = [by_rate[best] | {"seed": 0}]
    for seed in range(1, seeds):
        rows.append(TwinTrainer(make_trainer(name, seed), best).train() | {"seed": seed})
        print(name, f"twin, seed {seed}:", rows[-1]["test_accuracy"], flush=True)
    return {
        "rate": best,
        "test_accuracy_by_rate": {str(k): row["test_accuracy"] for k, row in by_rate.items()},
        "test_accuracy_mean": statistics.mean(row["test_accuracy"] for row in rows),
        "seeds": rows,
    }


# --- cost -----------------------------------------------------------------------------------------


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


# --- gradients ------------------------------------------------------------------------------------


def gradients(name: str, draws: int = 100, samples: int = 256) -> dict:
    """Cosines of a trained network's estimate with the exact gradients of three losses.

    The loss with noise is averaged over draws of it, and differentiated by torch draw by draw; a
    spike has a surrogate derivative there, so for spiking networks neither is exact.
    """
    run = nolr.train(name, seed=0)
    trainer, network = run.trainer, run.network
    x, y = (array[:samples] for array in trainer.move(trainer.data.train))
    key = Key(0, step=run.state.step)
    estimate, _ = trainer.estimator(
        network, run.params, (x, y), trainer.loss, key, run.state.estimator
    )
    model = Twin(network, run.params)
    inputs, labels = torch.from_numpy(np.asarray(x)), torch.from_numpy(np.asarray(y)).flatten()

    def exact(noises: dict[int, torch.Tensor], stage: int) -> np.ndarray:
        model.zero_grad()
        output = model(inputs, noises).flatten(0, -2)
        F.cross_entropy(output, labels, ignore_index=UNLABELLED).backward()
        theta = model.theta[network.stages[stage]]
        return np.concatenate([theta[k].grad.numpy().ravel() for k in sorted(theta.keys())])

    rows, generator = [], torch.Generator().manual_seed(0)
    sigma = run.settings.sigma
    for stage, node in enumerate(network.stages):
        theta = estimate.grads[node]
        ours = np.concatenate([np.asarray(theta[k]).ravel() for k in sorted(theta)])
        shape = (len(inputs), *network.noise_shapes[stage])
        noised = np.mean(
            [
                exact({stage: sigma * torch.randn(shape, generator=generator)}, stage)
                for _ in range(draws)
            ],
            axis=0,
        )
        rows.append(
            {
                "clean": cosine(ours, exact({}, stage)),
                "noised": cosine(ours, noised),
                "clean_with_noised": cosine(exact({}, stage), noised),
            }
        )
    print(name, rows, flush=True)
    return {"cosines": rows, "draws": draws, "samples": len(inputs), "surrogate": "spik" in name}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0


# --- what is kept ---------------------------------------------------------------------------------


def record(section: str, words: list[str], measure: Callable[..., dict]) -> None:
    for word in words:
        name, _, seeds = word.partition(":")
        result = (
            measure(name, int(seeds or SEEDS)) if measure in (accuracy, twin) else measure(name)
        )
        rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        rows.setdefault(name, {})[section] = result | {
            "command": f"python examples/studies/backprop_twin.py {section} {word}",
            "date": date.today().isoformat(),
            "machine": processor(),
            "versions": versions() | {"torch": torch.__version__},
        }
        write_atomically(RESULTS, (json.dumps(rows, indent=1) + "\n").encode())


def main() -> None:
    keep_memory()  # for both sides
    section, *names = sys.argv[1:] or [""]
    sections = {"accuracy": accuracy, "twin": twin, "cost": cost, "gradients": gradients}
    if section == "table":
        from backprop_twin_table import draw, print_tables

        rows = json.loads(RESULTS.read_text())
        rows = {name: rows[name] for name in RECIPES if name in rows}
        print_tables(rows)
        draw(rows)
    elif section in sections:
        record(section, names or list(RECIPES), sections[section])
    else:
        sys.exit(f"expected one of {', '.join(sections)} or table, got {section!r}")


if __name__ == "__main__":
    main()
