"""Spike patterns of a few noisy neurons, each with its probability.

Given its input, a neuron is on its own: noise carries its membrane potential from step to step as a
Markov chain. The density of the potential is followed on Gauss-Legendre nodes below and above the
threshold, one branch for every pattern so far. The loss of a network behind is then a finite sum

    E[loss] = Σ over patterns of all neurons  Π P(pattern of a neuron) · loss(patterns).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TypeGuard

import numpy as np

from nolr.layers import LIF
from nolr.nodes import advance
from nolr.noise import Gaussian
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.parameter_noise import AnyNoisedLoss
from nolr.types import Params

__all__ = ["expected_loss", "has_few_patterns", "pattern_probabilities"]

MOST_SPIKES = 12  # 2¹² patterns of all neurons and steps
NODES, REACH = 48, 8.5  # of the quadrature, and how many standard deviations it covers


def has_few_patterns(loss: AnyNoisedLoss) -> TypeGuard[NoisedLoss]:
    """Whether the noise is Gaussian, in one spiking stage alone, and its patterns are few."""
    if not isinstance(loss, NoisedLoss) or len(loss.noises) != 1:
        return False
    ((stage, noise),) = loss.noises.items()
    layer = loss.network.layer(stage)
    size = prod(loss.network.noise_shapes[stage])
    return isinstance(layer, LIF) and isinstance(noise, Gaussian) and size <= MOST_SPIKES


def pattern_probabilities(
    drive: np.ndarray, decay: float, threshold: float, reset: str, sigma: float
) -> dict[tuple[int, ...], float]:
    """Every pattern of spikes of one neuron and its probability.

    Args:
        drive: W x_t + b for every time step, (T,).
        decay: β.
        threshold: V.
        reset: "zero" or "subtract".
        sigma: standard deviation of the noise in the membrane potential.
    """
    x, w = np.polynomial.legendre.leggauss(NODES)

    def density(u: np.ndarray, mean: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * ((u - mean) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))

    # A branch: what is carried over, as points and their probabilities.
    branches: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]
    branches = {(): (np.zeros(1), np.ones(1))}
    for current in drive:
        grown = {}
        for pattern, (carried, chance) in branches.items():
            means = decay * carried + current
            if pattern and reset == "subtract":
                means = means - threshold * pattern[-1]
            low = min(means.min() - REACH * sigma, threshold - 1e-9)
            high = max(means.max() + REACH * sigma, threshold + 1e-9)
            for spike, (a, b) in enumerate(((low, threshold), (threshold, high))):
                panels = max(1, int(np.ceil((b - a) / (6 * sigma))))
                edges = np.linspace(a, b, panels + 1)
                half = np.repeat(np.diff(edges) / 2, NODES)
                u = (edges[:-1, None] + (x + 1) * np.diff(edges)[:, None] / 2).reshape(-1)
                mass = np.tile(w, panels) * half * (density(u[:, None], means) @ chance)
                rest = u * (1 - spike) if reset == "zero" else u
                if reset == "zero" and spike:  # nothing is left of where it was
                    rest, mass = np.zeros(1), np.array([mass.sum()])
                grown[(*pattern, spike)] = rest, mass
        branches = grown
    return {pattern: float(mass.sum()) for pattern, (_, mass) in branches.items()}


def expected_loss(loss: NoisedLoss, params: Sequence[Params]) -> float:
    """E[mean loss] with noise in one spiking stage."""
    ((stage, noise),) = loss.noises.items()
    network, start = loss.network, loss.network.stages[stage]
    layer, theta = network.layer(stage), params[start]
    assert isinstance(layer, LIF)
    state: tuple = (loss.inputs,)
    for index in range(start):
        state = advance(network.nodes[index], params[index], state)
    drives = np.asarray(layer.drive(theta, state[0]))
    units = drives.shape[2]
    decays = np.clip(theta["decay"], 0, 1) if layer.learn_decay else np.full(units, layer.decay)
    total = 0.0
    for sample in range(len(loss.inputs)):
        single = [
            pattern_probabilities(
                drives[sample, :, unit], decays[unit], layer.threshold, layer.reset, noise.scale
            )
            for unit in range(units)
        ]
        chances, spikes = [], []
        for choice in product(*(found.items() for found in single)):
            chances.append(prod(chance for _, chance in choice))
            spikes.append([pattern for pattern, _ in choice])
        y = np.array(spikes, dtype=np.float64).transpose(0, 2, 1)
        rest: tuple = (y, *(np.repeat(s[sample : sample + 1], len(y), axis=0) for s in state[1:]))
        for index in range(start + 1, len(network.nodes)):
            rest = advance(network.nodes[index], params[index], rest)
        target = np.repeat(loss.target[sample : sample + 1], len(y), axis=0)
        losses = np.asarray(loss.loss(rest[0], target)).reshape(len(y), -1).sum(axis=1)
        total += float(np.array(chances) @ losses)
    return total / len(loss.inputs)
