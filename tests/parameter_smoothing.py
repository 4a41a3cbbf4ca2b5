"""Exact gradients of the networks of `certified`: with noise in all parameters, or in nothing.

The loss without noise is that of the programs that know the networks a second time. Its mean over
the noise is taken over quasi-random points; behind spikes it jumps, and there the chances of all
patterns are known.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import certified
import harness
import numpy as np
import reference
from expectations import cross_entropy_with_noise, grid
from scipy import stats

from nolr.optimizers import ravel, unravel

__all__ = ["PAIRS", "SIGMA", "clean_gradient", "smoothed_gradient"]

SIGMA = dict.fromkeys(certified.FAMILIES, 0.1) | {"spiking": 0.3}
PAIRS = 64  # of points


def gradient(expectation, params):
    """In the layout of the parameters, by central differences."""
    return tuple(reference.parameter_gradient(expectation, params, range(len(params)), step=1e-4))


def clean_gradient(name, params=None):
    """Of the loss without noise, at the parameters of a family or at others."""
    case = certified.FAMILIES[name]
    return gradient(lambda moved: harness.expected_loss(case, moved, (), 1), params or case.params)


@cache
def slopes(name):
    """The gradients at the points, (2·PAIRS, P)."""
    theta, like = ravel(certified.FAMILIES[name].params), certified.FAMILIES[name].params
    points = stats.qmc.MultivariateNormalQMC(np.zeros(len(theta)), rng=0).random(PAIRS)
    mirrored = np.stack([points, -points], axis=1).reshape(2 * PAIRS, -1)
    found = [clean_gradient(name, unravel(theta + SIGMA[name] * p, like)) for p in mirrored]
    return np.stack([ravel(one) for one in found])


def smoothed_gradient(name, points=slice(None)):
    """Of the loss with noise of level SIGMA in all parameters; of some points, see how many do."""
    like = certified.FAMILIES[name].params
    if name == "spiking":
        return gradient(spiking_expectation, like)
    return unravel(slopes(name)[points].mean(axis=0), like)


def spiking_expectation(params):
    """Two neurons, each with the chances of no spike, of one in the second step, and of two."""
    case, sigma = certified.FAMILIES["spiking"], SIGMA["spiking"]
    first, _, last = params
    nodes, weights = grid(1, 200)
    total = 0.0
    for x, label in zip(case.inputs, case.target, strict=True):
        spread, neurons = sigma * np.sqrt(x @ x + 1), []
        for current, decay in zip(first["W"] @ x + first["b"], first["decay"], strict=True):
            kept = np.clip(decay + sigma * nodes[:, 0], 0, 1)
            twice = stats.norm.sf(1, current, spread)  # a current i > 1
            ever = weights @ stats.norm.sf(1 / (1 + kept), current, spread)  # or i + βi > 1
            neurons.append({0.0: 1 - ever, 0.5: ever - twice, 1.0: twice})
        for rates in product(*neurons):
            chance = neurons[0][rates[0]] * neurons[1][rates[1]]
            loss = cross_entropy_with_noise(sigma * np.sqrt(np.square(rates).sum() + 1))
            logits = last["W"] @ rates + last["b"]
            total += chance * float(loss(logits[None], label)[0]) / len(case.inputs)
    return total
