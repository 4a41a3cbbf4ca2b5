"""Recipes on citation graphs: a graph convolution network labels papers by words and citations.

The data are one graph. A training step sees all of it; training, validation and test differ in the
nodes whose labels count. Network and features as in T. N. Kipf, M. Welling: Semi-supervised
classification with graph convolutional networks (ICLR 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from os.path import realpath

import numpy as np

from nolr.activations import identity
from nolr.data import Dataset, Graph, Split, load_citeseer, load_cora, load_pubmed
from nolr.data.store import data_folder
from nolr.graphs import normalized_adjacency
from nolr.layers import GraphConv
from nolr.losses import UNLABELLED
from nolr.network import Sequential
from nolr.recipes.recipe import Recipe
from nolr.recipes.settings import Settings, get_activation

__all__ = ["CITESEER_GRAPH", "CORA_GRAPH", "PUBMED_GRAPH"]

Loader = Callable[[str], Graph]


@lru_cache(maxsize=2)
def _load(loader: Loader, folder: str) -> Graph:
    return loader(folder)


def _graph(settings: Settings, loader: Loader) -> Graph:
    """Kept by the folder as it is: what the setting and NOLR_DATA mean can change."""
    return _load(loader, realpath(data_folder(settings.data_dir)))


def _data(settings: Settings, loader: Loader) -> Split:
    graph = _graph(settings, loader)
    inputs = _prepare(graph.features.toarray()[None])
    train, validation, test = (
        Dataset(inputs, _labels_of(graph, nodes))
        for nodes in (graph.train, graph.validation, graph.test)
    )
    return Split(train, validation, test)


def _labels_of(graph: Graph, nodes: np.ndarray) -> np.ndarray:
    """The labels of these nodes alone, (1, all nodes)."""
    labels = np.full(graph.labels.shape, UNLABELLED)
    labels[nodes] = graph.labels[nodes]
    return labels[None]


def _prepare(inputs: np.ndarray) -> np.ndarray:
    """Every node's features divided by their sum; a node without any stays 0."""
    features = np.asarray(inputs, dtype=np.float32)
    total = features.sum(axis=-1, keepdims=True)
    return features / np.where(total > 0, total, np.float32(1))


def _build(settings: Settings, loader: Loader) -> Sequential:
    graph = _graph(settings, loader)
    operator = normalized_adjacency(graph.edges)
    nodes, features = graph.features.shape
    sizes = (features, *settings.hidden)
    activation = get_activation(settings.activation)
    hidden = [GraphConv(a, b, operator, activation) for a, b in pairwise(sizes)]
    last = GraphConv(sizes[-1], int(graph.labels.max()) + 1, operator, identity)
    return Sequential(*hidden, last, input_shape=(nodes, features))


def _recipe(name: str, summary: str, loader: Loader) -> Recipe:
    return Recipe(
        name=name,
        summary=summary,
        settings=Settings(
            hidden=(16,), residual=0.0, learning_rate=1e-2, dropout=0.5, l2=5e-4, epochs=200
        ),
        data=partial(_data, loader=loader),
        prepare=_prepare,
        build=partial(_build, loader=loader),
    )


CORA_GRAPH = _recipe("cora-graph", "Cora, graph convolution, 16 hidden: 82.2 % in 4 s", load_cora)
CITESEER_GRAPH = _recipe(
    "citeseer-graph", "Citeseer, graph convolution, 16 hidden: 70.8 % in 12 s", load_citeseer
)
PUBMED_GRAPH = _recipe("pubmed-graph", "Pubmed, graph convolution, 16 hidden", load_pubmed)
