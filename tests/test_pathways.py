"""Pathways: what the network alone decides of a stage's credit, and that nothing of it is wrong.

Where everything behind a stage is linear, a pathway and its learned Jacobian leave nothing out:
they foresee the change of the output exactly, and the credit is the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
import reference
from layer_rows import DIRECTED, GRAPH, NUMPY

from nolr.activations import Tanh, identity
from nolr.estimation import JacobianControlVariate, LikelihoodRatio
from nolr.layers import (
    LIF,
    AvgPool2D,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    LeakyOverTime,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
)
from nolr.losses import CrossEntropy
from nolr.network import Residual, Sequential
from nolr.noise import Gaussian
from nolr.tails import run_tails
from nolr.types import Key


def conv(inputs, outputs):
    return Conv2D(inputs, outputs, padding=1)


RESNET = Sequential(
    conv(3, 8),
    conv(8, 16),
    MaxPool2D(2),
    conv(16, 32),
    Residual(conv(32, 32)),
    MaxPool2D(4),
    Flatten(),
    Dense(512, 10, identity),
    input_shape=(3, 32, 32),
)


# --- what lies behind a stage ---------------------------------------------------------------------


def facts(pathway):
    """What there is to know of a pathway."""
    return {
        "followers": [(index, type(node).__name__) for index, node in pathway.followers],
        "source": pathway.source,
        "pooled": pathway.pooled,
        "probe": pathway.probe,
        "tie": pathway.tie,
        "target": pathway.target,
        "units": pathway.units,
        "complete": pathway.complete,
    }


# Nodes: 0 and 1 convolutions, 2 pool, 3 convolution, 4 fork, 5 convolution, 6 join, 7 pool,
# 8 flatten, 9 dense. Pooling takes together 2 · 4 lines of what node 1 returns, and 4 of node 3's.
OF_RESNET = [
    {
        "followers": [],  # its own pooling ends at the next stage
        "source": (8, 32, 32),
        "pooled": (8, 32, 32),
        "probe": 8,
        "tie": 8,
        "target": (8, 4, 4),
        "units": 128,
        "complete": False,
    },
    {
        "followers": [(2, "MaxPool2D")],
        "source": (16, 32, 32),
        "pooled": (16, 16, 16),
        "probe": 8,
        "tie": 4,
        "target": (16, 4, 4),
        "units": 256,
        "complete": False,
    },
    {
        "followers": [],  # the fork ends it: the skip goes another way
        "source": (32, 16, 16),
        "pooled": (32, 16, 16),
        "probe": 4,
        "tie": 4,
        "target": (32, 4, 4),
        "units": 512,
        "complete": False,
    },
    {
        "followers": [(7, "MaxPool2D"), (8, "Flatten")],  # past the join
        "source": (32, 16, 16),
        "pooled": (512,),
        "probe": 4,
        "tie": 1,
        "target": (512,),
        "units": 512,
        "complete": False,
    },
    {
        "followers": [],
        "source": (10,),
        "pooled": (10,),
        "probe": 1,
        "tie": 1,
        "target": (10,),
        "units": 10,
        "complete": True,
    },
]


@pytest.mark.parametrize("stage", range(5))
def test_pathways_of_a_residual_network(stage):
    assert len(RESNET.pathways) == 5
    assert facts(RESNET.pathways[stage]) == OF_RESNET[stage]
    assert RESNET.pathways[stage].mixing is None


def test_images_of_odd_size_leave_their_edge_out():
    # 28 -> 14 -> 7 -> 3: the last pool leaves a line out, and so do the blocks before it.
    network = Sequential(
        conv(1, 4),
        MaxPool2D(2),
        conv(4, 4),
        MaxPool2D(2),
        conv(4, 5),
        MaxPool2D(2),
        Flatten(),
        Dense(45, 10, identity),
        input_shape=(1, 28, 28),
    )
    first, second, third, last = network.pathways
    assert (first.probe, first.tie, first.target) == (8, 4, (4, 3, 3))
    assert (second.probe, second.tie, second.target) == (4, 2, (4, 3, 3))
    assert (third.probe, third.tie, third.target) == (2, 1, (45,))
    assert (last.probe, last.tie, last.target) == (1, 1, (10,))
    assert [p.blocks.target if p.blocks else None for p in network.pathways] == [
        (4, 3, 3),
        (4, 3, 3),
        (5, 3, 3),
        None,
    ]


def test_images_that_are_not_square_keep_units_to_learn_from():
    # 7 × 4 -> 3 × 2 -> 1 × 1: what counts as one in the height, 6 lines, is more than the width.
    network = Sequential(
        conv(1, 3), conv(3, 3), MaxPool2D(2), MaxPool2D(2), Flatten(), Dense(3, 2, identity),
        input_shape=(1, 7, 4),
    )  # fmt: skip
    for pathway in network.pathways:
        assert pathway.units > 0, facts(pathway)
        assert pathway.blocks is None or prod(pathway.blocks.target) > 0, facts(pathway)


@pytest.mark.parametrize(
    ("layers", "input_shape", "complete"),
    [
        ((Dense(2, 2), Dense(2, 2)), (2,), (False, True)),
        ((Dense(2, 2), Residual(Dense(2, 2))), (2,), (False, True)),
        ((Residual(Dense(2, 2), Dense(2, 2)),), (2,), (False, True)),
        # A join behind the fork of its own body alone: what it adds does not depend on the stage.
        ((Dense(2, 2), Residual(Residual(Dense(2, 2)))), (2,), (False, True)),
        ((Conv2D(1, 2), MaxPool2D(2), Flatten()), (1, 6, 6), (True,)),
        ((Embedding(4, 2), MeanOverTime()), (3,), (True,)),
        ((Embedding(4, 2), LeakyOverTime(0.5), Dense(2, 2)), (3,), (False, True)),
        # The noise of a recurrent stage is felt in later steps too.
        ((LIF(2, 2), MeanOverTime()), (3, 2), (False,)),
        ((SimpleRNN(2, 2),), (3, 2), (False,)),
        ((GraphConv(2, 2, GRAPH), GraphConv(2, 2, GRAPH)), (5, 2), (False, True)),
    ],
)
def test_a_pathway_is_complete_where_it_leads_to_the_output(layers, input_shape, complete):
    network = Sequential(*layers, input_shape=input_shape)
    assert tuple(pathway.complete for pathway in network.pathways) == complete


def test_the_jacobian_of_a_recurrent_stage_is_learned_at_its_noise():
    network = Sequential(
        SimpleRNN(2, 3, last=False), LIF(3, 4), MeanOverTime(), Dense(4, 2), input_shape=(5, 2)
    )
    rnn, lif, dense = network.pathways
    assert (rnn.followers, rnn.target, rnn.units) == ((), (5, 3), 15)
    assert (lif.followers, lif.target, lif.units) == ((), (5, 4), 20)
    assert dense.target == (2,)


def test_positions_that_are_alike_share_a_jacobian():
    network = Sequential(
        GraphConv(2, 3, GRAPH), GraphConv(3, 4, GRAPH), GraphConv(4, 2, GRAPH), input_shape=(5, 2)
    )
    dense = GRAPH.matrix.toarray()
    for pathway, power, units in zip(network.pathways, (2, 1, 0), (3, 4, 2), strict=True):
        assert pathway.units == units  # of one node, not of five
        found = pathway.mixing.push(np.eye(5))
        np.testing.assert_allclose(found, np.linalg.matrix_power(dense, power), atol=1e-14)
    # A step is not like another step, and without positions there is nothing to share.
    steps = Sequential(Dense(2, 3), SimpleRNN(3, 2, last=False), input_shape=(5, 2))
    assert [p.mixing for p in steps.pathways] == [None, None]
    assert steps.pathways[0].units == 15
    read_out = Sequential(Dense(2, 3), MeanOverTime(), Dense(3, 2), input_shape=(5, 2))
    assert [p.mixing for p in read_out.pathways] == [None, None]


# --- routes along a pathway -----------------------------------------------------------------------


def small_resnet():
    """All kinds of followers, blocks that do not fit, a skip."""
    return Sequential(
        Conv2D(1, 2, padding=1, activation=Tanh()),
        Conv2D(2, 2, padding=1, activation=Tanh()),
        MaxPool2D(2),
        Residual(Conv2D(2, 2, padding=1, activation=Tanh())),
        AvgPool2D(2),
        Flatten(),
        Dense(2, 2, identity),
        input_shape=(1, 7, 6),
    )


ROUTED = {
    "images": small_resnet,
    "graphs": lambda: Sequential(
        GraphConv(2, 3, DIRECTED, Tanh()), GraphConv(3, 2, GRAPH, identity), input_shape=(5, 2)
    ),
    "spikes": lambda: Sequential(
        LIF(2, 3), MeanOverTime(), Dense(3, 2, identity), input_shape=(4, 2)
    ),
    "words": lambda: Sequential(
        Embedding(4, 3), LeakyOverTime(0.5), Dense(3, 2, Tanh()), input_shape=(4,)
    ),
}


@pytest.mark.parametrize("name", ROUTED)
def test_pulling_along_a_pathway_is_the_transpose_of_pushing(name):
    network, rng = ROUTED[name](), np.random.default_rng(0)
    params = network.init(0, NUMPY, "float64")
    x = np.abs(rng.normal(size=(3, *network.input_shape)))
    inputs = network.run_clean(params, np.floor(x) if name == "words" else x).inputs
    for pathway in network.pathways:
        route = pathway.route(rng.normal(size=(3, *pathway.source)), inputs)
        noise = rng.normal(size=(2, 3, *pathway.source))
        credit = rng.normal(size=(3, *pathway.target))
        pushed, pulled = route.push(noise), route.pull(credit)
        assert pushed.shape == (2, *credit.shape)
        assert pulled.shape == (3, *pathway.source)
        ours = (pushed * credit).reshape(2, 3, -1).sum(axis=2)
        theirs = (noise * pulled).reshape(2, 3, -1).sum(axis=2)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def test_a_pathway_goes_by_the_inputs_of_its_own_followers():
    network, rng = small_resnet(), np.random.default_rng(0)
    params = network.init(0, NUMPY, "float64")
    inputs = network.run_clean(params, rng.normal(size=(3, 1, 7, 6))).inputs
    pathway = network.pathways[1]
    ((pool, _),) = pathway.followers
    assert inputs[pool].shape[1:] == (2, 7, 6)
    noise = rng.normal(size=(3, 2, 7, 6))
    gate = np.ones_like(noise)
    found = pathway.route(gate, inputs).push(noise)
    winners = np.zeros((3, *pathway.pooled))
    for n, c, i, j in np.ndindex(*winners.shape):
        window = inputs[pool][n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        k, m = np.unravel_index(window.argmax(), (2, 2))
        winners[n, c, i, j] = noise[n, c, 2 * i + k, 2 * j + m]
    # Of the three lines behind the pool two are pooled again: they make one block.
    assert (pathway.tie, pathway.target) == (2, (2, 1, 1))
    together = winners[:, :, :2, :2].sum(axis=(2, 3))
    np.testing.assert_allclose(found[..., 0, 0], together, rtol=1e-12)
    # A negative control: the winners of another sample.
    astray = pathway.route(gate, [np.roll(array, 1, axis=0) for array in inputs]).push(noise)
    assert np.abs(astray - found).max() > 0.1


# --- nothing left out: linear tails ---------------------------------------------------------------


@dataclass(frozen=True)
class Orthogonal:
    """Draws with the second moments of white noise in every sample: regressions are exact."""

    signs = (1.0, -1.0)

    def draw(self, backend, key, groups, shape, dtype):
        samples, *units = shape
        rows = (
            np.sqrt(groups)
            * np.linalg.qr(np.random.default_rng(key.stage).normal(size=(groups, prod(units))))[0]
        )
        rows = np.broadcast_to(rows[:, None, :], (groups, samples, prod(units)))
        return np.ascontiguousarray(rows).reshape(groups, *shape)


def linear_conv(inputs, outputs, kernel=1):
    return Conv2D(inputs, outputs, kernel, activation=identity)


# Linear behind every stage; winners of pools do not change under so little noise.
LINEAR = {
    "dense": lambda: Sequential(
        Dense(3, 4, identity), Dense(4, 5, identity), Dense(5, 2, identity), input_shape=(3,)
    ),
    "residual": lambda: Sequential(
        Dense(3, 4, identity),
        Residual(Dense(4, 3, identity), Dense(3, 4, identity)),
        Dense(4, 2, identity),
        input_shape=(3,),
    ),
    "max pool": lambda: Sequential(
        linear_conv(1, 2, 3), MaxPool2D(2), Flatten(), Dense(8, 2, identity), input_shape=(1, 7, 7)
    ),
    # Pixels of a block count alike where later pooling averages over them: pointwise convolutions.
    "average pool": lambda: Sequential(
        linear_conv(1, 2),
        linear_conv(2, 2),
        AvgPool2D(2),
        linear_conv(2, 2),
        AvgPool2D(2),
        Flatten(),
        Dense(2, 2, identity),
        input_shape=(1, 5, 5),
    ),
    "graph": lambda: Sequential(
        GraphConv(2, 3, GRAPH, identity),
        GraphConv(3, 3, DIRECTED, identity),
        GraphConv(3, 2, GRAPH, identity),
        input_shape=(5, 2),
    ),
    "graph and dense": lambda: Sequential(
        GraphConv(2, 3, GRAPH, identity),
        Dense(3, 3, identity),
        GraphConv(3, 2, DIRECTED, identity),
        input_shape=(5, 2),
    ),
    "dense over time": lambda: Sequential(
        Dense(2, 3, identity), Dense(3, 2, identity), input_shape=(3, 2)
    ),
    "states": lambda: Sequential(
        Dense(2, 2, identity),
        SimpleRNN(2, 3, identity, last=False),
        Dense(3, 2, identity),
        input_shape=(3, 2),
    ),
    "words": lambda: Sequential(
        Embedding(4, 3),
        Dense(3, 2, identity),
        LeakyOverTime(0.6),
        Dense(2, 2, identity),
        input_shape=(3,),
    ),
}  # fmt: skip


def make_linear(name, probe="white"):
    """A network, a batch, an estimator of learned feedback alone that has seen every unit once."""
    network, rng = LINEAR[name](), np.random.default_rng(5)
    params = tuple(
        {key: array + 0.1 * rng.normal(size=array.shape) for key, array in theta.items()}
        for theta in network.init(2, NUMPY, "float64")
    )
    shape = (4, *network.input_shape)
    words = isinstance(network.nodes[0], Embedding)
    x = rng.integers(0, 4, shape).astype(float) if words else rng.normal(size=shape)
    batch = x, rng.integers(0, 2, (4, *network.output_shape[:-1]))
    units = max(prod(shape) for shape in network.noise_shapes)
    method = LikelihoodRatio(
        Gaussian(1e-4),
        copies=2 * units,
        sampler=Orthogonal(),
        control_variate=JacobianControlVariate(residual=0, ridge=0.0, probe=probe),
        block_bytes=1 << 30,
    )
    loss = CrossEntropy()
    state = method.init(network, params, loss)
    for step in range(3):  # the Jacobian first, then β
        estimate, state = method(network, params, batch, loss, Key(0, step=step), state)
    return network, params, batch, method, estimate, state


@pytest.mark.parametrize("name", LINEAR)
def test_the_regression_finds_the_whole_jacobian_of_a_linear_tail(name):
    network, params, (x, _), method, _, state = make_linear(name)
    trace = network.run_clean(params, x)
    for stage, (pathway, visit) in enumerate(zip(network.pathways, trace.visits, strict=True)):
        if pathway.complete:
            continue  # nothing to learn
        jacobian = method.control_variate.jacobian(state.evidence[stage])
        gate = network.layer(stage).gate(visit.drive, visit.past, 1e-4)
        noise = 1e-4 * np.random.default_rng(stage).normal(size=(4, *pathway.source))
        moved = pathway.route(gate, trace.inputs).push(noise).reshape(-1, jacobian.shape[1])
        foreseen = (moved @ jacobian.T).reshape(trace.output.shape)
        change = run_tails(network, params, trace, [{stage: noise}]).output - trace.output
        np.testing.assert_allclose(foreseen, change, atol=1e-10, err_msg=f"stage {stage}")
        assert np.abs(change).max() > 1e-6
        assert method.control_variate.beta(state.evidence[stage]) == pytest.approx(1, abs=1e-6)


def clean_gradient(network, params, x, target):
    def mean_loss(moved):
        losses = CrossEntropy()(network.forward(moved, x), target)
        return float(losses.sum() / len(x))

    return reference.parameter_gradient(mean_loss, params, network.stages)


@pytest.mark.parametrize("name", LINEAR)
def test_the_credit_of_a_linear_tail_is_the_gradient(name):
    network, params, batch, _, estimate, _ = make_linear(name)
    for node, expected in zip(network.stages, clean_gradient(network, params, *batch), strict=True):
        for key, array in expected.items():
            found = estimate.grads[node][key]
            np.testing.assert_allclose(found, array, atol=1e-6, err_msg=f"node {node}, {key}")
            assert np.abs(array).max() > 0.01


@pytest.mark.parametrize("name", ["max pool", "average pool"])
def test_probes_in_blocks_find_it_too(name):
    network, params, batch, _, estimate, _ = make_linear(name, probe="block")
    assert network.pathways[0].blocks is not None
    for node, expected in zip(network.stages, clean_gradient(network, params, *batch), strict=True):
        for key, array in expected.items():
            np.testing.assert_allclose(estimate.grads[node][key], array, atol=1e-6)


@dataclass(frozen=True)
class Astray(MaxPool2D):
    """A pool whose route is made at the input of another sample."""

    def route(self, x):
        return super().route(np.roll(x, 1, axis=0))


def test_a_pathway_of_other_winners_is_no_gradient():
    # The negative control of the credit: everything else is as in "max pool".
    network, params, batch, method, _, state = make_linear("max pool")
    astray = Sequential(
        linear_conv(1, 2, 3), Astray(2), Flatten(), Dense(8, 2, identity), input_shape=(1, 7, 7)
    )
    estimate, _ = method(astray, params, batch, CrossEntropy(), Key(0), state)
    right, *_ = clean_gradient(network, params, *batch)
    assert np.abs(estimate.grads[0]["W"] - right["W"]).max() > 0.01
