"""Graph operators: products against dense matrices, and the normalised adjacency by its formula."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from layer_rows import DIRECTED, EDGES, GRAPH, NUMPY
from scipy.sparse import csr_array

from nolr.errors import BadInput
from nolr.graphs import GraphOperator, normalized_adjacency

DENSE = DIRECTED.matrix.toarray()


def normalized_by_loops(edges):
    """Â_ij = (A + I)_ij / sqrt(d_i d_j), d the sums of the rows of A + I."""
    nodes = len(edges)
    joined = [[edges[i][j] + (1.0 if i == j else 0.0) for j in range(nodes)] for i in range(nodes)]
    degree = [sum(row) for row in joined]
    return np.array(
        [[joined[i][j] / sqrt(degree[i] * degree[j]) for j in range(nodes)] for i in range(nodes)]
    )


@pytest.mark.parametrize("leading", [(), (1,), (3,), (2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_push_and_pull_are_products_with_the_matrix(leading, dtype, backend):
    x = np.random.default_rng(0).normal(size=(*leading, 5, 2))
    array = backend.asarray(x, dtype)
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    for found, matrix in ((DIRECTED.push(array), DENSE), (DIRECTED.pull(array), DENSE.T)):
        assert found.dtype == array.dtype
        expected = np.zeros_like(x)
        for index in np.ndindex(*leading):
            expected[index] = matrix @ x[index]
        got = backend.to_host(found)
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    # A negative control: the two are not the same thing.
    assert np.abs(DENSE - DENSE.T).max() > 0.1


def test_one_operator_serves_several_backends_and_dtypes(backend):
    # The matrix is copied to where it is needed, and no copy is taken for another.
    for dtype in ("float32", "float64", "float32"):
        for where in (NUMPY, backend):
            found = GRAPH.push(where.asarray(np.eye(5), dtype))
            np.testing.assert_allclose(where.to_host(found), GRAPH.matrix.toarray(), rtol=1e-6)
            assert where.to_host(found).dtype == dtype


def test_two_operators_do_not_share_a_copy():
    other = GraphOperator(csr_array(2.0 * DENSE))
    np.testing.assert_allclose(other.push(np.eye(5)), 2.0 * DIRECTED.push(np.eye(5)))


def test_the_pattern_is_one_where_the_matrix_has_entries():
    np.testing.assert_array_equal(DIRECTED.pattern.matrix.toarray(), DENSE != 0)
    np.testing.assert_array_equal(DIRECTED.matrix.toarray(), DENSE)  # which it leaves alone
    assert DIRECTED.pattern is DIRECTED.pattern
    assert DIRECTED.nodes == 5


def test_after_applies_the_other_operator_first():
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    both = GRAPH.after(DIRECTED)
    np.testing.assert_allclose(both.push(x), GRAPH.push(DIRECTED.push(x)), rtol=1e-12)
    np.testing.assert_allclose(both.pull(x), DIRECTED.pull(GRAPH.pull(x)), rtol=1e-12)
    wrong = DIRECTED.push(GRAPH.push(x))  # negative control
    assert np.abs(both.push(x) - wrong).max() > 0.1


def test_operators_are_told_apart_by_identity():
    # They are keys of a cache: comparing matrices entry by entry would be slow and ambiguous.
    assert GraphOperator(DIRECTED.matrix) != DIRECTED
    assert len({DIRECTED, DIRECTED, GRAPH}) == 2


# --- the normalised adjacency ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_normalized_adjacency_is_the_formula(seed):
    rng = np.random.default_rng(seed)
    edges = np.triu(rng.uniform(0.5, 2.0, (7, 7)) * (rng.random((7, 7)) < 0.4), 1)
    edges = edges + edges.T
    found = normalized_adjacency(csr_array(edges)).matrix.toarray()
    np.testing.assert_allclose(found, normalized_by_loops(edges), rtol=1e-13)
    assert np.abs(np.linalg.eigvalsh(found)).max() <= 1 + 1e-12


def test_a_node_without_edges_keeps_what_it_has():
    found = normalized_adjacency(csr_array(EDGES)).matrix.toarray()
    np.testing.assert_allclose(found, normalized_by_loops(EDGES), rtol=1e-13)
    np.testing.assert_array_equal(found[4], [0, 0, 0, 0, 1])  # node 4 has none
    np.testing.assert_array_equal(
        normalized_adjacency(csr_array((3, 3))).push(np.eye(3)), np.eye(3)
    )


def test_any_sparse_matrix_of_any_number_type_will_do():
    edges = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    expected = normalized_by_loops(edges)
    for given in (csr_array(edges), csr_array(edges).tocoo(), csr_array(edges.astype("float32"))):
        found = normalized_adjacency(given)
        np.testing.assert_allclose(found.matrix.toarray(), expected, rtol=1e-13)
        assert found.matrix.dtype == np.float64
        assert found.matrix.format == "csr"


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        (np.ones((2, 3)), r"a symmetric matrix \(nodes, nodes\), got shape \(2, 3\)"),
        (np.array([[0, 1.0], [0, 0]]), "got one that is not symmetric: add its transpose"),
        (np.array([[0, 1.0], [2.0, 0]]), "got one that is not symmetric"),
        (np.array([[1.0, 1.0], [1.0, 0]]), "without loops"),
        (np.array([[0, -1.0], [-1.0, 0]]), "must be positive"),
    ],
    ids=["not square", "one way", "two weights", "loop", "negative"],
)
def test_what_is_no_graph_is_refused(edges, words):
    with pytest.raises(BadInput, match=words):
        normalized_adjacency(csr_array(edges))
