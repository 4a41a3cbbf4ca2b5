"""The networks on which faults show: small, of every family, with gradients of similar size."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from nolr.activations import Identity, Tanh
from nolr.backends import get_backend
from nolr.graphs import GraphOperator
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
from nolr.losses import MeanSquaredError
from nolr.network import Residual, Sequential

SEED = 3  # one of which all stages have gradients of similar size: few draws suffice
ARROWS = GraphOperator(csr_array(np.array([[0.6, 0.7, 0.0], [0.0, 0.5, 0.9], [0.0, 0.0, 0.8]])))
TOKENS = np.array([[0.0, 2.0, 0.0], [1.0, 2.0, 2.0], [1.0, 1.0, 0.0], [0.0, 1.0, 2.0]])

# Layers hold no state, so every network may have the same ones; and the shape of a sample.
FAMILIES: dict[str, tuple[tuple, tuple[int, ...]]] = {
    "one": ((Dense(2, 2, Identity()),), (2,)),
    "dense": ((Dense(2, 2, Tanh()), Dense(2, 2, Identity())), (2,)),
    "linear": ((Dense(2, 2, Identity()), Dense(2, 2, Identity())), (2,)),
    "residual": ((Dense(2, 2, Identity()), Residual(Dense(2, 2, Identity()))), (2,)),
    "over time": ((Dense(2, 1, Tanh()), Dense(1, 1, Identity())), (3, 2)),
    "conv": ((Conv2D(1, 2, 2, stride=2, activation=Identity()), Flatten()), (1, 4, 4)),
    "max pool": ((Conv2D(1, 1, 2, activation=Tanh()), MaxPool2D(2), Flatten()), (1, 3, 3)),
    "rnn": ((SimpleRNN(1, 1, last=False), Dense(1, 1, Identity())), (3, 1)),
    "last state": ((SimpleRNN(1, 1, activation=Identity()),), (3, 1)),
    "lif": ((LIF(2, 1), MeanOverTime()), (3, 2)),
    "lif, decay": ((LIF(2, 1, decay=0.7, learn_decay=True), MeanOverTime()), (4, 2)),
    "graph": ((GraphConv(2, 1, ARROWS, Identity()), GraphConv(1, 1, ARROWS, Identity())), (3, 2)),
    "embedding": ((Embedding(3, 1), MeanOverTime()), (3,)),
}


def make(family: str) -> tuple:
    """A new network of this family, parameters, four samples, and a loss."""
    layers, shape = FAMILIES[family]
    network = Sequential(*layers, input_shape=shape)
    rng = np.random.default_rng(SEED)
    x = TOKENS if family == "embedding" else rng.normal(size=(4, *shape))
    target = rng.normal(size=(4, *network.output_shape)) + 1
    params = tuple(
        {name: array + 0.3 * rng.normal(size=array.shape) for name, array in theta.items()}
        for theta in network.init(SEED, get_backend("numpy"), "float64")
    )
    return network, params, (x, target), MeanSquaredError()
