"""One network of every family, chosen so that few draws certify a gradient to 5 %.

What a certificate costs is the variance of a draw as a fraction of the squared norm of the
gradient. So parameters and labels are such that the samples agree on where to go, all stages have
gradients of similar size, and the noise is loud: then it also tells noise in one stage from noise
in all. The numbers were found by random search and rounded.

Expectations are those of programs that know the networks a second time (`expectations`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import harness
import numpy as np
import test_unbiased_families as families
from expectations import (
    convolution_expectation,
    dense_mean_loss,
    over_hidden,
    spiking_expectation,
)

from nolr.activations import Tanh, identity
from nolr.layers import (
    LIF,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    LeakyOverTime,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
)
from nolr.network import Residual

__all__ = ["FAMILIES", "exact_gradient"]


# --- the families ---------------------------------------------------------------------------------


def case(oracle, x, target, sigma, given, *layers):
    """A network, its samples, and the program that knows its expectations."""
    found = families.case(oracle, x, np.array(target), *layers)
    params = tuple({name: np.array(values) for name, values in theta.items()} for theta in given)
    return replace(found, given=params, sigma=sigma)


def dense():
    x, labels, sigma = np.array([[0.43, 0.06], [-0.25, 1.38], [0.13, 0.45]]), [1, 1, 1], 1.4
    given = (
        {"W": [[-2.67, -2.25], [1.23, 0.63]], "b": [-1.17, -1.61]},
        {"W": [[-0.76, -2.44], [-1.01, 2.46]], "b": [-0.54, 0.13]},
    )
    oracle = over_hidden(partial(dense_mean_loss, x=x, labels=labels, skip=0), 2, sigma)
    return case(oracle, x, labels, sigma, given, Dense(2, 2, Tanh()), Dense(2, 2, identity))


def residual():
    x, labels, sigma = np.array([[0.05, 0.67], [1.09, 1.57]]), [0, 0], 1.4
    given = (
        {"W": [[-0.25, 0.42], [-0.45, -0.34]], "b": [0.09, -0.5]},
        {},
        {"W": [[-2.46, 1.63], [1.12, 0.12]], "b": [0.48, 1.05]},
        {},
    )
    oracle = over_hidden(partial(dense_mean_loss, x=x, labels=labels, skip=1), 2, sigma)
    layers = Dense(2, 2, Tanh()), Residual(Dense(2, 2, identity))
    return case(oracle, x, labels, sigma, given, *layers)


def convolution():
    """Four windows that do not overlap, then one that holds them all."""
    x = [
        [[-1.46, -0.54, 0.78, -1.07], [0.63, -1.97, 2.59, 1.89]],
        [[1.46, 1.36, -0.08, 0.73], [-1.37, 0.36, -2.11, 0.53]],
        [[-1.67, -0.39, -0.15, 2.82], [2.0, 0.58, 1.74, 1.13]],
        [[0.11, 0.36, 0.8, -0.88], [-0.8, 0.51, -1.95, 0.17]],
    ]
    x, targets, sigma = np.reshape(x, (2, 1, 4, 4)), [[0.86, -1.17], [1.39, 0.74]], 1.4
    W = [[-1.54, -1.29, 1.01, 0.7], [0.69, 1.74, 0.58, -0.79]]
    given = (
        {"W": [[[[0.03, 0.55], [1.24, -0.88]]]], "b": [-0.53]},
        {"W": np.reshape(W, (2, 1, 2, 2)), "b": [-0.2, -0.82]},
        {},
    )
    oracle = partial(convolution_expectation, x=x, targets=targets, sigma=sigma)
    layers = Conv2D(1, 1, 2, stride=2, activation=Tanh()), Conv2D(1, 2, 2, activation=identity)
    return case(oracle, x, targets, sigma, given, *layers, Flatten())


def pooling():
    x = [
        [-0.06, 0.48, 1.14, 0.36, 0.15],
        [-0.64, -0.79, -1.3, -0.07, -2.55],
        [-2.83, -0.42, -1.53, 0.58, -0.06],
        [0.38, -0.06, -0.45, -0.66, -0.7],
        [-2.34, -0.15, -0.81, -0.31, -1.85],
        [0.32, -0.57, -2.31, 0.36, 0.77],
        [-1.27, -0.63, -1.11, 1.23, 2.55],
        [0.01, 0.22, -0.79, 0.76, -1.62],
        [-0.73, -0.98, 1.45, -0.52, 0.93],
    ]
    x, labels, sigma = np.reshape(x, (3, 1, 3, 5)), [0, 0, 0], 1.4
    given = (
        {"W": [[[[-1.17, 0.97], [-0.87, 1.44]]]], "b": [-2.64]},
        {},
        {},
        {"W": [[-1.41, 1.3], [-3.57, -1.55]], "b": [-0.94, 0.29]},
    )
    oracle = partial(families.pooled_expectation, images=x, labels=labels, sigma=sigma)
    layers = Conv2D(1, 1, 2, activation=Tanh()), MaxPool2D(2), Flatten(), Dense(2, 2, identity)
    return case(oracle, x, labels, sigma, given, *layers)


def recurrent():
    x = np.array([[[0.84], [-1.36], [-2.2]], [[0.17], [-0.91], [-1.48]]])
    labels, sigma = [[1, 0, 0], [0, 0, 0]], 1.4
    given = (
        {"U": [[1.11]], "W": [[-0.56]], "b": [-0.58]},
        {"W": [[1.93], [-1.77]], "b": [-0.86, 1.43]},
    )
    mean_loss = partial(families.rnn_mean_loss, numbers=x, labels=labels)
    layers = SimpleRNN(1, 1, last=False), Dense(1, 2, identity)
    return case(over_hidden(mean_loss, 3, sigma), x, labels, sigma, given, *layers)


def spiking():
    x, labels, sigma, steps = np.array([[1.17, 0.15], [0.86, 0.02]]), [0, 0], 0.5, 2
    given = (
        {"W": [[0.61, -1.33], [1.56, 1.81]], "b": [1.38, -0.58], "decay": [0.3, 0.68]},
        {},
        {"W": [[0.5, 2.32], [1.1, -0.39]], "b": [0.73, 0.63]},
    )
    oracle = partial(spiking_expectation, x=x, labels=labels, sigma=sigma, steps=steps)
    layers = LIF(2, 2, steps=steps, learn_decay=True), MeanOverTime(), Dense(2, 2, identity)
    return case(oracle, x, labels, sigma, given, *layers)


def words():
    x, labels, sigma = np.array([[2.0, 2.0, 1.0], [2.0, 2.0, 2.0], [1.0, 0.0, 1.0]]), [1, 1, 1], 0.7
    given = (
        {"W": [[-0.52, 3.03], [-0.43, -1.27], [-0.72, 0.0]]},
        {},
        {"W": [[-0.43, 0.04], [-0.36, -1.73]], "b": [-0.9, -0.13]},
    )
    mean_loss = partial(families.embedding_mean_loss, tokens=x, labels=labels)
    layers = Embedding(3, 2), LeakyOverTime(families.DECAY), Dense(2, 2, Tanh())
    return case(families.by_grid((2, 2), mean_loss, sigma), x, labels, sigma, given, *layers)


def graph():
    x = np.array(
        [[[0.51, 0.26], [0.04, -0.55], [1.4, 0.86]], [[2.31, -1.06], [-0.05, 0.32], [-0.3, 0.96]]]
    )
    labels, sigma = [[0, 1, 0], [0, 1, 0]], 1.4
    given = (
        {"W": [[-0.51, -0.38]], "b": [1.37]},
        {"W": [[-2.05], [3.84]], "b": [-1.63, 0.52]},
    )
    mean_loss = partial(families.graph_mean_loss, tables=x, labels=labels)
    layers = GraphConv(2, 1, families.PATH, Tanh()), GraphConv(1, 2, families.PATH, identity)
    return case(over_hidden(mean_loss, 3, sigma), x, labels, sigma, given, *layers)


MAKERS = dense, residual, convolution, pooling, recurrent, spiking, words, graph
FAMILIES = {make.__name__: make() for make in MAKERS}

# Points along an axis of a grid, for noise in one stage and in both; see the oracles.
POINTS = dict.fromkeys(FAMILIES, (40, 24)) | {
    "pooling": (12, 10),  # the maxima have four times as many
    "recurrent": (32, 24),
    "graph": (32, 24),
    "words": (24, 12),
}


# --- exact gradients ------------------------------------------------------------------------------


@cache
def stage_gradient(name, stage, noised, fewer):
    points = POINTS[name][len(noised) > 1]
    return harness.stage_gradient(FAMILIES[name], stage, noised, round((1 - fewer) * points))


def exact_gradient(name, noised, fewer=0.0):
    """In the layout of the parameters.

    Args:
        noised: for every stage, the stages that have noise.
        fewer: the share of points to do without, to see whether a grid is fine enough.
    """
    found = FAMILIES[name]
    grads = [{} for _ in found.params]
    for stage, node in enumerate(found.network.stages):
        grads[node] = stage_gradient(name, stage, tuple(noised[stage]), fewer)
    return tuple(grads)
