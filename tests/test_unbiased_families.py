"""Convolutions, graphs, embeddings, sequences: unbiased too, to within 64 estimates.

The exact gradients are finite differences of quadratures that know the networks a second time
(see `harness`). Where the loss is a sum over positions, the terms are averaged one by one: noise
that only one of them feels can be the same in all terms. So four units at most need a grid.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import harness
import numpy as np
import pytest
import reference
from harness import SIGMA, cross_entropy_rows, estimator, judge
from scipy import stats
from scipy.sparse import csr_array

from nolr.activations import Tanh, identity
from nolr.estimation import (
    CleanLoss,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    NoBaseline,
)
from nolr.estimation.estimand import is_exact
from nolr.estimation.prediction import predict
from nolr.graphs import normalized_adjacency
from nolr.layers import (
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    LeakyOverTime,
    MaxPool2D,
    SimpleRNN,
)
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.reach import Everywhere, Later, Neighbours, Same
from nolr.sampling import Antithetic, Independent

RNG = np.random.default_rng(11)


def by_grid(dimensions, mean_loss, sigma=SIGMA):
    """E[mean_loss(params, noises)] by Gauss-Hermite quadrature; dimensions: of every stage's noise.

    mean_loss gets stage -> (P, dimensions), or one row of zeros where there is no noise or it is
    dealt with otherwise (dimensions 0), and returns (P,).
    """

    def expected(params, noised, points):
        noised = [stage for stage in noised if dimensions[stage]]
        grid, weights = reference.hermite_grid(sum(dimensions[s] for s in noised), points)
        noises = {stage: np.zeros((1, max(count, 1))) for stage, count in enumerate(dimensions)}
        start = 0
        for stage in noised:
            noises[stage] = sigma * grid[:, start : start + dimensions[stage]]
            start += dimensions[stage]
        return float(weights @ np.broadcast_to(mean_loss(params, noises), weights.shape))

    return expected


def case(expected, x, target, *layers, loss=None):
    network = Sequential(*layers, input_shape=x.shape[1:])
    if loss is None:
        loss = CrossEntropy() if target.dtype.kind == "i" else MeanSquaredError()
    return harness.Case(network, loss, target, None, None, x, expected)


# --- images ---------------------------------------------------------------------------------------

IMAGES = RNG.normal(size=(4, 1, 3, 5))
LABELS = np.array([0, 1, 1, 0])


def largest(v, noised, points, sigma):
    """Values m and weights of the largest of some z = v + ε: its density is d/dm Π Φ((m - v)/σ)."""
    if not noised:
        return np.array([v.max()]), np.ones(1)
    m = np.linspace(v.min() - 7 * sigma, v.max() + 7 * sigma, points)
    below = stats.norm.cdf((m[:, None] - v) / sigma)
    slope = stats.norm.pdf((m[:, None] - v) / sigma) / sigma
    density = sum(slope[:, i] * np.delete(below, i, axis=1).prod(axis=1) for i in range(len(v)))
    return m, density * (m[1] - m[0])


def pooled_expectation(params, noised, points, images=IMAGES, labels=LABELS, sigma=SIGMA):
    """Two windows of 2 × 2 noisy units each; of a rising function the largest is that of z."""
    first, last = params[0], params[3]
    eps, chance = reference.hermite_grid(2, points if 1 in noised else 1)
    total = 0.0
    for x, label in zip(images, labels, strict=True):
        v = reference.conv2d(first["W"], first["b"], x)[0]
        (a, p), (b, q) = (
            largest(window.reshape(-1), 0 in noised, 4 * points, sigma)
            for window in (v[:, :2], v[:, 2:])
        )
        y = np.tanh(np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1)).reshape(-1, 1, 2)
        o = y @ last["W"].T + last["b"] + sigma * eps
        losses = cross_entropy_rows(o.reshape(-1, 2), label).reshape(len(y), -1)
        total += np.outer(p, q).reshape(-1) @ losses @ chance
    return total / len(images)


# Six samples for the five parameters of an output unit: else their estimates are dependent.
STRIDED = RNG.normal(size=(6, 1, 4, 5))
TARGETS = RNG.normal(size=(6, 2))


def strided_mean_loss(params, noises, images=STRIDED, targets=TARGETS):
    """Four windows that do not overlap, then one that holds them all.

    Noise in the last stage adds a constant to the squared error: it needs no grid.
    """
    total = 0.0
    for x, target in zip(images, targets, strict=True):
        v = reference.conv2d(params[0]["W"], params[0]["b"], x, stride=2).reshape(-1)
        y = np.tanh(v + noises[0])
        o = y @ params[1]["W"].reshape(2, 4).T + params[1]["b"]
        total = total + np.mean((o - target) ** 2, axis=1)
    return total / len(images)


# --- positions ------------------------------------------------------------------------------------

PATH = normalized_adjacency(csr_array(np.array([[0, 1.0, 0], [1.0, 0, 1.0], [0, 1.0, 0]])))
GRAPHS = RNG.normal(size=(2, 3, 2))
NODE_LABELS = np.array([[0, 1, 1], [1, 0, -1]])
SEQUENCES = RNG.normal(size=(2, 3, 2))
STEP_LABELS = np.array([[0, 1, 1], [1, 1, 0]])
NUMBERS = np.array([[[0.9], [-0.6], [0.4]], [[-1.1], [0.5], [0.8]]])
WORDS = np.array([[0.0, 2.0, 0.0], [1.0, 2.0, 2.0], [1.0, 1.0, 0.0]])


def chance_of_an_error(o, label):
    """Of two outputs with noise in both, the other one is larger."""
    return stats.norm.cdf((o[:, 1 - label] - o[:, label]) / (SIGMA * np.sqrt(2)))


def sum_over_positions(outputs, labels, loss=cross_entropy_rows):
    """One sample: outputs, one (P, 2) a position, and their labels; -1 takes no part."""
    counted = [label for label in labels if label >= 0]
    return sum(
        loss(o, label) / len(counted)
        for o, label in zip(outputs, labels, strict=True)
        if label >= 0
    )


def graph_mean_loss(params, noises, loss=cross_entropy_rows, tables=GRAPHS, labels=NODE_LABELS):
    matrix, total = PATH.matrix.toarray(), 0.0
    for x, known in zip(tables, labels, strict=True):
        v = reference.graph_conv(matrix, params[0]["W"], params[0]["b"], x)[:, 0]
        y = np.tanh(v + noises[0])
        outputs = [
            (y @ matrix[node])[:, None] * params[1]["W"][:, 0] + params[1]["b"] + noises[1]
            for node in range(3)
        ]
        total = total + sum_over_positions(outputs, known, loss)
    return total / len(tables)


def dense_mean_loss(params, noises):
    total = 0.0
    for x, labels in zip(SEQUENCES, STEP_LABELS, strict=True):
        outputs = []
        for row in x:
            y = np.tanh(params[0]["W"] @ row + params[0]["b"] + noises[0])
            outputs.append(y @ params[1]["W"].T + params[1]["b"] + noises[1])
        total = total + sum_over_positions(outputs, labels)
    return total / len(SEQUENCES)


def states(theta, drives, noise):
    """h_t of one unit for every draw; noise (P, steps)."""
    found = []
    for t, drive in enumerate(drives):
        carried = theta["U"][0, 0] * found[-1] if found else 0.0
        found.append(np.tanh(theta["W"][0, 0] * drive + theta["b"][0] + carried + noise[:, t]))
    return found


def rnn_mean_loss(params, noises, loss=cross_entropy_rows, numbers=NUMBERS, labels=STEP_LABELS):
    hidden, output = params
    total = 0.0
    for x, known in zip(numbers, labels, strict=True):
        outputs = [
            h[:, None] * output["W"][:, 0] + output["b"] + noises[1]
            for h in states(hidden, x[:, 0], noises[0])
        ]
        total = total + sum_over_positions(outputs, known, loss)
    return total / len(numbers)


def dense_rnn_mean_loss(params, noises):
    """The first stage's noise is felt in all later steps, though the stage itself has no past."""
    first, hidden, output = params
    total = 0.0
    for x, labels in zip(NUMBERS, STEP_LABELS, strict=True):
        drives = [
            np.tanh(first["W"][0, 0] * row[0] + first["b"][0] + noises[0][:, t])
            for t, row in enumerate(x)
        ]
        outputs = [
            h[:, None] * output["W"][:, 0] + output["b"] + noises[2]
            for h in states(hidden, drives, noises[1])
        ]
        total = total + sum_over_positions(outputs, labels)
    return total / len(NUMBERS)


DECAY = 0.6


def embedding_mean_loss(params, noises, tokens=WORDS, labels=(0, 1, 1)):
    """A weighed sum of normal numbers is a normal number: two units for all tokens."""
    weights = DECAY ** np.arange(tokens.shape[1])[::-1]
    total = 0.0
    for words, label in zip(tokens, labels, strict=True):
        mean = weights @ reference.embedding(params[0]["W"], words)
        y = mean + np.sqrt(weights @ weights) * noises[0]
        o = np.tanh(y @ params[2]["W"].T + params[2]["b"] + noises[1])
        total = total + cross_entropy_rows(o, label)
    return total / len(tokens)


CASES = {
    "conv and max pool": case(
        pooled_expectation,
        IMAGES,
        LABELS,
        Conv2D(1, 1, 2, activation=Tanh()),
        MaxPool2D(2),
        Flatten(),
        Dense(2, 2, identity),
    ),
    "conv with stride": case(
        by_grid((4, 0), strided_mean_loss),
        STRIDED,
        TARGETS,
        Conv2D(1, 1, 2, stride=2, activation=Tanh()),
        Conv2D(1, 2, 2, activation=identity),
        Flatten(),
    ),
    "graph": case(
        by_grid((3, 2), graph_mean_loss),
        GRAPHS,
        NODE_LABELS,
        GraphConv(2, 1, PATH, Tanh()),
        GraphConv(1, 2, PATH, identity),
    ),
    # A loss without derivative: the noise in the last stage makes its mean a smooth function.
    "graph, error rate": case(
        by_grid((3, 0), partial(graph_mean_loss, loss=chance_of_an_error)),
        GRAPHS,
        NODE_LABELS,
        GraphConv(2, 1, PATH, Tanh()),
        GraphConv(1, 2, PATH, identity),
        loss=ZeroOne(),
    ),
    "embedding": case(
        by_grid((2, 2), embedding_mean_loss),
        WORDS,
        np.array([0, 1, 1]),
        Embedding(3, 2),
        LeakyOverTime(DECAY),
        Dense(2, 2, Tanh()),
    ),
    "dense over time": case(
        by_grid((2, 2), dense_mean_loss),
        SEQUENCES,
        STEP_LABELS,
        Dense(2, 2, Tanh()),
        Dense(2, 2, identity),
    ),
    "states": case(
        by_grid((3, 2), rnn_mean_loss),
        NUMBERS,
        STEP_LABELS,
        SimpleRNN(1, 1, last=False),
        Dense(1, 2, identity),
    ),
    "states, error rate": case(
        by_grid((3, 0), partial(rnn_mean_loss, loss=chance_of_an_error)),
        NUMBERS,
        STEP_LABELS,
        SimpleRNN(1, 1, last=False),
        Dense(1, 2, identity),
        loss=ZeroOne(),
    ),
    "dense before states": case(
        by_grid((3, 3, 2), dense_rnn_mean_loss),
        NUMBERS,
        STEP_LABELS,
        Dense(1, 1, Tanh()),
        SimpleRNN(1, 1, last=False),
        Dense(1, 2, identity),
    ),
}
# Eight units at once are too many for a grid; an error rate is smooth with noise everywhere alone.
COMBINATIONS = [
    *((name, LayerWise()) for name in CASES if "error rate" not in name),
    *((name, Joint()) for name in CASES if name != "dense before states"),
]
every_case = pytest.mark.parametrize(
    ("name", "schedule"),
    COMBINATIONS,
    ids=[f"{name}, {type(schedule).__name__}" for name, schedule in COMBINATIONS],
)
both_residuals = pytest.mark.parametrize("residual", [None, 1.0], ids=["plain", "variate"])


@cache
def truth_of(name, schedule, points=None):
    joint = isinstance(schedule, Joint)
    return harness.scheduled_gradient(CASES[name], joint, points or (8 if joint else 10))


def draws_of(name, method, **kwargs):
    found = CASES[name]
    return harness.estimates_of(found, method, tiles=1000 // len(found.x), **kwargs)


@every_case
@both_residuals
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
def test_mean_estimate_is_the_exact_gradient(name, schedule, sampler, residual):
    draws = draws_of(name, estimator(sampler, schedule, CleanLoss(), residual))
    truth = truth_of(name, schedule)
    verdict = judge(draws, truth)
    assert verdict.unbiased, verdict
    shifted = judge(draws, 1.1 * truth)
    assert shifted.rejected, shifted


@every_case
def test_quadrature_has_converged(name, schedule):
    truth = truth_of(name, schedule)
    coarser = truth_of(name, schedule, 7 if isinstance(schedule, Joint) else 8)
    np.testing.assert_allclose(truth, coarser, atol=3e-4)
    assert np.abs(truth).max() > 0.05


@every_case
def test_a_score_of_the_wrong_scale_is_rejected(name, schedule):
    wrong = harness.WrongScore(Gaussian(SIGMA), 1.1)
    draws = draws_of(name, estimator(Antithetic(), schedule, CleanLoss(), None, noise=wrong))
    assert judge(draws, truth_of(name, schedule)).rejected


@pytest.mark.parametrize("name", ["graph", "states"])
@pytest.mark.parametrize("baseline", [NoBaseline(), LeaveGroupOut()], ids=repr)
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
def test_every_position_may_have_another_baseline(name, baseline, sampler):
    draws = draws_of(name, estimator(sampler, Joint(), baseline))
    assert judge(draws, truth_of(name, Joint())).unbiased
    assert judge(draws, 1.25 * truth_of(name, Joint())).rejected


# --- credit ---------------------------------------------------------------------------------------

WITH_POSITIONS = ("graph", "dense over time", "states", "dense before states")


def with_reach(monkeypatch, name, stage, reach):
    """Another reach for one stage of a network."""
    network = CASES[name].network
    reaches = list(network.reaches)
    reaches[stage] = reach
    monkeypatch.setitem(network.__dict__, "reaches", tuple(reaches))


def test_the_reaches_are_those_that_are_meant():
    kinds = {
        "graph": (Neighbours, Same),
        "dense over time": (Same, Same),
        "states": (Later, Same),
        "dense before states": (Later, Later, Same),
    }
    for name in WITH_POSITIONS:
        assert tuple(type(reach) for reach in CASES[name].network.reaches) == kinds[name]


@pytest.mark.parametrize(
    ("name", "stage"),
    [("graph", 0), ("states", 0), ("dense before states", 0), ("dense before states", 1)],
)
@both_residuals
def test_a_reach_that_is_too_small_is_rejected(name, stage, residual, monkeypatch):
    with_reach(monkeypatch, name, stage, Same())
    draws = draws_of(name, estimator(Antithetic(), LayerWise(), CleanLoss(), residual))
    assert judge(draws, truth_of(name, LayerWise())).rejected


def prediction_of(name, stage, error):
    """What a stage predicts from e, by strong and wrong evidence."""
    found = CASES[name]
    network, params = found.network, found.params
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), 1.0)
    evidence = harness.adversarial(method, found).evidence[stage]
    trace, layer = network.run_clean(params, found.x), network.layer(stage)
    pathway, visit = network.pathways[stage], trace.visits[stage]
    route = pathway.route(layer.gate(visit.drive, visit.past, harness.SIGMA), trace.inputs)
    known = (method.control_variate, evidence, pathway, network.reaches[stage], route, None)
    return predict(*known, error, is_exact(pathway, found.loss), noised=False, samples=1)


STAGES = [(name, stage) for name in WITH_POSITIONS for stage in CASES[name].stages]


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_credit_is_foreseen_for_losses_in_reach_alone(name, stage):
    # Others are not weighed with the noise: what were foreseen of them would stay as a bias.
    reach = CASES[name].network.reaches[stage]
    for position in range(3):
        error = np.zeros((len(CASES[name].x), 3, 2))
        error[:, position] = [0.7, -1.2]
        credit = prediction_of(name, stage, error).credit
        felt = (credit != 0).any(axis=(0, 2))
        np.testing.assert_array_equal(felt, reach.gather(np.eye(3))[position] > 0)


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_the_change_that_is_foreseen_is_the_credit_times_the_noise(name, stage):
    rng = np.random.default_rng(0)
    samples = len(CASES[name].x)
    found = prediction_of(name, stage, rng.normal(size=(samples, 3, 2)))
    noise = rng.normal(size=(4, *found.credit.shape))
    foreseen = found.foresee(noise).reshape(4, samples, 3).sum(axis=2)  # of all positions
    np.testing.assert_allclose(foreseen, (noise * found.credit).sum(axis=(2, 3)), rtol=1e-10)


class Earlier:
    """The same step and all earlier ones: causality the wrong way round."""

    mixing = None

    def gather(self, losses):
        return np.cumsum(losses, axis=-1)


@pytest.mark.parametrize("name", ["dense over time", "states"])
def test_a_reach_into_the_past_is_rejected_where_it_leaves_the_future_out(name, monkeypatch):
    with_reach(monkeypatch, name, 0, Earlier())
    draws = draws_of(name, estimator(Antithetic(), LayerWise(), CleanLoss()))
    verdict = judge(draws, truth_of(name, LayerWise()))
    # Of a dense layer the past is independent: too much is not wrong, only noisy.
    assert verdict.unbiased if name == "dense over time" else verdict.rejected


@pytest.mark.parametrize("name", WITH_POSITIONS)
def test_credit_costs_no_bias_and_saves_variance(name, monkeypatch):
    method = estimator(Antithetic(), LayerWise(), CleanLoss())
    weighed = draws_of(name, method)
    for stage in CASES[name].stages:
        with_reach(monkeypatch, name, stage, Everywhere())
    together = draws_of(name, method)
    assert judge(together, truth_of(name, LayerWise())).unbiased
    # Total variances of 64 draws each; a ratio of 1 has a standard error of some 0.1.
    assert together.var(axis=0).sum() > 1.3 * weighed.var(axis=0).sum()


# --- block probes ---------------------------------------------------------------------------------


def block_estimator(schedule, sampler, *, residual=1.0, noise=None):
    """A Jacobian that is learned from noise in blocks."""
    method = estimator(sampler, schedule, CleanLoss(), residual, noise=noise)
    return replace(method, control_variate=JacobianControlVariate(residual=residual, probe="block"))


@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
def test_block_probes_are_unbiased(schedule, sampler):
    name = "conv and max pool"
    assert CASES[name].network.pathways[0].blocks is not None
    truth = truth_of(name, schedule)
    draws = draws_of(name, block_estimator(schedule, sampler))
    assert judge(draws, truth).unbiased
    assert judge(draws, 1.1 * truth).rejected


def test_a_score_of_the_blocks_would_not_be(monkeypatch):
    # The trap: the noise of a block weighed as if every pixel had its own.
    from nolr.estimation import perturbation

    name, schedule = "conv and max pool", LayerWise()
    method = estimator(Antithetic(), schedule, CleanLoss())
    right = perturbation.Draw.white

    def same_all_over(draw, clean, stage):
        white = right(draw, clean, stage)
        blocks = clean.network.pathways[stage].blocks
        return white if blocks is None else blocks.pull(blocks.push(white) / blocks.size)

    monkeypatch.setattr(perturbation.Draw, "white", same_all_over)
    assert judge(draws_of(name, method), truth_of(name, schedule)).rejected
