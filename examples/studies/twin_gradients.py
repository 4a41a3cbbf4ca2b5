"""How far an estimate points along the exact gradients, stage by stage."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch_twin import Twin
from twin_training import UNLABELLED

import nolr
from nolr.types import Key

__all__ = ["gradients"]


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
