"""Training a recipe and its backprop twin alike: data, weights, batches, epochs and optimiser."""

from __future__ import annotations

import statistics
from dataclasses import replace
from time import perf_counter

import torch
import torch.nn.functional as F
from torch_twin import SnnTorchTwin, Twin

import nolr
from nolr.backends.numpy import host_generator
from nolr.learning_rates import as_learning_rate
from nolr.recipes import build_trainer, get_recipe
from nolr.training import Trainer
from nolr.types import Key, Stream

__all__ = ["UNLABELLED", "TwinTrainer", "accuracy", "make_trainer", "twin"]

RATES = (1 / 3, 1.0, 3.0)  # times the recipe's
UNLABELLED = -1


def make_trainer(
    name: str, seed: int, samples: int | None = None, **more: int | float | str
) -> Trainer:
    """The trainer of a recipe, on all training samples or on the first ones alone."""
    recipe = get_recipe(name)
    settings = recipe.settle(recipe.settings.with_values({"seed": seed, **more}))
    data = recipe.data(settings)
    train = replace(
        data.train, inputs=data.train.inputs[:samples], targets=data.train.targets[:samples]
    )
    return build_trainer(settings, recipe.build(settings), replace(data, train=train))


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
