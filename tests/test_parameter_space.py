"""Noise in the parameters: evolution strategies and forward gradients against the plain loop."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest
import reference

import nolr
from nolr.activations import Identity, Tanh
from nolr.backends import get_backend
from nolr.data import Dataset, Split
from nolr.data.digits import load_digits
from nolr.errors import BadInput
from nolr.estimation import (
    CleanLoss,
    EvolutionStrategies,
    ForwardGradient,
    Joint,
    LayerWise,
    LeaveGroupOut,
    NoBaseline,
)
from nolr.interchange import read_run, write_run
from nolr.layers import Dense
from nolr.losses import CrossEntropy, ZeroOne
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.optimizers import Adam, ravel
from nolr.progress import stage_table
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.testing.families import FAMILIES
from nolr.training import Trainer
from nolr.training_state import is_finite
from nolr.types import Key

NUMPY = get_backend("numpy")
SAMPLERS = (Independent(), Antithetic())
SCHEDULES = (Joint(), LayerWise())
BASELINES = (NoBaseline(), CleanLoss(), LeaveGroupOut())


def name_of(part):
    return type(part).__name__


def task(family, backend=NUMPY, dtype="float64"):
    """A tiny network of a family, its parameters, a batch and a loss."""
    found = FAMILIES[family]
    params = found.network.init(3, backend, dtype)
    batch = backend.asarray(found.inputs, dtype), backend.asarray(found.target)
    return found.network, params, batch, found.loss


def estimate(method, network, params, batch, loss, key=Key(5, step=1)):  # noqa: B008
    state = method.init(network, params, loss)
    found, after = method(network, params, batch, loss, key, state)
    assert after == state
    return found


def on_host(grads, backend=NUMPY):
    return [np.asarray(backend.to_host(theta[k])) for theta in grads for k in sorted(theta)]


# --- the plain loop -------------------------------------------------------------------------------


def mean_loss(network, params, batch, loss):
    losses = np.asarray(loss(network.forward(params, batch[0]), batch[1]))
    return losses.sum() / len(batch[0])


def baseline_by_hand(kind, losses, sign, group, clean):
    """What one copy is compared with; losses (signs, groups)."""
    if isinstance(kind, LeaveGroupOut):
        return np.mean([losses[s, g] for s, g in np.ndindex(*losses.shape) if g != group])
    if isinstance(kind, MeanOfAll):
        return losses.mean()
    return clean if isinstance(kind, CleanLoss) else 0.0


def plain_loop(method, network, params, batch, loss, key, blocks=None, size_of=None, unused=()):
    """Array by array and copy by copy; stages in `unused` are drawn for but left as they are."""
    signs, baseline = method.sampler.signs, getattr(method, "baseline", NoBaseline())
    grads = [{k: np.zeros_like(a) for k, a in theta.items()} for theta in params]
    clean = mean_loss(network, params, batch, loss)
    for stages in method.schedule.passes(range(len(network.stages))):
        places = [
            (s, network.stages[s], k) for s in stages for k in sorted(params[network.stages[s]])
        ]
        numbers = sum(params[node][k].size for _, node, k in places)
        size = size_of([params[node][k] for _, node, k in places]) if size_of else method.sigma
        for block, groups in enumerate(blocks or [method.copies // len(signs)]):
            address = key._replace(stage=stages[0], block=block)
            white = method.sampler.draw(NUMPY, address, groups, (1, numbers), np.float64)
            losses = np.zeros((len(signs), groups))
            pieces = []
            for group in range(groups):
                ends = np.cumsum([params[node][k].size for _, node, k in places])
                cut = np.split(white[group, 0], ends[:-1])
                pieces.append(
                    [
                        c.reshape(params[n][k].shape)
                        for c, (_, n, k) in zip(cut, places, strict=True)
                    ]
                )
            for i, group in np.ndindex(*losses.shape):
                moved = [dict(theta) for theta in params]
                for eta, (stage, node, k) in zip(pieces[group], places, strict=True):
                    if stage not in unused:
                        moved[node][k] = moved[node][k] + signs[i] * size * eta
                losses[i, group] = mean_loss(network, moved, batch, loss)
            for i, group in np.ndindex(*losses.shape):
                surprise = losses[i, group] - baseline_by_hand(baseline, losses, i, group, clean)
                for eta, (_, node, k) in zip(pieces[group], places, strict=True):
                    grads[node][k] = (
                        grads[node][k] + surprise * signs[i] * eta / size / method.copies
                    )
    return grads


@dataclass(frozen=True)
class MeanOfAll:
    """A planted fault: a baseline that is not independent of the copy."""

    minimum_groups = 1

    def __call__(self, losses, clean):
        return np.mean(losses, axis=(-3, -2), keepdims=True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("sampler", "schedule", "baseline"),
    list(itertools.product((*SAMPLERS, Orthogonal(), Sobol()), (*SCHEDULES, Joint(2)), BASELINES)),
    ids=name_of,
)
def test_evolution_strategies_are_the_loop(family, sampler, schedule, baseline):
    method = EvolutionStrategies(0.2, 6, sampler, schedule, baseline)
    given = task(family)
    found = estimate(method, *given)
    expected = plain_loop(method, *given, Key(5, step=1))
    for a, b in zip(on_host(found.grads), on_host(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    assert float(found.loss) == pytest.approx(mean_loss(*given), rel=1e-12)
    # The control: the loop without its baseline, or with another one, is something else.
    other = CleanLoss() if isinstance(baseline, NoBaseline) else NoBaseline()
    changed = ravel(plain_loop(replace(method, baseline=other), *given, Key(5, step=1)))
    same = np.allclose(ravel(found.grads), changed, rtol=1e-9, atol=1e-11)
    assert same == (len(sampler.signs) == 2)  # where pairs cancel it


def test_directions_are_worked_through_in_blocks():
    given = task("dense")
    for baseline, blocks in ((CleanLoss(), [1] * 5), (LeaveGroupOut(), [3, 2])):
        method = EvolutionStrategies(0.2, 10, Antithetic(), Joint(), baseline, block_bytes=1)
        expected = plain_loop(method, *given, Key(5, step=1), blocks)
        for a, b in zip(on_host(estimate(method, *given).grads), on_host(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_forward_gradients_are_the_loop(family, schedule):
    method, given = ForwardGradient(6, schedule=schedule, step=1e-3), task(family)

    def step(arrays):
        return 1e-3 * np.sqrt(np.mean(np.concatenate([a.reshape(-1) for a in arrays]) ** 2))

    expected = plain_loop(method, *given, Key(5, step=1), size_of=step)
    for a, b in zip(on_host(estimate(method, *given).grads), on_host(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


# --- forward gradients are slopes -----------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """Directions that are known, the same in every dtype."""

    white: tuple
    signs = (1.0, -1.0)

    def draw(self, backend, key, groups, shape, dtype):
        values = np.array(self.white).reshape(groups, *shape)
        return backend.xp.astype(backend.asarray(values), dtype)


SMOOTH = [family for family in FAMILIES if family not in ("spiking", "pooling")]


@pytest.mark.parametrize("family", SMOOTH)
def test_a_forward_gradient_is_the_slope_times_the_direction(family):
    network, params, batch, loss = task(family)
    eta = np.random.default_rng(1).normal(size=ravel(params).shape[0])
    nodes = list(range(len(params)))
    exact = reference.parameter_gradient(
        lambda moved: mean_loss(network, moved, batch, loss), params, nodes, step=1e-5
    )
    slope = ravel(exact) @ eta
    for dtype, precision in (("float64", 1e-7), ("float32", 2e-3)):
        found = estimate(ForwardGradient(2, Given(tuple(eta))), *task(family, dtype=dtype))
        np.testing.assert_allclose(ravel(found.grads), slope * eta, rtol=precision)
        assert ravel(found.grads).dtype == dtype
    # The controls: a step that rounding swallows, and one that is too long.
    for step in (1e-7, 1.0):
        method = ForwardGradient(2, Given(tuple(eta)), step=step)
        found = estimate(method, *task(family, dtype="float32"))
        assert not np.allclose(ravel(found.grads), slope * eta, rtol=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_step_balances_bending_and_rounding(dtype):
    eps = float(np.finfo(dtype).eps)

    def error(step):
        """Root mean square of the slope's relative errors, over families and directions."""
        found = []
        for family, seed in itertools.product(SMOOTH, range(4)):
            params = task(family)[1]
            eta = np.random.default_rng(seed).normal(size=ravel(params).shape[0])
            ways = Given(tuple(eta))
            exact = ravel(estimate(ForwardGradient(2, ways, step=1e-5), *task(family)).grads)
            method = ForwardGradient(2, ways, step=step)
            slope = ravel(estimate(method, *task(family, dtype=dtype)).grads)
            found.append(np.linalg.norm(slope - exact) / np.linalg.norm(exact))
        return np.sqrt(np.mean(np.square(found)))

    best = error(None)
    assert best == error(eps ** (1 / 3)) < 10 * eps ** (2 / 3)
    assert best < 0.5 * min(error(eps ** (1 / 2)), error(eps ** (1 / 6)))


def test_copies_are_compared_in_float64():
    class First:
        """The first sample's output; all others have the loss 1."""

        differentiable = True

        def __call__(self, output, target):
            losses = np.ones_like(output[:, 0])
            losses[0] = output[0, 0]
            return losses

    samples = 1_000_000  # whose sum in float32 knows nothing below 0.06
    network = Sequential(Dense(1, 1, Identity()), input_shape=(1,))
    params = network.init(0, NUMPY, "float32")
    batch = np.ones((samples, 1), np.float32), np.zeros(samples)
    eta = np.array([0.3, -0.8])
    method = EvolutionStrategies(0.01, 2, Given(tuple(eta)))
    found = samples * ravel(estimate(method, network, params, batch, First()).grads)
    np.testing.assert_allclose(found, eta.sum() * eta, rtol=1e-3)


def test_parameters_that_are_all_zero_have_a_step():
    network, params, (x, _), loss = task("dense")
    nothing = tuple({k: 0.0 * a for k, a in theta.items()} for theta in params)
    batch = x, np.zeros(len(x), dtype=np.int64)
    found = estimate(ForwardGradient(2048), network, nothing, batch, loss)
    # All outputs are alike, so the output's biases alone have a gradient: softmax less one-hot.
    np.testing.assert_allclose(found.grads[-1]["b"], [-0.5, 0.5], atol=0.15)


def test_a_forward_gradient_is_the_limit_of_a_small_sigma():
    given = task("dense")
    limit = ravel(estimate(ForwardGradient(4), *given).grads)
    distances = [
        np.abs(ravel(estimate(EvolutionStrategies(sigma, 4), *given).grads) - limit).max()
        for sigma in (0.1, 0.01)
    ]
    assert distances[1] == pytest.approx(distances[0] / 100, rel=0.1)  # of second order


# --- what an estimate says ------------------------------------------------------------------------


@pytest.mark.parametrize("method", [EvolutionStrategies(copies=4), ForwardGradient(4)], ids=name_of)
@pytest.mark.parametrize(("schedule", "passes"), [(Joint(), 1), (LayerWise(), 3), (Joint(2), 2)])
def test_the_report_counts_runs_and_says_what_holds(method, schedule, passes):
    method = replace(method, schedule=schedule)
    info = estimate(method, *task("dense")).info
    assert info.forward_passes == 1 + 4 * passes
    assert [(s.beta, s.residual, s.copies) for s in info.stages] == [(0.0, 1.0, 4)] * 3
    assert all(np.isnan(stage.signal_to_noise) for stage in info.stages)
    assert "unbiased" in info.estimand
    words = "clean loss" if isinstance(method, ForwardGradient) else schedule.estimand
    assert words in info.estimand
    assert stage_table(info.stages).row_count == 3


def test_the_clean_prefix_is_run_once():
    class Counting(Tanh):
        runs = 0

        def __call__(self, z):
            Counting.runs += 1
            return super().__call__(z)

    network = Sequential(Dense(2, 2, Counting()), Dense(2, 2, Identity()), input_shape=(2,))
    params, batch = network.init(0, NUMPY, "float64"), (np.ones((3, 2)), np.array([0, 1, 1]))
    estimate(
        EvolutionStrategies(copies=4, schedule=LayerWise()), network, params, batch, CrossEntropy()
    )
    assert Counting.runs == 1 + 4


def test_only_one_copy_of_the_parameters_is_there_at_a_time():
    network = Sequential(Dense(1000, 100, Identity()), input_shape=(1000,))
    params, batch = network.init(0, NUMPY, "float64"), (np.ones((1, 1000)), np.array([1]))
    megabytes = {}
    for block_bytes in (1 << 20, 1 << 26):
        method = EvolutionStrategies(copies=128, block_bytes=block_bytes)
        tracemalloc.start()
        estimate(method, network, params, batch, CrossEntropy())
        megabytes[block_bytes] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    size = 0.8  # of the parameters
    assert megabytes[1 << 20] < 9 * size
    assert 64 * size < megabytes[1 << 26] < 73 * size  # all directions, and no copies besides


def test_a_stage_that_no_pass_perturbs_has_no_gradient():
    class Second:
        estimand = "the mean loss with noise in the second stage"

        def passes(self, stages):
            return ((1,),)

    found = estimate(EvolutionStrategies(copies=4, schedule=Second()), *task("words"))
    first, _, last = found.grads
    assert not np.any(first["W"])
    assert np.all(last["W"])
    assert [stage.copies for stage in found.info.stages] == [0, 4]


@pytest.mark.parametrize("method", [EvolutionStrategies(0.1, 8), ForwardGradient(8)], ids=name_of)
def test_an_estimate_is_a_function_of_its_key(method):
    given = task("dense")
    one, two = (ravel(estimate(method, *given, Key(1, step=2)).grads) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    for other in (Key(1, step=3), Key(2, step=2)):
        assert not np.allclose(one, ravel(estimate(method, *given, other).grads))


# --- backends -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "method",
    [
        EvolutionStrategies(0.1, 4, Antithetic("host")),
        EvolutionStrategies(0.1, 4, Independent("host"), LayerWise(), LeaveGroupOut()),
        ForwardGradient(4, Antithetic("host")),
    ],
    ids=name_of,
)
def test_every_backend_finds_what_numpy_finds(other_backend, family, method):
    expected = estimate(method, *task(family))
    found = estimate(method, *task(family, other_backend))
    for a, b in zip(on_host(found.grads, other_backend), on_host(expected.grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)  # differences lose some digits
    single = estimate(method, *task(family, other_backend, "float32"))
    assert all(a.dtype == np.float32 for a in on_host(single.grads, other_backend))
    assert all(np.isfinite(a).all() for a in on_host(single.grads, other_backend))


# --- training -------------------------------------------------------------------------------------


def two_digits():
    """Zeros and ones alone: 60 to train on."""
    data = load_digits()
    rows = np.flatnonzero(np.isin(data.targets, (0, 1)))
    parts = [
        Dataset((data.inputs[rows[a:b]] / 16).astype(np.float32), data.targets[rows[a:b]])
        for a, b in ((0, 60), (60, 120), (120, 180))
    ]
    return Split(*parts)


@pytest.mark.parametrize(
    "method",
    [
        EvolutionStrategies(0.05, 32),
        EvolutionStrategies(0.05, 16, schedule=LayerWise()),
        ForwardGradient(32),
    ],
    ids=["joint", "layer-wise", "forward gradient"],
)
def test_the_trainer_trains_with_it(method, tmp_path):
    network = Sequential(Dense(64, 4, Tanh()), Dense(4, 2, Identity()), input_shape=(64,))
    trainer = Trainer(
        network, CrossEntropy(), method, Adam(0.02), two_digits(), NUMPY, batch_size=20, epochs=8
    )
    *_, state = trainer.run(trainer.init())
    losses = [record.loss for record in state.history]
    assert losses[-1] < 0.6 * losses[0]
    assert state.history[-1].validation_accuracy > 0.8
    assert is_finite(state, NUMPY)
    *_, again = trainer.run(trainer.init())
    np.testing.assert_array_equal(again.vector, state.vector)
    write_run(tmp_path / "run.h5", {}, {}, state, NUMPY)
    restored = read_run(tmp_path / "run.h5").restore(trainer.init(), NUMPY)
    np.testing.assert_array_equal(restored.vector, state.vector)
    assert restored.estimator == state.estimator


def test_a_loss_without_derivative_is_learned_too():
    network = Sequential(Dense(64, 2, Identity()), input_shape=(64,))
    method = EvolutionStrategies(0.2, 32)
    trainer = Trainer(network, ZeroOne(), method, Adam(0.02), two_digits(), NUMPY, 20, 8)
    *_, state = trainer.run(trainer.init())
    assert state.history[-1].loss < 0.5 * state.history[0].loss


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EvolutionStrategies(0.0), "noise level sigma must be a positive number"),
        (lambda: EvolutionStrategies(np.nan), "noise level sigma must be a positive number"),
        (lambda: EvolutionStrategies(Gaussian(0.1)), "is a number like 0.01, got Gaussian"),
        (lambda: EvolutionStrategies(copies=3), "copies must be a multiple of 2"),
        (lambda: EvolutionStrategies(copies=0), "whole number of at least 1, got 0"),
        (lambda: EvolutionStrategies(copies=2.0), "whole number of at least 1, got 2.0"),
        (lambda: EvolutionStrategies(block_bytes=0), "block_bytes of EvolutionStrategies"),
        (lambda: EvolutionStrategies(baseline=LeaveGroupOut()), "needs at least 4 copies"),
        (lambda: ForwardGradient(sampler=Independent()), "Independent draws none: use Antithetic"),
        (lambda: ForwardGradient(3), "copies must be a multiple of 2"),
        (lambda: ForwardGradient(2.5), "whole number of at least 1, got 2.5"),
        (lambda: ForwardGradient(step=0.0), "step of ForwardGradient is a positive fraction"),
        (lambda: ForwardGradient(step=np.inf), "step of ForwardGradient is a positive fraction"),
        (lambda: ForwardGradient(step="small"), "got 'small'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, words):
    with pytest.raises(BadInput, match=words):
        make()


@pytest.mark.parametrize("method", [EvolutionStrategies(), ForwardGradient()], ids=name_of)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, y[:1]), "4 inputs but 1 targets"),
        (lambda x, y: (x[:, :0], y), "expected samples of shape"),
        (lambda x, y: (x[:0], y[:0]), "empty batch"),
        (lambda x, y: (x.tolist(), y), "expected an array of one of the backends"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(method, change, words):
    network, params, batch, loss = task("dense")
    with pytest.raises(BadInput, match=words):
        estimate(method, network, params, change(*batch), loss)


def test_they_are_at_the_front_door():
    assert nolr.EvolutionStrategies is EvolutionStrategies
    assert nolr.ForwardGradient is ForwardGradient
