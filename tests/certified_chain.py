"""A network of four stages, for claims about many tails, chosen as those of `certified` are."""

from __future__ import annotations

from functools import cache

import harness
import numpy as np
from expectations import cross_entropy_with_noise, grid

from nolr.activations import Tanh, identity
from nolr.layers import Dense
from nolr.losses import CrossEntropy

__all__ = ["CHAIN", "exact_gradient"]

X, LABELS, SIGMA = np.array([[1.9, 0.9], [-0.3, -0.7]]), np.array([1, 1]), 1.0
GIVEN = (
    {"W": np.array([[0.3, -0.3]]), "b": np.array([-0.8])},
    {"W": np.array([[2.2]]), "b": np.array([0.4])},
    {"W": np.array([[2.5]]), "b": np.array([0.3])},
    {"W": np.array([[-4.0], [0.3]]), "b": np.array([-0.3, 2.0])},
)
POINTS = {1: 120, 2: 60}  # along an axis of a grid, by hidden stages with noise

nodes_of = cache(grid)


def expectation(params, noised, points):
    """The mean loss with noise in some stages; points: a factor of those there are by default."""
    hidden = [stage for stage in noised if stage < 3]
    count = round(points * POINTS[len(hidden)]) if hidden else 1
    nodes, weights = nodes_of(max(1, len(hidden)), count)
    loss = cross_entropy_with_noise(SIGMA) if 3 in noised else harness.cross_entropy_rows
    total = 0.0
    for x, label in zip(X, LABELS, strict=True):
        y = np.tile(x, (len(nodes), 1))
        for stage, theta in enumerate(params[:3]):
            z = y @ theta["W"].T + theta["b"]
            if stage in hidden:
                z += SIGMA * nodes[:, [hidden.index(stage)]]
            y = np.tanh(z)
        total += weights @ loss(y @ params[3]["W"].T + params[3]["b"], label) / len(X)
    return float(total)


LAYERS = Dense(2, 1, Tanh()), Dense(1, 1, Tanh()), Dense(1, 1, Tanh()), Dense(1, 2, identity)
CHAIN = harness.dense_case(
    CrossEntropy(), LABELS, *LAYERS, inputs=X, given=GIVEN, expected=expectation, sigma=SIGMA
)


def exact_gradient(noised, points=1.0):
    """In the layout of the parameters; noised: for every stage, the stages that have noise."""
    return tuple(
        harness.stage_gradient(CHAIN, stage, tuple(together), points)
        for stage, together in enumerate(noised)
    )
