"""Expectations of noised losses, by programs that know the networks a second time.

Noise in an affine last stage moves the difference of two outputs alone, so one dimension of a grid
is enough for it.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import reference
from harness import cross_entropy_rows

from nolr.testing.spikes import pattern_probabilities


def grid(dimensions, points):
    """Nodes (P, dimensions) and weights (P,) of E[g(η)]: the trapezoidal rule.

    Where tanh is steep on the scale of the noise it converges faster than Gauss and Hermite do.
    """
    nodes = np.linspace(-5.5, 5.5, points)
    weights = np.exp(-0.5 * nodes**2)
    found = np.array(list(product(nodes, repeat=dimensions))).reshape(-1, dimensions)
    chances = np.array([np.prod(w) for w in product(weights / weights.sum(), repeat=dimensions)])
    return found, chances


def cross_entropy_with_noise(sigma):
    """That of two outputs with noise in both, (P, 2), averaged over it."""
    nodes, weights = grid(1, 24)

    def loss(o, label):
        margin = o[:, 1 - label] - o[:, label]
        return np.logaddexp(0, margin[:, None] + np.sqrt(2) * sigma * nodes[:, 0]) @ weights

    return loss


def over_hidden(mean_loss, dimensions, sigma):
    """The expectation for two stages, the second of them affine with two outputs a loss.

    mean_loss(params, noises, loss) -> (P,), with the noise of the first stage, and zeros.
    """

    def expected(params, noised, points):
        nodes, weights = grid(dimensions, points if 0 in noised else 1)
        loss = cross_entropy_with_noise(sigma) if 1 in noised else cross_entropy_rows
        noises = sigma * nodes * (0 in noised), np.zeros((1, 2))
        return float(weights @ mean_loss(params, noises, loss))

    return expected


def dense_mean_loss(params, noises, loss, x, labels, skip):
    """Two dense layers, the second one beside a skip or not."""
    first, last = (theta for theta in params if theta)
    total = 0.0
    for row, label in zip(x, labels, strict=True):
        h = np.tanh(first["W"] @ row + first["b"] + noises[0])
        total = total + loss(h @ last["W"].T + last["b"] + skip * h, label)
    return total / len(x)


def convolution_expectation(params, noised, points, x, targets, sigma):
    """The squared error knows mean and variance of every hidden unit alone.

    Noise in the last stage adds a constant to it.
    """
    nodes, weights = grid(1, points if 0 in noised else 1)
    hidden, last = params[0], params[1]["W"].reshape(2, 4)
    total = 0.0
    for image, target in zip(x, targets, strict=True):
        v = reference.conv2d(hidden["W"], hidden["b"], image, stride=2).reshape(-1, 1)
        y = np.tanh(v + sigma * nodes[:, 0] * (0 in noised))
        mean, square = y @ weights, y**2 @ weights
        error = last @ mean + params[1]["b"] - target
        total += np.mean(error**2 + last**2 @ (square - mean**2))
    return total / len(x)


def spiking_expectation(params, noised, points, x, labels, sigma, steps):
    """Two neurons that are shown x in every step, their mean rates, and a dense layer.

    Given x they are independent: a sum over the patterns of both. Without noise there is one.
    """
    hidden, last = params[0], params[2]
    loss = cross_entropy_with_noise(sigma) if 1 in noised else cross_entropy_rows
    total = 0.0
    for row, label in zip(x, labels, strict=True):
        drives = np.tile(hidden["W"] @ row + hidden["b"], (steps, 1))
        if 0 in noised:
            found = [
                pattern_probabilities(drives[:, unit], hidden["decay"][unit], 1.0, "zero", sigma)
                for unit in range(2)
            ]
        else:
            step = partial(reference.lif_step, hidden, hidden["decay"], 1.0, "zero")
            past = reference.unroll(step, np.tile(row, (steps, 1)))
            found = [{tuple(past[:, unit] > 1.0): 1.0} for unit in range(2)]
        for (one, p), (other, q) in product(*(patterns.items() for patterns in found)):
            rates = np.array([[np.mean(one), np.mean(other)]])
            total += p * q * float(loss(rates @ last["W"].T + last["b"], label)[0])
    return total / len(x)
