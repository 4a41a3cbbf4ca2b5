"""Networks and their noised tails, against sample-by-sample loops."""

from __future__ import annotations

import numpy as np
import pytest
from layer_rows import (
    GRAPH,
    NUMPY,
    drive_by_loops,
    fixed_by_loops,
    on_host,
    over_time,
    respond_by_loops,
    step_by_loops,
)

from nolr.activations import identity, relu, tanh
from nolr.errors import BadInput
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
from nolr.network import Residual, Sequential
from nolr.nodes import Fork, Join
from nolr.tails import run_tails
from nolr.types import Key, Stream

NETWORKS = {
    "chain": lambda: Sequential(
        Dense(3, 4, tanh), Dense(4, 5, relu), Dense(5, 2, identity), input_shape=(3,)
    ),
    "flatten first": lambda: Sequential(Flatten(), Dense(6, 3, tanh), input_shape=(2, 3)),
    "one stage": lambda: Sequential(Dense(3, 2, identity), input_shape=(3,)),
    "residual": lambda: Sequential(
        Dense(3, 4, tanh),
        Residual(Dense(4, 6, relu), Dense(6, 4, tanh)),
        Dense(4, 2, identity),
        input_shape=(3,),
    ),
    "starts and ends with a block": lambda: Sequential(
        Residual(Dense(3, 3, tanh)), Residual(Dense(3, 3, tanh)), input_shape=(3,)
    ),
    "nested": lambda: Sequential(
        Residual(Dense(3, 4, tanh), Residual(Dense(4, 4, tanh), Flatten()), Dense(4, 3, relu)),
        Dense(3, 2, tanh),
        input_shape=(3,),
    ),
    "images": lambda: Sequential(
        Conv2D(1, 2, padding=1),
        MaxPool2D(2),
        Residual(Conv2D(2, 2, padding=1, activation=tanh)),
        AvgPool2D(2),
        Flatten(),
        Dense(2, 2, identity),
        input_shape=(1, 5, 4),
    ),
    "starts and ends with a pool": lambda: Sequential(
        AvgPool2D(2), Conv2D(2, 3, 2, activation=tanh), MaxPool2D(2), input_shape=(2, 6, 7)
    ),
    "states": lambda: Sequential(
        SimpleRNN(2, 3, last=False), Dense(3, 2, tanh), SimpleRNN(2, 2), input_shape=(4, 2)
    ),
    "spikes": lambda: Sequential(
        LIF(3, 4, 3, threshold=0.4, learn_decay=True, decay=0.6),
        Residual(LIF(4, 4, threshold=0.4)),
        MeanOverTime(),
        Dense(4, 2, identity),
        input_shape=(3,),
    ),
    "words": lambda: Sequential(
        Embedding(4, 3),
        Dense(3, 2, tanh),
        LeakyOverTime(0.7),
        Dense(2, 2, identity),
        input_shape=(3,),
    ),
    "graph": lambda: Sequential(
        GraphConv(2, 3, GRAPH), Residual(GraphConv(3, 3, GRAPH, tanh)), input_shape=(5, 2)
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)

SAMPLES, COPIES = 3, 4


def make(name, backend=NUMPY, dtype="float64"):
    network = NETWORKS[name]()
    rng = np.random.default_rng(1)
    params = tuple(
        {
            key: backend.asarray(backend.to_host(value) + 0.1 * rng.normal(size=value.shape), dtype)
            for key, value in theta.items()
        }
        for theta in network.init(2, backend, dtype)
    )
    shape = (SAMPLES, *network.input_shape)
    words = isinstance(network.nodes[0], Embedding)
    x = backend.asarray(rng.integers(0, 4, shape) if words else rng.normal(size=shape), dtype)
    noise = {
        stage: backend.asarray(0.4 * rng.normal(size=(COPIES * SAMPLES, *shape)), dtype)
        for stage, shape in enumerate(network.noise_shapes)
    }
    return network, params, x, noise


def run_by_loops(network, params, x, noises=None, seen=None):
    """One sample through the nodes, one after another.

    Args:
        noises: stage -> its noise, for one copy.
        seen: if given, (input, drive, past) of every stage is appended to it.
    """
    seen, skips = [] if seen is None else seen, []
    for node, theta in zip(network.nodes, params, strict=True):
        if isinstance(node, Fork):
            skips.append(x)
        elif isinstance(node, Join):
            x = x + skips.pop()
        elif node.trainable:
            y, past = respond_by_loops(node, theta, x, (noises or {}).get(len(seen)))
            if node.recurrent:
                inputs = over_time(node, x)
                drive = np.array([step_by_loops(node, theta, now, None) for now in inputs])
            else:
                drive = drive_by_loops(node, theta, x)
            seen.append((x, drive, past))
            x = y
        else:
            x = fixed_by_loops(node, x)
    return x


def all_on_host(params, backend):
    return [on_host(theta, backend) for theta in params]


@every_network
def test_forward_is_the_loop(name, backend):
    network, params, x, _ = make(name, backend)
    theta = all_on_host(params, backend)
    expected = [run_by_loops(network, theta, sample) for sample in backend.to_host(x)]
    got = backend.to_host(network.forward(params, x))
    assert got.shape == (SAMPLES, *network.output_shape)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)


@every_network
def test_the_clean_run_is_forward_and_remembers_every_stage(name, backend):
    network, params, x, _ = make(name, backend)
    trace = network.run_clean(params, x)
    np.testing.assert_array_equal(
        backend.to_host(trace.output), backend.to_host(network.forward(params, x))
    )
    assert len(trace.visits) == len(network.stages)
    theta = all_on_host(params, backend)
    for n, sample in enumerate(backend.to_host(x)):
        seen = []
        run_by_loops(network, theta, sample, seen=seen)
        for visit, expected in zip(trace.visits, seen, strict=True):
            found = visit.state[0], visit.drive, visit.past
            for array, by_loops in zip(found, expected, strict=True):
                if by_loops is None:
                    assert array is None
                    continue
                row = backend.to_host(array)[n]
                np.testing.assert_allclose(row, by_loops, rtol=1e-11, atol=1e-13)


@every_network
def test_the_clean_run_remembers_what_entered_every_node(name):
    network, params, x, _ = make(name)
    trace = network.run_clean(params, x)
    assert len(trace.inputs) == len(network.nodes)
    np.testing.assert_array_equal(trace.inputs[0], x)
    for index, (node, entered) in enumerate(zip(network.nodes, trace.inputs, strict=True)):
        before = network.input_shape if index == 0 else network.shapes[index - 1]
        assert entered.shape == (SAMPLES, *before)
        if isinstance(node, Fork | Join):
            continue
        left = trace.output if index + 1 == len(trace.inputs) else trace.inputs[index + 1]
        for n in range(SAMPLES):
            if node.trainable:
                expected, _ = respond_by_loops(node, params[index], entered[n])
            else:
                expected = fixed_by_loops(node, entered[n])
            np.testing.assert_allclose(left[n], expected, rtol=1e-11, atol=1e-13)


@every_network
def test_tails_with_zero_noise_end_in_the_clean_output(name, backend):
    network, params, x, noise = make(name, backend)
    trace = network.run_clean(params, x)
    silent = {stage: eps * 0 for stage, eps in noise.items()}
    stages = range(len(network.stages))
    layer_wise = [{stage: silent[stage]} for stage in stages]
    for noises in (layer_wise, [silent]):
        output = backend.to_host(run_tails(network, params, trace, noises).output)
        clean = np.concatenate([backend.to_host(trace.output)] * (COPIES * len(noises)))
        np.testing.assert_allclose(output, clean, rtol=1e-12, atol=1e-14)


def check_against_loop(network, params, x, noises):
    """Every tail's rows, and what its stages saw, against a loop over samples and copies."""
    tails = run_tails(network, params, network.run_clean(params, x), noises)
    rows = tails.output.reshape(len(noises), COPIES, SAMPLES, *network.output_shape)
    for tail, copy, n in np.ndindex(*rows.shape[:3]):
        row = copy * SAMPLES + n
        eps = {stage: array[row] for stage, array in noises[tail].items()}
        seen = []
        expected = run_by_loops(network, params, x[n], eps, seen)
        np.testing.assert_allclose(rows[tail, copy, n], expected, rtol=1e-11, atol=1e-13)
        for stage in noises[tail]:
            local, (entered, _, past) = tails.locals[stage], seen[stage]
            first = stage == min(noises[tail])
            assert local.x.shape[0] == (SAMPLES if first else COPIES * SAMPLES)
            np.testing.assert_allclose(
                local.x[n if first else row], entered, rtol=1e-11, atol=1e-13
            )
            if past is not None:  # a past always has a row for every copy
                np.testing.assert_allclose(local.past[row], past, rtol=1e-11, atol=1e-13)


@every_network
def test_tails_of_single_stages_ride_together(name):
    network, params, x, noise = make(name)
    check_against_loop(network, params, x, [{stage: eps} for stage, eps in noise.items()])


@every_network
def test_noise_in_all_stages_at_once(name):
    network, params, x, noise = make(name)
    check_against_loop(network, params, x, [noise])


@pytest.mark.parametrize("split", [([0, 2], [1, 3]), ([0, 3], [1, 2]), ([1], [2, 3]), ([2],)])
def test_noise_in_some_stages(split):
    network, params, x, noise = make("nested")
    check_against_loop(network, params, x, [{s: noise[s] for s in tail} for tail in split])


@every_network
def test_riding_together_is_riding_alone(name, backend):
    network, params, x, noise = make(name, backend)
    trace = network.run_clean(params, x)
    noises = [{stage: eps} for stage, eps in noise.items()]
    together = backend.to_host(run_tails(network, params, trace, noises).output)
    alone = [backend.to_host(run_tails(network, params, trace, [n]).output) for n in noises]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-12, atol=1e-14)
    # A control: the tails are not all the same thing.
    if len(alone) > 1:
        assert np.abs(alone[0] - alone[1]).max() > 0.01


def test_tails_may_have_different_numbers_of_copies():
    network, params, x, noise = make("residual")
    trace = network.run_clean(params, x)
    noises = [{0: noise[0][:SAMPLES]}, {1: noise[1]}, {2: noise[2][: 2 * SAMPLES], 3: noise[3][:6]}]
    together = run_tails(network, params, trace, noises).output
    alone = [run_tails(network, params, trace, [n]).output for n in noises]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-13)


def test_a_tail_leaves_the_clean_run_alone():
    network, params, x, noise = make("residual")
    trace = network.run_clean(params, x)
    kept = [visit.drive.copy() for visit in trace.visits]
    run_tails(network, params, trace, [{s: e} for s, e in noise.items()])
    for visit, drive in zip(trace.visits, kept, strict=True):
        np.testing.assert_array_equal(visit.drive, drive)


@every_network
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_backends_agree(name, other_backend, dtype, tolerance):
    found = []
    for backend in (NUMPY, other_backend):
        network, params, x, noise = make(name, backend, dtype)
        trace = network.run_clean(params, x)
        tails = run_tails(network, params, trace, [{s: e} for s, e in noise.items()])
        found.append([backend.to_host(array) for array in (trace.output, tails.output)])
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)


# --- shapes, names and errors ---------------------------------------------------------------------


def test_shapes_are_found_without_running():
    network = NETWORKS["residual"]()
    assert network.noise_shapes == ((4,), (6,), (4,), (2,))
    assert network.output_shape == (2,)
    assert network.stages == (0, 2, 3, 5)  # nodes 1 and 4 are the fork and the join
    assert [network.layer(stage).outputs for stage in range(4)] == [4, 6, 4, 2]


def test_initial_parameters_are_the_same_on_every_backend(other_backend):
    network = NETWORKS["residual"]()
    ours = network.init(5, NUMPY)
    for theta, other in zip(ours, network.init(5, other_backend), strict=True):
        for name, array in theta.items():
            np.testing.assert_array_equal(array, other_backend.to_host(other[name]))
    assert ours[0]["W"].dtype == np.float32


def test_initial_parameters_of_equal_layers_differ():
    params = NETWORKS["starts and ends with a block"]().init(0, NUMPY)
    first, second = [theta["W"] for theta in params if theta]
    assert (first != second).all()
    np.testing.assert_array_equal(
        first, Dense(3, 3, tanh).init(Key(0, Stream.INIT, stage=1))["W"].astype("float32")
    )


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match=r"Dense\(5, 2\) expected samples of shape \(5,\), got \(4"):
        Sequential(Dense(3, 4), Dense(5, 2), input_shape=(3,))


def test_a_block_that_changes_the_shape_is_refused():
    with pytest.raises(BadInput, match=r"must keep the shape.*adds \(3,\) to \(4,\)"):
        Sequential(Residual(Dense(3, 4)), Dense(4, 2), input_shape=(3,))


def test_a_network_without_parameters_is_refused():
    with pytest.raises(BadInput, match="at least one layer with parameters"):
        Sequential(Flatten(), input_shape=(2, 2))


@pytest.mark.parametrize("shape", [(3, 4), (3,), (3, 3, 1), (0, 3)])
def test_a_batch_that_does_not_fit_is_refused(shape):
    network, params, _, _ = make("chain")
    for run in (network.forward, network.run_clean):
        with pytest.raises(BadInput, match="batch of shape"):
            run(params, np.zeros(shape))


def test_inputs_of_another_backend_are_refused(other_backend):
    network, params, x, _ = make("chain")
    with pytest.raises(BadInput, match=r"x is an array of .* but parameters"):
        network.forward(params, other_backend.asarray(x))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_inputs_take_the_dtype_of_the_parameters(backend, dtype):
    network, params, _, _ = make("chain", backend, "float32")
    x = backend.asarray(np.array([[0, 1, 2], [3, 0, 1]]).astype(dtype))
    output = network.forward(params, x)
    assert output.dtype == backend.xp.float32
    expected = network.forward(params, backend.asarray([[0, 1, 2], [3, 0, 1]], "float32"))
    np.testing.assert_array_equal(backend.to_host(output), backend.to_host(expected))


def test_networks_cannot_be_changed():
    network = NETWORKS["chain"]()
    with pytest.raises(AttributeError):
        network.nodes = ()
