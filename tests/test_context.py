"""Jacobians that depend on the context of a sample: how open the next stage is, place by place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_pathways import RESNET

from nolr.activations import Tanh, identity
from nolr.backends import get_backend
from nolr.context import Condition, Context
from nolr.errors import BadInput
from nolr.estimation import JacobianControlVariate, LayerWise, LikelihoodRatio
from nolr.layers import AvgPool2D, Conv2D, Dense, Flatten
from nolr.losses import CrossEntropy
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Independent
from nolr.testing import check_unbiased
from nolr.types import Key


def conv(inputs, outputs, **more):
    return Conv2D(inputs, outputs, padding=1, **more)


# --- conditions -----------------------------------------------------------------------------------

PARTS = pytest.mark.parametrize("parts", [1, 2])


def condition(backend, parts, seed):
    features = np.random.default_rng(seed).normal(size=(3, 2 * parts, 5 * parts, 4))
    return Condition(backend.asarray(features), parts)


def matrices(given, backend):
    """What a condition does to every sample, part by part: (N, H, W, F, H·parts, W·parts)."""
    features = backend.to_host(given.features)
    samples, height, width, count = features.shape
    parts = given.parts
    found = np.zeros((samples, height // parts, width // parts, count, height, width))
    for n, y, x, feature in np.ndindex(features.shape):
        found[n, y // parts, x // parts, feature, y, x] = features[n, y, x, feature]
    return found


@PARTS
def test_push_sums_the_parts_of_every_place_times_their_features(backend, parts):
    given = condition(backend, parts, 0)
    change = np.random.default_rng(1).normal(size=(6, 3, 7, 2 * parts, 5 * parts))
    pushed = backend.to_host(given.push(backend.asarray(change)))
    expected = np.einsum("nyxfij,kncij->kncyxf", matrices(given, backend), change)
    np.testing.assert_allclose(pushed, expected, rtol=1e-11, atol=1e-13)


@PARTS
def test_pull_is_the_transpose_of_push(backend, parts):
    given, rng = condition(backend, parts, 2), np.random.default_rng(3)
    change, credit = rng.normal(size=(3, 7, 2 * parts, 5 * parts)), rng.normal(size=(3, 7, 2, 5, 4))
    pushed = backend.to_host(given.push(backend.asarray(change)))
    pulled = backend.to_host(given.pull(backend.asarray(credit)))
    ours, theirs = (pushed * credit).sum(axis=(1, 2, 3, 4)), (change * pulled).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)
    # A negative control: the credit of another sample.
    assert np.abs((pushed * np.roll(credit, 1, axis=0)).sum(axis=(1, 2, 3, 4)) - theirs).max() > 0.1


@PARTS
@pytest.mark.parametrize("together", [False, True])
def test_the_energy_of_a_place_is_a_matrix_of_its_features(backend, parts, together):
    given = condition(backend, parts, 4)
    change = np.random.default_rng(5).uniform(0.5, 2.0, size=(3, 7, 2 * parts, 5 * parts))
    energy = given.energy_together if together else given.energy
    found = backend.to_host(energy(backend.asarray(change)))
    # Of what moves alone the variances add up, of what moves together the deviations.
    maps = matrices(given, backend)
    if together:
        moved = np.einsum("nyxfij,ncij->ncyxf", maps, change)
        expected = np.einsum("ncyxf,ncyxg->cyxfg", moved, moved)
    else:
        expected = np.einsum("nyxfij,nyxgij,ncij->cyxfg", maps, maps, change)
    np.testing.assert_allclose(found, expected.reshape(-1, 4, 4), rtol=1e-10, atol=1e-12)


# --- the features ---------------------------------------------------------------------------------


def test_features_are_shares_of_open_units(backend):
    gate = np.random.default_rng(4).uniform(size=(3, 5, 4, 6))
    features = Context((5, 4, 6), 2, 1, 3).condition(backend.asarray(gate)).features
    features = backend.to_host(features)
    assert features.shape == (3, 2, 3, 4)
    assert (features[..., 0] == 1).all()
    shares = np.empty((3, 5, 2, 3))
    for n, c, y, x in np.ndindex(shares.shape):
        shares[n, c, y, x] = gate[n, c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
    shares -= shares.mean(axis=(0, 2, 3), keepdims=True)
    # Some orthonormal directions: the features determine them, and they are the same for all.
    rows, columns = np.moveaxis(shares, 1, -1).reshape(-1, 5), features[..., 1:].reshape(-1, 3)
    directions, *_ = np.linalg.lstsq(rows, columns)
    np.testing.assert_allclose(rows @ directions, columns, atol=1e-12)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    # A negative control: shares of other blocks are no such thing.
    others = np.roll(rows, 1, axis=0)
    wrong, *_ = np.linalg.lstsq(others, columns)
    assert np.abs(others @ wrong - columns).max() > 0.05


def test_features_have_mean_zero_and_repeat_with_the_batch():
    gate = np.random.default_rng(5).uniform(size=(4, 5, 4, 4))
    context = Context((5, 4, 4), 2, 2, 5)
    once, twice = (context.condition(np.concatenate([gate] * n)).features for n in (1, 2))
    np.testing.assert_allclose(once[..., 1:].mean(axis=(0, 1, 2)), 0, atol=1e-15)
    np.testing.assert_allclose(twice, np.concatenate([once, once]), atol=1e-15)
    assert np.abs(once[..., 1:]).max() > 0.1


# --- which stages have one ------------------------------------------------------------------------


def counts(network, units):
    found = (pathway.within(units).context for pathway in network.pathways)
    return [context.count if context else 0 for context in found]


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (0, [0, 0, 0, 0, 0]),
        (255, [0, 0, 0, 0, 0]),  # the mean alone has 128, 256 and 512 units
        (256, [1, 0, 0, 0, 0]),
        (1280, [9, 4, 1, 0, 0]),
        (10**6, [16, 32, 32, 0, 0]),  # no more than the next stage has channels
    ],
)
def test_as_many_features_as_keep_within_the_units(units, expected):
    assert counts(RESNET, units) == expected
    for pathway in RESNET.pathways:
        within = pathway.within(units)
        assert within.units <= max(units, pathway.units)
        assert within.units == np.prod(within.target)


@pytest.mark.parametrize(
    ("lines", "pool", "parts"),
    [
        (12, 4, 2),  # blocks of four lines: their quarters have two
        (12, 3, 1),  # three lines have no half
        (6, 4, 1),  # a rest of two lines belongs to no place
    ],
)
def test_places_are_quartered_where_they_can_be(lines, pool, parts):
    network = Sequential(
        conv(3, 4),
        conv(4, 5),
        AvgPool2D(pool),
        Flatten(),
        Dense(5 * (lines // pool) ** 2, 2, identity),
        input_shape=(3, lines, lines),
    )
    pathway = network.pathways[0].within(10**6)
    assert pathway.context.parts == parts
    # What the route ends in is what the condition takes.
    gate = np.ones((2, 4, lines, lines))
    places = pathway.route(gate, []).push(gate)
    given = pathway.condition(np.ones((2, 5, lines, lines)))
    assert given.push(places).shape == (2, *pathway.target)
    assert given.pull(given.push(places)).shape == places.shape


@pytest.mark.parametrize(
    "layers",
    [
        (conv(3, 4), Conv2D(4, 4, 2), AvgPool2D(5), Flatten(), Dense(16, 2)),  # 11 lines, 2 places
        (conv(3, 4), AvgPool2D(2), Flatten(), Dense(144, 8), Dense(8, 2)),  # no image comes next
    ],
)
def test_no_context_where_blocks_are_no_places(layers):
    assert counts(Sequential(*layers, input_shape=(3, 12, 12)), 10**6)[0] == 0


# --- what it is good for --------------------------------------------------------------------------

NETWORK = Sequential(
    conv(1, 3), conv(3, 6), AvgPool2D(4), Flatten(), Dense(24, 3, identity), input_shape=(1, 8, 8)
)


def explained(context):
    """The fraction of a new change of the output that the first stage's Jacobian foresees."""
    backend = get_backend("numpy")
    params, loss, rng = (
        NETWORK.init(3, backend, "float64"),
        CrossEntropy(),
        np.random.default_rng(7),
    )
    variate = JacobianControlVariate(0.0, 0.995, 0.01, "block", context)
    method = LikelihoodRatio(
        Gaussian(0.02), copies=2, sampler=Independent(), control_variate=variate
    )
    state = method.init(NETWORK, params, loss)
    for step in range(400):
        # Bright and dark samples: they open different units.
        x = rng.normal(size=(32, 1, 8, 8)) + rng.choice([-1.5, 1.5], size=(32, 1, 1, 1))
        batch = x, np.zeros(32, int)
        _, state = method(NETWORK, params, batch, loss, Key(0, step=step), state)
    # New noise, in the same blocks, and what the pathway and J̄ make of it.
    trace, pathway = NETWORK.run_clean(params, x), NETWORK.pathways[0].within(context)
    gates = [NETWORK.layer(i).gate(trace.visits[i].drive, None, 0.02) for i in (0, 1)]
    noise = pathway.blocks.pull(0.02 * rng.normal(size=(32, *pathway.blocks.target)))
    moved = pathway.route(gates[0], trace.inputs).push(noise)
    if given := pathway.condition(gates[1]):
        moved = given.push(moved)
    foreseen = moved.reshape(32, -1) @ variate.jacobian(state.evidence[0]).T
    y, _ = NETWORK.layer(0).respond(params[0], trace.visits[0].drive, noise)
    for node, theta in zip(NETWORK.nodes[1:], params[1:], strict=True):
        y = node(y) if not node.trainable else node.respond(theta, node.drive(theta, y), None)[0]
    change = y - trace.output
    return 1 - ((change - foreseen) ** 2).sum() / (change**2).sum()


def test_a_jacobian_that_depends_on_the_sample_foresees_more():
    mean, conditional_on = explained(0), explained(10**6)
    assert 0.5 < mean < 1
    assert 1 - conditional_on < 0.85 * (1 - mean)  # of what was not explained


def gradient_on_waking(dtype, steps=60):
    """The first stage's, when a next stage that was open all over begins to close units."""
    backend, loss, rng = get_backend("numpy"), CrossEntropy(), np.random.default_rng(9)
    params = NETWORK.init(3, backend, dtype)
    awake = params[1]["b"]
    variate = JacobianControlVariate(0.0, 0.98, 0.01, "block", 10**6)
    method = LikelihoodRatio(
        Gaussian(0.02), copies=2, sampler=Independent(), control_variate=variate
    )
    state = method.init(NETWORK, params, loss)
    for step in range(steps + 1):
        params[1]["b"] = awake + np.asarray(50 * (step < steps), dtype)
        batch = rng.normal(size=(32, 1, 8, 8)).astype(dtype), rng.integers(3, size=32)
        estimate, state = method(NETWORK, params, batch, loss, Key(0, step=step), state)
    return np.linalg.norm(estimate.grads[0]["W"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_feature_that_is_but_rounding_is_not_believed(dtype, monkeypatch):
    assert gradient_on_waking(dtype) < 1
    # A negative control: the rounding of shares that never vary, taken for a feature.
    monkeypatch.setattr("nolr.estimation.regression.LEAST_VARIANCE", 0.0)
    assert gradient_on_waking(dtype) > 100


SMALL = Sequential(
    Conv2D(1, 1, 2, stride=2, activation=Tanh()),
    Conv2D(1, 2, 1, activation=Tanh()),
    AvgPool2D(2),
    Flatten(),
    Dense(2, 2, identity),
    input_shape=(1, 4, 4),
)


def certificate(residual):
    backend, rng = get_backend("numpy"), np.random.default_rng(11)
    params = SMALL.init(5, backend, "float64")
    x = rng.normal(size=(2, 1, 4, 4))
    variate = JacobianControlVariate(residual, context=10**6)
    method = LikelihoodRatio(Gaussian(0.7), copies=4, schedule=LayerWise(), control_variate=variate)
    state = method.init(SMALL, params, CrossEntropy())
    assert state.evidence[0].moment.shape == (2, 3)  # a block of one channel, two features
    # Strong and wrong: what λ = 1 has to take out again.
    evidence = tuple(
        old._replace(
            moment=rng.normal(size=old.moment.shape),
            energy=np.ones_like(old.energy)
            if old.energy.ndim == 1
            else (0.5 + np.diag([1.5, 0.5, 1.0]))[None],  # features that are not independent
            draws=np.array(100.0),
            covariance=np.array(0.7),
            power=np.array(1.0),
        )
        for old in state.evidence
    )
    state = state._replace(evidence=evidence)
    batch = x, np.array([0, 0])
    return check_unbiased(
        method, SMALL, params, batch, CrossEntropy(), state=state, tolerance=0.25, rows=8192
    )


def test_it_biases_nothing_where_the_residual_counts_in_full():
    certificate(1.0).raise_unless_unbiased()
    assert certificate(0.5).verdict == "biased"


def steps_of(backend, samples, steps=3):
    """Gradients after a few steps, in one vector on the host."""
    loss, rng = CrossEntropy(), np.random.default_rng(8)
    params = NETWORK.init(0, backend, "float64")
    method = LikelihoodRatio(
        Gaussian(0.05),
        copies=2,
        sampler=Independent("host"),
        control_variate=JacobianControlVariate(0.0, 0.9, 0.01, "block", 10**6),
    )
    state = method.init(NETWORK, params, loss)
    for step in range(steps):
        x, y = rng.normal(size=(samples, 1, 8, 8)), rng.integers(3, size=samples)
        batch = backend.asarray(x), backend.asarray(y)
        estimate, state = method(NETWORK, params, batch, loss, Key(0, step=step), state)
    grads = (backend.to_host(a) for theta in estimate.grads for _, a in sorted(theta.items()))
    return np.concatenate([np.asarray(grad).reshape(-1) for grad in grads])


def test_backends_agree(other_backend):
    expected = steps_of(get_backend("numpy"), 6)
    assert np.linalg.norm(expected) > 0.1
    np.testing.assert_allclose(steps_of(other_backend, 6), expected, rtol=1e-9, atol=1e-11)


def test_a_batch_of_one_has_a_context_too():
    assert np.isfinite(steps_of(get_backend("numpy"), 1)).all()


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [-1, 2.5, "many"])
def test_what_is_no_number_of_units_is_refused(units):
    with pytest.raises(BadInput, match="context must be a number of units from 0 on, got "):
        JacobianControlVariate(context=units)


def test_without_a_context_nothing_changes():
    pathway = RESNET.pathways[0]
    assert pathway.within(0) is pathway
    assert replace(pathway, watched=None).within(10**6).context is None
