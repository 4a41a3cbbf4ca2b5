"""Networks and their noised tails, against sample-by-sample loops."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from nolr.activations import identity, relu, tanh
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.layers import Dense, Flatten
from nolr.network import Residual, Sequential
from nolr.tails import run_tails
from nolr.types import Key, Stream

NUMPY = get_backend("numpy")

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
    x = backend.asarray(rng.normal(size=(SAMPLES, *network.input_shape)), dtype)
    noise = {
        stage: backend.asarray(0.4 * rng.normal(size=(COPIES * SAMPLES, *shape)), dtype)
        for stage, shape in enumerate(network.noise_shapes)
    }
    return network, params, x, noise


def on_host(params, backend):
    return [{name: backend.to_host(array) for name, array in theta.items()} for theta in params]


@every_network
def test_forward_is_the_loop(name, backend):
    network, params, x, _ = make(name, backend)
    links = reference.links_of(network, on_host(params, backend))
    expected = [reference.run(links, sample) for sample in backend.to_host(x)]
    got = backend.to_host(network.forward(params, x))
    assert got.shape == (SAMPLES, *network.output_shape)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@every_network
def test_the_clean_run_is_forward_and_remembers_every_stage(name, backend):
    network, params, x, _ = make(name, backend)
    trace = network.run_clean(params, x)
    np.testing.assert_array_equal(
        backend.to_host(trace.output), backend.to_host(network.forward(params, x))
    )
    assert len(trace.visits) == len(network.stages)
    links = reference.links_of(network, on_host(params, backend))
    for n, sample in enumerate(backend.to_host(x)):
        inputs = []
        reference.run(links, sample, visited=inputs)
        for visit, expected, link in zip(
            trace.visits, inputs, reference.stages_of(links), strict=True
        ):
            np.testing.assert_allclose(backend.to_host(visit.state[0])[n], expected, rtol=1e-12)
            drive = reference.dense(link[1], link[2], lambda z: z, expected)
            np.testing.assert_allclose(backend.to_host(visit.drive)[n], drive, rtol=1e-12)
            assert visit.past is None


@every_network
def test_tails_with_zero_noise_end_in_the_clean_output(name, backend):
    network, params, x, noise = make(name, backend)
    trace = network.run_clean(params, x)
    silent = {stage: eps * 0 for stage, eps in noise.items()}
    stages = range(len(network.stages))
    layer_wise = [{stage: silent[stage]} for stage in stages]
    for noises in (layer_wise, [silent]):
        output = backend.to_host(run_tails(network, params, trace, noises).output)
        clean = np.tile(backend.to_host(trace.output), (COPIES * len(noises), 1))
        np.testing.assert_allclose(output, clean, rtol=1e-13)


def check_against_loop(network, params, x, noises):
    """Every tail's rows, and what its stages saw, against a loop over samples and copies."""
    links = reference.links_of(network, params)
    tails = run_tails(network, params, network.run_clean(params, x), noises)
    rows = tails.output.reshape(len(noises), COPIES, SAMPLES, -1)
    for tail, noise in enumerate(noises):
        for copy in range(COPIES):
            for n in range(SAMPLES):
                row = copy * SAMPLES + n
                eps = {stage: array[row] for stage, array in noise.items()}
                inputs = []
                expected = reference.run(links, x[n], eps, inputs)
                np.testing.assert_allclose(rows[tail, copy, n], expected, rtol=1e-12)
                for stage in noise:
                    seen = tails.locals[stage].x
                    first = stage == min(noise)
                    assert seen.shape[0] == (SAMPLES if first else COPIES * SAMPLES)
                    np.testing.assert_allclose(seen[n if first else row], inputs[stage], rtol=1e-12)


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
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-13)
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
