"""The backprop twins of the studies are twins: the same outputs from the same parameters."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nolr.activations import identity, relu, tanh
from nolr.backends import get_backend
from nolr.graphs import normalized_adjacency
from nolr.layers import (
    LIF,
    AvgPool2D,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
)
from nolr.network import Residual, Sequential

torch = pytest.importorskip("torch", reason="the twins need torch")
STUDIES = Path(__file__).parents[1] / "examples" / "studies"
NUMPY = get_backend("numpy")


def graph():
    from scipy.sparse import csr_array

    return normalized_adjacency(csr_array(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]])))


NETWORKS = {
    "images": lambda: Sequential(
        Conv2D(2, 3, padding=1),
        MaxPool2D(2),
        Residual(Conv2D(3, 3, padding=1, activation=tanh)),
        AvgPool2D(2),
        Flatten(),
        Dense(3, 2, identity),
        input_shape=(2, 4, 5),
    ),
    "strides": lambda: Sequential(
        Conv2D(1, 2, stride=2, dilation=2, padding=2), Flatten(), Dense(8, 2), input_shape=(1, 4, 4)
    ),
    "spikes": lambda: Sequential(
        LIF(4, 5, steps=6, threshold=0.5),
        LIF(5, 4, threshold=0.3, reset="subtract"),
        MeanOverTime(),
        Dense(4, 2, identity),
        input_shape=(4,),
    ),
    "last state": lambda: Sequential(
        SimpleRNN(3, 4), Dense(4, 2, identity), input_shape=(5, 3)
    ),
    "all states": lambda: Sequential(
        SimpleRNN(3, 4, relu, last=False), MeanOverTime(), Dense(4, 2), input_shape=(5, 3)
    ),
    "words": lambda: Sequential(
        Embedding(7, 3), SimpleRNN(3, 4, last=False), MeanOverTime(), input_shape=(5,)
    ),
    "graph": lambda: Sequential(
        GraphConv(4, 3, graph()), GraphConv(3, 2, graph(), identity), input_shape=(3, 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_twin_has_the_outputs_of_its_network(name, monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    monkeypatch.delitem(sys.modules, "torch_twin", raising=False)
    from torch_twin import Twin

    network, rng = NETWORKS[name](), np.random.default_rng(0)
    params = network.init(0, NUMPY)
    samples = 1 if name == "graph" else 64  # so that every constant of a neuron matters
    x = rng.normal(size=(samples, *network.input_shape)).astype(np.float32)
    if name == "words":
        x = rng.integers(0, 7, size=(samples, 5))
    expected = network.forward(params, x)
    twin = Twin(network, params)
    found = twin(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.ptp(expected) > 0.1
    # With noise of its own in a stage, the loop with noise and torch's own loop must agree too.
    silent = {
        stage: torch.zeros(samples, *shape) for stage, shape in enumerate(network.noise_shapes)
    }
    np.testing.assert_allclose(twin(torch.from_numpy(x), silent).detach(), expected, atol=2e-6)
    moved = {0: torch.ones(samples, *network.noise_shapes[0])}
    assert np.abs(twin(torch.from_numpy(x), moved).detach().numpy() - expected).max() > 0.01
