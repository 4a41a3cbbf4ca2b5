"""Reach: sums of losses against loops, and what noise really reaches in networks.

A reach that is too large costs variance. One that is too small costs the gradient: it is biased.
"""

from __future__ import annotations

import numpy as np
import pytest
from layer_rows import DIRECTED, GRAPH, NUMPY
from scipy.sparse import csr_array

from nolr.activations import Identity, Tanh, identity
from nolr.graphs import GraphOperator, normalized_adjacency
from nolr.layers import (
    LIF,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    LeakyOverTime,
    MeanOverTime,
    SimpleRNN,
)
from nolr.network import Residual, Sequential
from nolr.reach import Everywhere, Later, Neighbours, Same
from nolr.tails import run_tails

NODES = 5
# Two ways of opposite sign lead from node 0 to node 3. What they carry cancels, unless there is a
# function in between: 1 · 1 - 2 · 0.5 = 0.
CANCELLING = GraphOperator(
    csr_array(np.array([[0, 0, 0, 0], [1.0, 0, 0, 0], [2.0, 0, 0, 0], [0, 1.0, -0.5, 0]]))
)


def path(nodes):
    """A graph like a string of beads."""
    edges = np.diag(np.ones(nodes - 1), 1)
    return normalized_adjacency(csr_array(edges + edges.T))


REACHES = {
    "same": (Same(), lambda loss, j: [loss[j]]),
    "later": (Later(), lambda loss, j: loss[j:]),
    "neighbours": (
        Neighbours(DIRECTED),
        lambda loss, j: [loss[i] for i in range(NODES) if DIRECTED.matrix.toarray()[i, j] != 0],
    ),
    "symmetric neighbours": (
        Neighbours(GRAPH),
        lambda loss, j: [loss[i] for i in range(NODES) if GRAPH.matrix.toarray()[i, j] != 0],
    ),
}


def claimed(reach, positions):
    """(positions of the output, positions of the noise or 1): what the reach lets through."""
    return np.asarray(reach.gather(np.eye(positions)))


# --- sums of losses -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REACHES)
@pytest.mark.parametrize("leading", [(), (2,), (3, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gather_sums_the_losses_that_a_position_reaches(name, leading, dtype, backend):
    reach, reached = REACHES[name]
    losses = np.random.default_rng(0).normal(size=(*leading, NODES)).astype(dtype)
    found = reach.gather(backend.asarray(losses))
    assert tuple(found.shape) == losses.shape
    got = backend.to_host(found)
    assert got.dtype == dtype
    for index in np.ndindex(*leading):
        expected = [sum(reached(losses[index], j)) for j in range(NODES)]
        np.testing.assert_allclose(got[index], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("leading", [(), (2,), (3, 2)], ids=str)
def test_everywhere_is_one_sum_for_all_positions(leading, backend):
    losses = np.random.default_rng(0).normal(size=(*leading, NODES))
    found = backend.to_host(Everywhere().gather(backend.asarray(losses)))
    assert found.shape == (*leading, 1)
    np.testing.assert_allclose(found[..., 0], losses.sum(axis=-1), rtol=1e-12)


def test_a_neighbour_counts_once_however_many_ways_lead_there():
    two_steps = Neighbours(GRAPH).then(Neighbours(GRAPH))
    ways = np.linalg.matrix_power((GRAPH.matrix.toarray() > 0).astype(int), 2)
    assert ways.max() > 1
    np.testing.assert_array_equal(claimed(two_steps, NODES), ways > 0)


# --- one link after another -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "later", "kind"),
    [
        *((Same(), reach, type(reach)) for reach in (Same(), Later(), Everywhere())),
        (Same(), Neighbours(DIRECTED), Neighbours),
        (Later(), Same(), Later),
        (Later(), Later(), Later),
        (Later(), Everywhere(), Everywhere),
        (Later(), Neighbours(DIRECTED), Everywhere),
        *(
            (Everywhere(), r, Everywhere)
            for r in (Same(), Later(), Everywhere(), Neighbours(GRAPH))
        ),
        (Neighbours(GRAPH), Same(), Neighbours),
        (Neighbours(GRAPH), Neighbours(DIRECTED), Neighbours),
        (Neighbours(GRAPH), Later(), Everywhere),
        (Neighbours(GRAPH), Everywhere(), Everywhere),
    ],
    ids=lambda part: type(part).__name__ if not isinstance(part, type) else part.__name__,
)
def test_reach_through_two_links(first, later, kind):
    both = first.then(later)
    assert isinstance(both, kind)
    if kind is not Everywhere:
        # Link by link, by Boolean matrices: all that their ways lead to, and no more.
        ways = claimed(later, NODES) @ claimed(first, NODES)
        np.testing.assert_array_equal(claimed(both, NODES), ways > 0)


def test_the_order_of_two_graphs_matters():
    there = claimed(Neighbours(GRAPH).then(Neighbours(DIRECTED)), NODES)
    back = claimed(Neighbours(DIRECTED).then(Neighbours(GRAPH)), NODES)
    assert (there != back).any()


def test_ways_that_cancel_are_ways_all_the_same():
    reach = Neighbours(CANCELLING).then(Neighbours(CANCELLING))
    assert claimed(reach, 4)[3, 0] == 1


def test_positions_that_are_alike_are_mixed_by_the_product_of_the_graphs():
    both = Neighbours(GRAPH).then(Neighbours(DIRECTED))
    expected = DIRECTED.matrix.toarray() @ GRAPH.matrix.toarray()
    np.testing.assert_allclose(both.mixing.push(np.eye(NODES)), expected, rtol=1e-12)
    x = np.random.default_rng(0).normal(size=(NODES, 2))
    np.testing.assert_array_equal(Same().mixing.push(x), x)
    assert Later().mixing is None
    assert Everywhere().mixing is None


# --- what noise really reaches --------------------------------------------------------------------

STEPS, SAMPLES = 4, 60


def gcn(layers, operator, *, last=identity):
    """A graph convolution network of a few units."""
    inner = [GraphConv(2, 2, operator, Tanh()) for _ in range(layers - 1)]
    return Sequential(*inner, GraphConv(2, 2, operator, last), input_shape=(operator.nodes, 2))


NETWORKS = {
    "dense over time": lambda: Sequential(
        Dense(2, 3, Tanh()), Dense(3, 2, Identity()), input_shape=(STEPS, 2)
    ),
    "spikes": lambda: Sequential(LIF(2, 3, threshold=0.5), input_shape=(STEPS, 2)),
    "spikes into spikes": lambda: Sequential(
        LIF(2, 3, threshold=0.5),
        LIF(3, 3, threshold=0.5, reset="subtract"),
        Dense(3, 2, Identity()),
        input_shape=(STEPS, 2),
    ),
    "dense before a neuron": lambda: Sequential(
        Dense(2, 3, Tanh()), LIF(3, 3, threshold=0.5), input_shape=(STEPS, 2)
    ),
    "spikes, read at the end": lambda: Sequential(
        LIF(2, 3, threshold=0.5),
        MeanOverTime(),
        Dense(3, 2, Identity()),
        input_shape=(STEPS, 2),
    ),
    # Here one change of a constant input is felt in all steps, from the first one on.
    "constant input": lambda: Sequential(
        Dense(2, 4, Tanh()), LIF(4, 3, STEPS, threshold=0.5), input_shape=(2,)
    ),
    "states": lambda: Sequential(
        SimpleRNN(2, 3, last=False), Dense(3, 2, Identity()), input_shape=(STEPS, 2)
    ),
    "states of states": lambda: Sequential(
        SimpleRNN(2, 3, last=False), SimpleRNN(3, 2, last=False), input_shape=(STEPS, 2)
    ),
    "the last state": lambda: Sequential(
        Dense(2, 2, Tanh()), SimpleRNN(2, 3), Dense(3, 2, Identity()), input_shape=(STEPS, 2)
    ),
    "words": lambda: Sequential(
        Embedding(4, 2),
        SimpleRNN(2, 3, last=False),
        Dense(3, 2, Identity()),
        input_shape=(STEPS,),
    ),
    "words, forgotten slowly": lambda: Sequential(
        Embedding(4, 2), LeakyOverTime(0.5), Dense(2, 2, Tanh()), input_shape=(STEPS,)
    ),
    "an image": lambda: Sequential(
        Conv2D(1, 2), Flatten(), Dense(8, 2, Tanh()), input_shape=(1, 4, 4)
    ),
    "one graph layer": lambda: gcn(1, path(6), last=Tanh()),
    "two graph layers": lambda: gcn(2, path(6)),
    "three graph layers": lambda: gcn(3, path(6)),
    "three directed graph layers": lambda: gcn(3, DIRECTED),
    "graph and dense": lambda: Sequential(
        GraphConv(2, 3, path(5), Tanh()),
        Dense(3, 3, Tanh()),
        GraphConv(3, 2, path(5), Identity()),
        input_shape=(5, 2),
    ),
    "graph around a skip": lambda: Sequential(
        GraphConv(2, 2, path(5), Tanh()),
        Residual(GraphConv(2, 2, path(5), Tanh())),
        GraphConv(2, 2, path(5), Identity()),
        input_shape=(5, 2),
    ),
    # An operator without its own node: only the skip connection leads there.
    "directed graph around a skip": lambda: Sequential(
        Dense(2, 2, Tanh()),
        Residual(GraphConv(2, 2, DIRECTED, Tanh())),
        input_shape=(5, 2),
    ),
    "ways that cancel": lambda: gcn(3, CANCELLING),
}


def changed_positions(network, stage):
    """(positions of the output, positions of the noise): what one position's noise changes.

    Noise of one neuron layer (units,) is one position; an output without positions is one too.
    """
    rng = np.random.default_rng(3)
    params = network.init(1, NUMPY, "float64")
    if isinstance(network.nodes[0], Embedding):
        x = rng.integers(0, 4, (SAMPLES, *network.input_shape)).astype(float)
    else:
        x = rng.normal(size=(SAMPLES, *network.input_shape))
    trace = network.run_clean(params, x)
    shape = network.noise_shapes[stage]
    noise = 0.5 * rng.normal(size=(SAMPLES, *shape))
    before = run_tails(network, params, trace, [{stage: noise}]).output
    spots = [()] if len(shape) != 2 else [(position,) for position in range(shape[0])]
    columns = []
    for spot in spots:
        moved = noise.copy()
        moved[(slice(None), *spot)] += rng.normal(size=moved[(slice(None), *spot)].shape)
        after = run_tails(network, params, trace, [{stage: moved}]).output
        changed = (after != before).reshape(SAMPLES, *network.output_shape[:-1], -1)
        columns.append(np.atleast_1d(changed.any(axis=(0, -1))))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", NETWORKS)
def test_noise_changes_what_it_reaches_and_nothing_else(name):
    network = NETWORKS[name]()
    for stage, reach in enumerate(network.reaches):
        found = changed_positions(network, stage)
        reached = claimed(reach, len(found))
        # One column for every position of the noise, or one for all: the estimator relies on it.
        assert reached.shape[1] in (1, found.shape[1]), f"stage {stage}"
        reached = np.broadcast_to(reached, found.shape) > 0
        assert (reached | ~found).all(), f"stage {stage}: too small\n{found.astype(int)}"
        if not isinstance(reach, Everywhere):  # which is a bound, and always right
            np.testing.assert_array_equal(reached, found, err_msg=f"stage {stage}: too large")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("spikes", Same()),
        ("states", Same()),
        ("dense before a neuron", Same()),
        ("two graph layers", Same()),
        ("three graph layers", Neighbours(path(6))),
        ("three directed graph layers", Neighbours(DIRECTED)),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_reach_that_is_too_small_is_found(name, wrong):
    # The negative control of the test above.
    found = changed_positions(NETWORKS[name](), 0)
    assert (found & (claimed(wrong, len(found)) == 0)).any()


def test_there_are_networks_of_every_reach():
    kinds = {type(reach) for make in NETWORKS.values() for reach in make().reaches}
    assert kinds == {Same, Later, Everywhere, Neighbours}
