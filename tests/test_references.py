"""References agree with each other, and with programs that know the networks a second time."""

from __future__ import annotations

from itertools import product

import certified
import harness
import numpy as np
import pytest
from scipy import stats

from nolr.activations import Identity, Step, Tanh
from nolr.errors import BadInput
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.losses import CrossEntropy, ZeroOne
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.testing.directions import Direction
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.references import find_references
from nolr.testing.spikes import pattern_probabilities

RNG = np.random.default_rng(5)
LABELS = np.array([0, 1, 1])


def noised_losses(network, x, target, loss, joint=False, noise=None):
    noise = noise or Gaussian(harness.SIGMA)
    stages = range(len(network.stages))
    return [
        NoisedLoss(network, x, target, loss, dict.fromkeys(stages if joint else [s], noise))
        for s in stages
    ]


def every_entry(network, params):
    """A direction for every parameter, in the order of `harness.flat`."""
    return [
        Direction(stage, node, name, unit.reshape(params[node][name].shape))
        for stage, node in enumerate(network.stages)
        for name in sorted(params[node])
        for unit in np.eye(params[node][name].size)
    ]


def gradient(losses, params, wish):
    found = find_references(losses, params, wish, rows=512)[0]
    directions = every_entry(losses[0].network, params)
    rng = np.random.default_rng(0)
    if found.exact:
        return found.name, found.project(params, directions, rng), None
    draws = np.stack([found.project(params, directions, rng) for _ in range(64)])
    return found.name, draws.mean(axis=0), draws.std(axis=0, ddof=1) / 8


@pytest.mark.parametrize("name", harness.CASES)
@pytest.mark.parametrize("joint", [False, True], ids=["layer-wise", "joint"])
def test_a_reference_is_the_gradient_that_a_second_program_finds(name, joint):
    case = harness.CASES[name]
    losses = noised_losses(case.network, case.inputs, case.target, case.loss, joint)
    kind, found, error = gradient(losses, case.params, "auto")
    truth = harness.exact_gradient(name, joint)
    if error is None:
        np.testing.assert_allclose(found, truth, atol=5e-4)
    else:
        assert (np.abs(found - truth) < 6 * error + 1e-4).all()
    assert kind == ("closed form" if name == "quadratic" else kind)
    assert np.abs(found - 1.1 * truth).max() > 5e-3  # a control


@pytest.mark.parametrize("name", ["chain", "recurrent", "quadratic"])
def test_differences_agree_with_what_is_exact(name):
    case = harness.CASES[name]
    losses = noised_losses(case.network, case.inputs, case.target, case.loss)
    kind, found, error = gradient(losses, case.params, "differences")
    assert kind == "differences"
    truth = harness.exact_gradient(name, False)
    assert (np.abs(found - truth) < 6 * error + 1e-4).all()
    assert (np.abs(found - 1.2 * truth) > 6 * error + 1e-4).any()  # a control


# --- spike patterns -------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("decay", [0.0, 0.8, 1.0])
def test_pattern_probabilities_are_those_of_many_simulated_neurons(reset, decay):
    drive, sigma, threshold, runs = np.array([0.9, 0.3, 1.4, -0.2]), 0.6, 1.0, 400_000
    found = pattern_probabilities(drive, decay, threshold, reset, sigma)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-9)
    assert len(found) == 16
    rng, u, spike = np.random.default_rng(0), np.zeros(runs), np.zeros(runs)
    history = []
    for current in drive:
        rest = decay * u * (1 - spike) if reset == "zero" else decay * u - threshold * spike
        u = rest + current + sigma * rng.normal(size=runs)
        spike = (u > threshold).astype(float)
        history.append(spike)
    patterns = np.stack(history, axis=1)
    counts = np.array([(patterns == key).all(axis=1).sum() for key in found])
    chances = np.array(list(found.values()))
    assert stats.chisquare(counts, runs * chances / chances.sum()).pvalue > 1e-6
    moved = np.roll(chances, 1)  # a control
    assert stats.chisquare(counts, runs * moved / moved.sum()).pvalue < 1e-12


def test_patterns_of_a_neuron_without_memory_are_products():
    drive, sigma = np.array([0.4, 1.3, 0.9]), 0.5
    found = pattern_probabilities(drive, 0.0, 1.0, "zero", sigma)
    fires = stats.norm.sf((1.0 - drive) / sigma)
    for pattern in product((0, 1), repeat=3):
        expected = np.prod(np.where(pattern, fires, 1 - fires))
        assert found[pattern] == pytest.approx(expected, abs=1e-9)


def spiking(reset="zero", learn_decay=False):
    lif = LIF(2, 2, steps=2, decay=0.7, reset=reset, learn_decay=learn_decay)
    network = Sequential(lif, MeanOverTime(), Dense(2, 2, Identity()), input_shape=(2,))
    params = network.init(3, harness.NUMPY, "float64")
    x = RNG.normal(size=(3, 2))
    return params, noised_losses(network, x, LABELS, CrossEntropy(), noise=Gaussian(0.7))


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("learn_decay", [False, True])
def test_spike_patterns_agree_with_differences(reset, learn_decay):
    params, losses = spiking(reset, learn_decay)
    name, exact, _ = gradient(losses, params, "auto")
    assert name == "spike patterns"
    _, found, error = gradient(losses, params, "differences")
    trusted = find_references(losses, params, "differences", 512)[0].inaccuracy
    doubt = 6 * error + trusted * np.abs(exact).max()
    assert (np.abs(found - exact) < doubt).all()
    assert (np.abs(found - 1.5 * exact) > doubt).any()  # a control


@pytest.mark.parametrize("large", [1.0, 30.0])
def test_differences_take_smaller_steps_where_inputs_are_large(large, monkeypatch):
    """A step that is small for one input moves the drive of a large one by many σ."""
    case = certified.FAMILIES["spiking"]
    params = tuple(
        {
            name: array / large if name == "W" and node == 0 else array
            for name, array in theta.items()
        }
        for node, theta in enumerate(case.params)
    )
    known = case.network, large * case.x, case.target, case.loss
    losses = noised_losses(*known, noise=Gaussian(case.sigma))
    _, exact, _ = gradient(losses, params, "spike patterns")
    _, found, error = gradient(losses, params, "differences")
    norm = np.abs(exact).max()
    assert (np.abs(found - exact) < 6 * error + 0.01 * norm).all()
    # The control: the same step whatever the inputs.
    monkeypatch.setattr("nolr.testing.references.scale_along", lambda *args: case.sigma)
    _, found, error = gradient(losses, params, "differences")
    assert (np.abs(found - exact) > 6 * error + 0.01 * norm).any() == (large > 1)


@pytest.mark.parametrize("name", certified.FAMILIES)
def test_copies_in_blocks_have_the_same_losses(name, monkeypatch):
    case = certified.FAMILIES[name]
    loss = noised_losses(case.network, case.inputs, case.target, case.loss, joint=True)[0]
    white = RNG.normal(size=(7, len(case.inputs), loss.dimensions))
    together, blocks, tail = loss.losses(case.params, white), [], NoisedLoss._tail
    assert together.std(axis=0).min() > 0  # the noise got there

    def counted(self, params, start, state, white):
        blocks.append(len(white))
        return tail(self, params, start, state, white)

    monkeypatch.setattr(NoisedLoss, "_tail", counted)
    monkeypatch.setattr("nolr.testing.noised_loss.BLOCK_BYTES", 1)
    np.testing.assert_allclose(loss.losses(case.params, white), together, rtol=1e-12)
    assert blocks == [1] * 7


# --- which one ------------------------------------------------------------------------------------


def names(network, loss, joint=False, wish="auto"):
    losses = noised_losses(network, harness.X, harness.LABELS, loss, joint)
    params = network.init(2, harness.NUMPY, "float64")
    return [one.name for one in find_references(losses, params, wish, 512)]


def test_the_best_reference_that_fits_comes_first():
    quadratic, chain = harness.CASES["quadratic"], harness.CASES["chain"]
    both = ["closed form", "quadrature", "differences"]
    assert names(quadratic.network, quadratic.loss) == both
    assert names(quadratic.network, quadratic.loss, joint=True) == both
    assert names(chain.network, chain.loss) == ["quadrature", "differences"]
    wide = Sequential(Dense(2, 9, Tanh()), Dense(9, 2, Identity()), input_shape=(2,))
    assert names(wide, CrossEntropy()) == ["differences"]
    lif = Sequential(LIF(2, 2, steps=5), MeanOverTime(), Dense(2, 2, Identity()), input_shape=(2,))
    assert names(lif, CrossEntropy()) == ["spike patterns", "differences"]


@pytest.mark.parametrize(
    "network",
    [
        Sequential(Dense(2, 3, Step()), Dense(3, 2, Identity()), input_shape=(2,)),
        Sequential(Dense(2, 2, Tanh()), Dense(2, 2, Identity()), input_shape=(2,)),
    ],
    ids=["a step", "an error rate"],
)
def test_a_grid_is_not_offered_to_a_loss_that_jumps(network):
    """It would not see the jump, and call the gradient 0."""
    step = any(isinstance(getattr(node, "activation", None), Step) for node in network.nodes)
    assert names(network, CrossEntropy() if step else ZeroOne()) == ["differences"]
    if not step:  # the control
        assert names(network, CrossEntropy()) == ["quadrature", "differences"]


def test_a_reference_that_does_not_fit_is_refused():
    with pytest.raises(BadInput, match=r"'closed form' does not fit .* choose one of quadrature"):
        names(harness.CASES["chain"].network, CrossEntropy(), wish="closed form")


def test_a_grid_knows_how_far_off_it_is():
    case, rng = harness.CASES["chain"], np.random.default_rng(0)
    directions = every_entry(case.network, case.params)
    errors = {}
    for sigma in (0.5, 4.0):
        losses = noised_losses(
            case.network, case.inputs, case.target, case.loss, noise=Gaussian(sigma)
        )
        grid = find_references(losses, case.params, "quadrature", 512)[0]
        errors[sigma] = grid.error(case.params, directions, rng).max()
    assert errors[0.5] < 1e-6
    assert errors[4.0] > 1e-4


def test_joint_noise_reaches_every_stage():
    case = harness.CASES["chain"]
    losses = noised_losses(case.network, case.inputs, case.target, case.loss, joint=True)
    white = RNG.normal(size=(5, 4, losses[0].dimensions))
    parts = losses[0].split(white)
    assert {s: p.shape for s, p in parts.items()} == {0: (20, 2), 1: (20, 2)}
    np.testing.assert_array_equal(parts[1].reshape(5, 4, 2), white[..., 2:])
