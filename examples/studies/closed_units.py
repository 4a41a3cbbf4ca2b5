"""Which units of a ResNet-5 close while it is trained, by backprop and by variants of ours.

    pip install -e ".[torch]"
    export NOLR_DATA=...
    python examples/studies/closed_units.py [IMAGES [EPOCHS]]

A unit that is hardly ever open gets hardly any credit. Backprop's is exact all the same; where a
Jacobian is learned, so little may be known of such a unit that its credit is noise. Trains
`cifar10-conv` on its first images, 20000 unless given, for 2 epochs unless given, and counts the
channels of every convolution (8, 16, 32 and 32) that are open in less than 5 % of all pixels of 512
images. Writes results/closed_units.json beside this file, and prints a table: steps, the loss of
2048 training images, and the channels that are closed. One seed: counts differ by a few from one
to the next.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date
from math import ceil
from pathlib import Path

import numpy as np
import torch
from twin_training import TwinTrainer, make_trainer

from nolr.backends.numpy import host_generator
from nolr.environment import keep_memory, limit_threads, processor, versions
from nolr.evaluation import evaluate
from nolr.files import write_atomically
from nolr.training import Trainer
from nolr.types import Key, Params, Stream

RESULTS = Path(__file__).parent / "results" / "closed_units.json"
BEFORE = {"sigma": 0.03, "probe_sigma": 0.0, "leak": 0.0, "forgets": "evenly"}
BEHIND = BEFORE | {"probe_sigma": 0.03}
VARIANTS: dict[str, dict[str, float | str]] = {
    "probes before the activation": BEFORE,
    "probes behind it": BEHIND,
    "and a leak": BEHIND | {"leak": 0.3},
    "and forgetting by evidence": BEHIND | {"leak": 0.3, "forgets": "by-evidence"},
    "and σ = 0.3: as the recipe is": {},
}
HARDLY = 0.05
STEPS = (20, 40, 80, 160)
"""At which to look, beside the start and the ends of epochs."""


def look(trainer: Trainer, params: tuple[Params, ...]) -> dict:
    """Loss, and the channels of every convolution that are hardly ever open."""
    data, network = trainer.data.train, trainer.network
    loss, _ = evaluate(network, params, data.inputs[:2048], data.targets[:2048], trainer.loss)
    visits = network.run_clean(params, data.inputs[:512]).visits
    images = [visit.drive for visit in visits if visit.drive.ndim == 4]
    closed = [int(np.sum(np.mean(drive > 0, axis=(0, 2, 3)) < HARDLY)) for drive in images]
    return {"loss": loss, "closed": closed}


def ours(trainer: Trainer) -> Iterator[tuple[Params, ...]]:
    """The parameters after every step."""
    for state in trainer.run(trainer.init()):
        yield trainer.params(state)


def backprop(trainer: Trainer) -> Iterator[tuple[Params, ...]]:
    """The same of the twin."""
    twin = TwinTrainer(trainer)
    for epoch in range(trainer.epochs):
        key = Key(trainer.seed, Stream.SHUFFLE, step=epoch)
        order = host_generator(key).permutation(len(trainer.data.train))
        for rows in torch.from_numpy(order).split(trainer.batch_size):
            twin.step(rows)
            yield tuple(
                {name: array.detach().numpy() for name, array in theta.items()}
                for theta in twin.model.theta
            )


def follow(trainer: Trainer, steps: Iterator[tuple[Params, ...]]) -> dict[int, dict]:
    """What is seen at the start, in between, and after every epoch."""
    epoch = ceil(len(trainer.data.train) / trainer.batch_size)
    start = trainer.network.init(trainer.seed, trainer.backend, trainer.dtype)
    looks = {0: look(trainer, start)}
    for number, params in enumerate(steps, 1):
        if number in STEPS or number % epoch == 0:
            looks[number] = look(trainer, params)
    return looks


def main() -> None:
    keep_memory()
    torch.set_num_threads(1)
    words = [*sys.argv[1:], *("20000", "2")[len(sys.argv) - 1 :]]
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        sys.exit(f"expected [IMAGES [EPOCHS]], numbers from 1 on, got {' '.join(sys.argv[1:])!r}")
    images, epochs = map(int, words)
    found = {}
    for label, settings in [("backprop", {}), *VARIANTS.items()]:
        own = {"workers": 1, "threads": 1, "monitor_every": 10**9, "epochs": epochs, **settings}
        trainer = make_trainer("cifar10-conv", 0, images, **own)
        with limit_threads(1):
            steps = backprop(trainer) if label == "backprop" else ours(trainer)
            found[label] = follow(trainer, steps)
        print(label)
        for step, seen in found[label].items():
            print(
                f"{step:>8}{seen['loss']:>8.3f}", *(f"{n:>4}" for n in seen["closed"]), flush=True
            )
    result = {
        "command": f"python examples/studies/closed_units.py {images} {epochs}",
        "seed": 0,
        "date": date.today().isoformat(),
        "machine": processor(),
        "versions": versions() | {"torch": torch.__version__},
        "variants": found,
    }
    write_atomically(RESULTS, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
