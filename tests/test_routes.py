"""Routes, each against the dense matrix that it stands for, built one unit at a time."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from layer_rows import DIRECTED, GRAPH

from nolr.routes import Chain, Gate, Reshape, WeightedSum, WindowSum, Winners

SAMPLES = 3
RNG = np.random.default_rng(7)
SLOPES = RNG.normal(size=(SAMPLES, 2, 5, 3))
CHANNEL_SLOPES = RNG.normal(size=(SAMPLES, 1, 1, 3))
WEIGHTS = RNG.normal(size=4)
SHARES = RNG.normal(size=(4, SAMPLES, 2, 2, 1))  # of the four pixels of every window


def window_matrix(size, source, shares=None):
    """(units of the result, units of the source), by loops."""
    channels, height, width = source
    target = (channels, height // size, width // size)
    matrix = np.zeros((*target, *source))
    for c, i, j in np.ndindex(*target):
        for k, m in np.ndindex(size, size):
            share = 1.0 if shares is None else shares[k * size + m][c, i, j]
            matrix[c, i, j, c, i * size + k, j * size + m] = share
    return matrix.reshape(prod(target), prod(source))


def per_node(matrix, features):
    """A matrix over nodes as one over (nodes, features), every feature for itself."""
    return np.kron(matrix, np.eye(features))


def of_every_sample(matrix):
    return [matrix] * SAMPLES


def gate_matrices(slopes, shape):
    return [np.diag(np.broadcast_to(slope, shape).reshape(-1)) for slope in slopes]


WINDOWS = WindowSum(2, (2, 5, 3))

# name -> (route on a backend, shape of the source, shape of the target, a matrix for every sample)
ROUTES = {
    "gate": (
        lambda b: Gate(b.asarray(SLOPES)), (2, 5, 3), (2, 5, 3), gate_matrices(SLOPES, (2, 5, 3))
    ),
    "gate that broadcasts": (
        lambda b: Gate(b.asarray(CHANNEL_SLOPES)),
        (2, 5, 3),
        (2, 5, 3),
        gate_matrices(CHANNEL_SLOPES, (2, 5, 3)),
    ),
    "gate that is a number": (
        lambda b: Gate(0.25), (4, 3), (4, 3), of_every_sample(0.25 * np.eye(12))
    ),
    "reshape": (
        lambda b: Reshape((2, 5, 3), (30,)), (2, 5, 3), (30,), of_every_sample(np.eye(30))
    ),
    "weighted sum": (
        lambda b: WeightedSum(b.asarray(WEIGHTS)),
        (4, 3),
        (3,),
        of_every_sample(np.kron(WEIGHTS[None], np.eye(3))),
    ),
    "windows": (
        lambda b: WINDOWS, (2, 5, 3), (2, 2, 1), of_every_sample(window_matrix(2, (2, 5, 3)))
    ),
    "windows that fit": (
        lambda b: WindowSum(3, (1, 6, 3)),
        (1, 6, 3),
        (1, 2, 1),
        of_every_sample(window_matrix(3, (1, 6, 3))),
    ),
    "windows of one pixel": (
        lambda b: WindowSum(1, (2, 2, 3)), (2, 2, 3), (2, 2, 3), of_every_sample(np.eye(12))
    ),
    "winners": (
        lambda b: Winners(2, (2, 5, 3), [b.asarray(share) for share in SHARES]),
        (2, 5, 3),
        (2, 2, 1),
        [window_matrix(2, (2, 5, 3), SHARES[:, n]) for n in range(SAMPLES)],
    ),
    "graph": (
        lambda b: GRAPH, (5, 3), (5, 3), of_every_sample(per_node(GRAPH.matrix.toarray(), 3))
    ),
    "directed graph": (
        lambda b: DIRECTED, (5, 2), (5, 2), of_every_sample(per_node(DIRECTED.matrix.toarray(), 2))
    ),
    "empty chain": (lambda b: Chain(()), (4,), (4,), of_every_sample(np.eye(4))),
    # A gate before the windows: the other order would be another map.
    "chain": (
        lambda b: Chain((Gate(b.asarray(SLOPES)), WINDOWS, Reshape((2, 2, 1), (4,)))),
        (2, 5, 3),
        (4,),
        [window_matrix(2, (2, 5, 3)) @ gate for gate in gate_matrices(SLOPES, (2, 5, 3))],
    ),
}  # fmt: skip
every_route = pytest.mark.parametrize("name", ROUTES)


@every_route
@pytest.mark.parametrize("leading", [(), (1,), (4,), (2, 3)], ids=str)
def test_push_is_the_matrix(name, leading, backend):
    make, source, target, matrices = ROUTES[name]
    change = np.random.default_rng(1).normal(size=(*leading, SAMPLES, *source))
    pushed = backend.to_host(make(backend).push(backend.asarray(change)))
    assert pushed.shape == (*leading, SAMPLES, *target)
    for index in np.ndindex(*leading, SAMPLES):
        expected = matrices[index[-1]] @ change[index].reshape(-1)
        np.testing.assert_allclose(pushed[index].reshape(-1), expected, rtol=1e-12, atol=1e-13)


@every_route
def test_pull_is_the_transposed_matrix(name, backend):
    make, source, target, matrices = ROUTES[name]
    credit = np.random.default_rng(2).normal(size=(SAMPLES, *target))
    pulled = backend.to_host(make(backend).pull(backend.asarray(credit)))
    assert pulled.shape == (SAMPLES, *source)
    for n, matrix in enumerate(matrices):
        expected = matrix.T @ credit[n].reshape(-1)
        np.testing.assert_allclose(pulled[n].reshape(-1), expected, rtol=1e-12, atol=1e-13)


@every_route
def test_variances_are_those_of_independent_changes(name, backend):
    make, source, target, matrices = ROUTES[name]
    variance = np.random.default_rng(3).uniform(0.5, 2.0, size=(SAMPLES, *source))
    found = backend.to_host(make(backend).variance(backend.asarray(variance)))
    assert found.shape == (SAMPLES, *target)
    for n, matrix in enumerate(matrices):
        expected = matrix**2 @ variance[n].reshape(-1)
        np.testing.assert_allclose(found[n].reshape(-1), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("chain", WINDOWS.push),  # a gate forgotten
        ("directed graph", DIRECTED.pull),  # the transpose
        ("weighted sum", lambda x: WEIGHTS[::-1] @ x),  # time backwards
    ],
)
def test_the_matrices_tell_a_wrong_route(name, wrong):
    _, source, _, matrices = ROUTES[name]
    change = np.random.default_rng(1).normal(size=(SAMPLES, *source))
    expected = np.stack([m @ x.reshape(-1) for m, x in zip(matrices, change, strict=True)])
    assert np.abs(wrong(change).reshape(SAMPLES, -1) - expected).max() > 0.1


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_windows_know_their_target(size):
    windows = WindowSum(size, (2, 7, 4))
    assert windows.target == (2, 7 // size, 4 // size)
    assert windows.push(np.ones((1, 2, 7, 4))).shape == (1, *windows.target)
    assert windows.pull(np.ones((1, *windows.target))).shape == (1, 2, 7, 4)


def test_noise_that_is_pulled_is_the_same_all_over_a_block():
    windows = WindowSum(2, (1, 5, 5))
    noise = windows.pull(np.arange(1.0, 5.0).reshape(1, 1, 2, 2))[0, 0]
    np.testing.assert_array_equal(
        noise,
        [
            [1, 1, 2, 2, 0],
            [1, 1, 2, 2, 0],
            [3, 3, 4, 4, 0],
            [3, 3, 4, 4, 0],
            [0, 0, 0, 0, 0],
        ],
    )


@pytest.mark.parametrize("name", ["reshape", "windows", "graph", "gate that is a number"])
def test_dtypes_are_kept(name, backend):
    make, source, target, _ = ROUTES[name]
    for move, shape in ((make(backend).push, source), (make(backend).pull, target)):
        array = backend.asarray(np.ones((SAMPLES, *shape)), "float32")
        assert move(array).dtype == array.dtype
