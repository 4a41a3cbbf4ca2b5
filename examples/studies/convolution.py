"""What a convolutional stage's credit is worth, and what was tried to make it better.

    pip install -e ".[torch]"
    NOLR_DATA=... python examples/studies/convolution.py

The ResNet-5 of cifar10-conv is trained a little by backprop, then held fixed. Every variant of the
estimator learns its Jacobians on that network, and its gradient is compared, stage by stage, with
the exact one of the clean loss: the cosine over a large batch (is the direction right in the mean)
and the mean cosine over batches as they are used in training. Writes results/convolution.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch_twin import Twin

import nolr
from nolr.environment import processor, versions
from nolr.files import write_atomically
from nolr.recipes import build_trainer, get_recipe
from nolr.training import Trainer
from nolr.types import Array, Key, Params

RESULTS = Path(__file__).parent / "results" / "convolution.json"
BATCH, LARGE, BATCHES = 128, 2000, 40  # a cosine of one batch is off by 0.2


@dataclass(frozen=True)
class HardGate(nolr.ReLU):
    """ReLU whose gate is that of the clean run, 1 where v > 0, whatever the noise."""

    def smoothed_derivative(self, v: Array, scale: float) -> Array:
        return (v > 0).astype(v.dtype)


def estimator(
    sigma: float = 0.1,
    forgetting: float = 0.95,
    probe: str = "block",
    copies: int = 2,
    context: int = 0,
) -> nolr.LikelihoodRatio:
    """Pairs of copies; or a single one, which is compared with the clean run."""
    return nolr.LikelihoodRatio(
        noise=nolr.Gaussian(sigma),
        copies=copies,
        sampler=nolr.Independent() if copies == 1 else nolr.Antithetic(),
        control_variate=nolr.JacobianControlVariate(
            residual=0.0, forgetting=forgetting, ridge=0.05, probe=probe, context=context
        ),
    )


VARIANTS: dict[str, tuple[nolr.LikelihoodRatio, int]] = {
    "white probe, σ = 0.3": (estimator(0.3, 0.98, "white"), 100),
    "white probe, σ = 0.03": (estimator(0.03, 0.98, "white"), 100),
    "block probe, σ = 1": (estimator(1.0), 60),
    "block probe, σ = 0.3": (estimator(0.3), 60),
    "block probe, σ = 0.1": (estimator(), 60),
    "block probe, σ = 0.01": (estimator(0.01), 60),
    "block probe, longer memory": (estimator(forgetting=0.98), 200),
    "block probe, four copies": (estimator(copies=4), 60),
    "block probe, one copy, σ = 0.03": (estimator(0.03, copies=1), 60),
    "the same, longer memory": (estimator(0.03, 0.98, copies=1), 200),
    "the same, context within 2560 units": (estimator(0.03, 0.98, copies=1, context=2560), 200),
    "the same, context within 10240 units": (estimator(0.03, 0.98, copies=1, context=10240), 200),
}


def trained(trainer: Trainer, steps: int) -> Twin:
    """The network after so many steps of backprop."""
    twin = Twin(trainer.network, trainer.network.init(0, trainer.backend))
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3)
    generator = np.random.default_rng(0)
    x, y = trainer.data.train.inputs, trainer.data.train.targets
    for _ in range(steps):
        rows = generator.integers(len(x), size=BATCH)
        loss = F.cross_entropy(twin(torch.from_numpy(x[rows])), torch.from_numpy(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return twin


def exact(twin: Twin, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The clean gradient of every stage's weights."""
    twin.zero_grad()
    F.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    return [theta["W"].grad.numpy().ravel().copy() for theta in twin.theta if len(theta)]


def cosines(ours: tuple[Params, ...], theirs: list[np.ndarray]) -> list[float]:
    grads = [theta["W"].ravel() for theta in ours if theta]
    return [
        float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        for a, b in zip(grads, theirs, strict=True)
    ]


def measure(
    trainer: Trainer,
    network: nolr.Sequential,
    twin: Twin,
    method: nolr.LikelihoodRatio,
    learning: int,
) -> dict[str, list[float]]:
    """Learn the Jacobians in so many steps, then compare gradients."""
    params = tuple({k: v.detach().numpy().copy() for k, v in t.items()} for t in twin.theta)
    x, y = trainer.data.train.inputs, trainer.data.train.targets
    generator = np.random.default_rng(1)
    state = method.init(network, params, trainer.loss)

    def estimate(rows: np.ndarray, step: int, method: Callable = method) -> tuple:
        batch = (x[rows], y[rows])
        return method(network, params, batch, trainer.loss, Key(0, step=step), state)

    for step in range(1, learning + 1):
        _, state = estimate(generator.integers(len(x), size=BATCH), step)
    silent = replace(method, probe_every=10**9)  # from here on nothing is learned

    def compare(rows: np.ndarray) -> list[float]:
        found, _ = estimate(rows, 1, silent)
        return cosines(found.grads, exact(twin, x[rows], y[rows]))

    batches = [compare(generator.integers(len(x), size=BATCH)) for _ in range(BATCHES)]
    return {
        "large_batch": compare(generator.integers(len(x), size=LARGE)),
        "batches": np.mean(batches, axis=0).tolist(),
    }


def main() -> None:
    recipe = get_recipe("cifar10-conv")
    settings = recipe.settle(recipe.settings)
    trainer = build_trainer(settings, recipe.build(settings), recipe.data(settings))
    hard = nolr.Sequential(
        *(
            replace(node, activation=HardGate()) if isinstance(node, nolr.Conv2D) else node
            for node in trainer.network.nodes[:4]
        ),
        nolr.Residual(replace(trainer.network.nodes[5], activation=HardGate())),
        *trainer.network.nodes[7:],
        input_shape=trainer.network.input_shape,
    )
    rows = {}
    for steps in (700, 2000):
        twin = trained(trainer, steps)
        for name, (method, learning) in VARIANTS.items():
            rows[f"{name}, after {steps} steps"] = measure(
                trainer, trainer.network, twin, method, learning
            )
        rows[f"block probe, clean gate, after {steps} steps"] = measure(
            trainer, hard, twin, *VARIANTS["block probe, σ = 0.1"]
        )
    print("| variant | large batch, by stage | batches of 128 |\n|---|---|---|")
    for name, row in rows.items():
        cells = [" ".join(f"{value:.2f}" for value in row[k]) for k in ("large_batch", "batches")]
        print(f"| {name} | {' | '.join(cells)} |")
    record = {
        "command": "python examples/studies/convolution.py",
        "date": date.today().isoformat(),
        "machine": processor(),
        "versions": versions() | {"torch": torch.__version__},
        "seed": 0,
        "data": settings.variant,
        "rows": rows,
    }
    write_atomically(RESULTS, (json.dumps(record, indent=1) + "\n").encode())
    print(f"recorded in {RESULTS}", file=sys.stderr)


if __name__ == "__main__":
    main()
