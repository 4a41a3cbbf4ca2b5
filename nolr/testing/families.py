"""One tiny network of every family, for self-tests: two samples or more, a few units, all layers.

Their noise has few dimensions, so that references are exact or cheap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from nolr.activations import Tanh, identity
from nolr.graphs import normalized_adjacency
from nolr.layers import (
    LIF,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
)
from nolr.losses import CrossEntropy
from nolr.network import Residual, Sequential
from nolr.types import Loss

__all__ = ["FAMILIES", "Family"]


class Family(NamedTuple):
    """A network and a batch that suits it, on the host."""

    network: Sequential
    inputs: np.ndarray
    target: np.ndarray
    loss: Loss


def _families() -> dict[str, Family]:
    rng, loss = np.random.default_rng(0), CrossEntropy()
    labels, node_labels = np.array([0, 1, 1, 0]), np.array([[0, 1, 1], [1, 0, -1]])
    path = normalized_adjacency(csr_array(np.array([[0, 1.0, 0], [1.0, 0, 1.0], [0, 1.0, 0]])))
    tanh = Tanh()
    return {
        "dense": Family(
            Sequential(
                Dense(2, 2, tanh),
                Residual(Dense(2, 2, tanh)),
                Dense(2, 2, identity),
                input_shape=(2,),
            ),
            rng.normal(size=(4, 2)),
            labels,
            loss,
        ),
        "convolution": Family(
            Sequential(
                Conv2D(1, 1, 2, stride=2, activation=tanh),
                Conv2D(1, 2, 2, activation=identity),
                Flatten(),
                input_shape=(1, 4, 4),
            ),
            rng.normal(size=(4, 1, 4, 4)),
            labels,
            loss,
        ),
        "pooling": Family(
            Sequential(
                Conv2D(1, 1, 2, activation=tanh),
                MaxPool2D(2),
                Flatten(),
                Dense(2, 2, identity),
                input_shape=(1, 3, 5),
            ),
            rng.normal(size=(4, 1, 3, 5)),
            labels,
            loss,
        ),
        "spiking": Family(
            Sequential(
                LIF(2, 2, steps=2, decay=0.7),
                LIF(2, 2, decay=0.6, reset="subtract", learn_decay=True),
                MeanOverTime(),
                Dense(2, 2, identity),
                input_shape=(2,),
            ),
            rng.normal(size=(4, 2)) + 0.5,
            labels,
            loss,
        ),
        "recurrent": Family(
            Sequential(SimpleRNN(1, 1, last=False), Dense(1, 2, identity), input_shape=(3, 1)),
            rng.normal(size=(2, 3, 1)),
            np.array([[0, 1, 1], [1, 1, 0]]),
            loss,
        ),
        "words": Family(
            Sequential(Embedding(3, 2), MeanOverTime(), Dense(2, 2, tanh), input_shape=(2,)),
            np.array([[0.0, 2.0], [1.0, 2.0], [1.0, 0.0]]),
            np.array([0, 1, 1]),
            loss,
        ),
        "graph": Family(
            Sequential(
                GraphConv(2, 1, path, tanh), GraphConv(1, 2, path, identity), input_shape=(3, 2)
            ),
            rng.normal(size=(2, 3, 2)),
            node_labels,
            loss,
        ),
    }


FAMILIES = _families()
"""By name."""
