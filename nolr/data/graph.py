"""A graph: features and labels of its nodes, its edges, and which nodes are for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nolr.errors import BadInput

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Graph"]


@dataclass(frozen=True)
class Graph:
    """A graph whose nodes have features and, most of them, a label.

    Attributes:
        features: (nodes, F), scipy CSR, float32.
        labels: (nodes,), int64; -1 where none is known.
        edges: (nodes, nodes), scipy CSR, float32: 1 where two nodes are joined, symmetric and
            without loops.
        train: indices of nodes, (n,), int64, ascending; so are validation and test. No node is in
            two of them.

    Raises:
        BadInput: sizes that do not fit, or an index or label that is none.
    """

    features: csr_array
    labels: np.ndarray
    edges: csr_array
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        nodes = self.features.shape[0]
        if self.labels.shape != (nodes,) or self.edges.shape != (nodes, nodes):
            raise BadInput(
                f"there are {nodes} rows of features: expected labels ({nodes},) and edges "
                f"({nodes}, {nodes}), got {self.labels.shape} and {self.edges.shape}"
            )
        used = np.concatenate([self.train, self.validation, self.test])
        if len(np.unique(used)) != len(used) or np.any((used < 0) | (used >= nodes)):
            raise BadInput(
                "train, validation and test must be different nodes, numbered from 0 to "
                f"{nodes - 1}"
            )
        if np.any(self.labels[used] < 0):
            raise BadInput("every node of train, validation and test needs a label of 0 or more")
