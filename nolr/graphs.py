"""Graph operators: sparse matrices that mix the nodes of a graph, on whatever backend asks.

Kipf and Welling: Semi-supervised classification with graph convolutional networks (ICLR 2017)
average over a node and its neighbours with Â = D^(-1/2) (A + I) D^(-1/2), D the degrees of A + I.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nolr.backends import backend_of, namespace
from nolr.errors import BadInput
from nolr.types import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["GraphOperator", "normalized_adjacency"]


@dataclass(frozen=True, eq=False)
class GraphOperator:
    """A sparse matrix (nodes, nodes) applied to the node axis, the last but one.

    Args:
        matrix: scipy CSR, on the host. Arrays of any backend can be pushed through it: the matrix
            is copied to where they live when it is first needed there.
    """

    matrix: csr_array

    def __post_init__(self) -> None:
        from scipy.sparse import csr_array, issparse

        if not issparse(self.matrix) or self.matrix.ndim != 2 or len({*self.matrix.shape}) != 1:
            raise BadInput(
                "the matrix of a GraphOperator must be a square scipy.sparse array, got "
                f"{type(self.matrix).__name__} of shape {getattr(self.matrix, 'shape', None)}"
            )
        matrix = csr_array(self.matrix)
        if not matrix.has_canonical_format:  # entries of the same place would count twice
            matrix = matrix.copy()
            matrix.sum_duplicates()
        object.__setattr__(self, "matrix", matrix)

    @property
    def nodes(self) -> int:
        return int(self.matrix.shape[0])

    @cached_property
    def pattern(self) -> GraphOperator:
        """Ones where the matrix has entries."""
        ones = self.matrix.copy()
        ones.data = np.ones_like(ones.data)
        return GraphOperator(ones)

    @cached_property
    def squares(self) -> GraphOperator:
        """The matrix with squared entries."""
        return GraphOperator(self.matrix.power(2))

    def after(self, first: GraphOperator) -> GraphOperator:
        """This operator applied to what `first` returns."""
        return GraphOperator(self.matrix @ first.matrix)

    def beside(self, other: GraphOperator | None) -> GraphOperator:
        """Ones where either pattern has entries; None for the nodes themselves."""
        from scipy.sparse import eye_array

        more = eye_array(self.nodes, format="csr") if other is None else other.pattern.matrix
        return GraphOperator((self.pattern.matrix + more).tocsr()).pattern

    def push(self, change: Array) -> Array:
        """(..., nodes, F) -> (..., nodes, F)."""
        return self._product(change, transposed=False)

    def pull(self, credit: Array) -> Array:
        """The same with the transposed matrix."""
        return self._product(credit, transposed=True)

    def variance(self, variance: Array) -> Array:
        """Variances of what independent changes become."""
        return self.squares.push(variance)

    def _product(self, x: Array, transposed: bool) -> Array:
        xp = namespace(x)
        backend: Any = backend_of(x)
        matrix = _place(self, transposed, backend, x.dtype)
        *leading, nodes, features = x.shape
        if all(length == 1 for length in leading):
            return xp.reshape(matrix @ xp.reshape(x, (nodes, features)), x.shape)
        # A sparse matrix takes one table: the features of all graphs side by side.
        table = xp.permute_dims(xp.reshape(x, (-1, nodes, features)), (1, 0, 2))
        product = xp.reshape(matrix @ xp.reshape(table, (nodes, -1)), (nodes, -1, features))
        return xp.reshape(xp.permute_dims(product, (1, 0, 2)), x.shape)


@lru_cache(maxsize=32)
def _place(operator: GraphOperator, transposed: bool, backend: Any, dtype: Any) -> Any:
    """The matrix on a backend, copied once."""
    matrix = operator.matrix.T.tocsr() if transposed else operator.matrix
    return backend.sparse(matrix, dtype)


def normalized_adjacency(edges: csr_array) -> GraphOperator:
    """Â = D^(-1/2) (A + I) D^(-1/2) of a graph with the adjacency A (nodes, nodes).

    Raises:
        BadInput: A is not square, not symmetric, or has negative entries or a loop.
    """
    from scipy.sparse import csr_array, diags_array, eye_array

    adjacency = csr_array(edges, dtype=np.float64)
    nodes = adjacency.shape[0]
    square = adjacency.shape == (nodes, nodes)
    if not square or abs(adjacency - adjacency.T).sum() > 0:
        found = "one that is not symmetric" if square else f"shape {adjacency.shape}"
        raise BadInput(
            f"the edges of a graph must be a symmetric matrix (nodes, nodes), got {found}: add its "
            "transpose"
        )
    if not np.isfinite(adjacency.data).all():
        raise BadInput("the edges of a graph contain NaN or infinity: remove or replace them")
    if adjacency.nnz and (adjacency.data.min() < 0 or adjacency.diagonal().any()):
        raise BadInput(
            "the edges of a graph must be positive and without loops: the normalisation adds every "
            "node to its own neighbours"
        )
    joined = adjacency + eye_array(nodes)
    scale = diags_array(1.0 / np.sqrt(joined.sum(axis=1)))
    return GraphOperator(csr_array(scale @ joined @ scale))
