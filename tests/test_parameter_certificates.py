"""Certificates of evolution strategies and forward gradients, and what these certificates find."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from harness import SHARE
from test_parameter_space import (
    BASELINES,
    SAMPLERS,
    SCHEDULES,
    MeanOfAll,
    estimate,
    mean_loss,
    name_of,
    plain_loop,
    task,
)

from nolr.activations import Identity
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.estimation import EvolutionStrategies, ForwardGradient, Joint, LayerWise, LeaveGroupOut
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.losses import MeanSquaredError
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.optimizers import ravel
from nolr.reach import Same
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.testing import BIASED, UNBIASED, check_unbiased
from nolr.testing.families import FAMILIES
from nolr.testing.parameter_noise import ParameterNoisedLoss

# --- certificates ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """y = f(a₀ x + a₁) of one number x: as little work in a run as there can be."""

    activation: object

    trainable = True
    affine = False
    recurrent = False
    pulls_past = False
    reach = Same()
    noise_reach = Same()

    def output_shape(self, input_shape):
        return input_shape

    def noise_shape(self, input_shape):
        return input_shape

    def init(self, key):
        return {"a": np.zeros(2)}

    def drive(self, params, x):
        return x * params["a"][0] + params["a"][1]

    def respond(self, params, drive, noise):
        return self.activation(add_noise(drive, noise)), None


@dataclass(frozen=True)
class Squared:
    """(output - target)² of one number."""

    differentiable = True

    def check(self, targets, output_shape):
        """Any target will do."""

    def __call__(self, output, target):
        return (output[:, 0] - target) ** 2


SIGMA = 0.5
X, Y = np.array([[0.9], [-0.7], [1.3], [-1.2]]), np.array([-1.8, 0.3, -2.2, 0.1])
PARAMS = {"a": np.array([1.2, 1.0])}, {"a": np.array([-1.9, -1.1])}
NETWORK = Sequential(Line(np.tanh), Line(lambda z: z), input_shape=(1,))


def smoothed(theta, noised, sigma):
    """E of the mean squared error at θ (4,), written out, with noise in some of its entries."""
    grid, weights = reference.hermite_grid(len(noised), 12)
    moved = np.tile(theta, (len(grid), 1))
    moved[:, noised] += sigma * grid
    a, b, c, d = moved.T[:, :, None]
    return weights @ np.mean((c * np.tanh(a * X[:, 0] + b) + d - Y) ** 2, axis=1)


def truth(schedule, sigma=SIGMA):
    """The exact gradient of what a schedule promises, with noise in the parameters."""
    theta, found = ravel(PARAMS), np.zeros(4)
    for stages in schedule.passes((0, 1)):
        noised = [i for stage in stages for i in (2 * stage, 2 * stage + 1)]
        for i in noised:
            sides = (smoothed(theta + h * np.eye(4)[i], noised, sigma) for h in (1e-4, -1e-4))
            found[i] = np.subtract(*sides) / 2e-4
    return {"a": found[:2]}, {"a": found[2:]}


def certify(method, network=NETWORK, params=PARAMS, batch=(X, Y), loss=Squared(), **more):
    # More rows would be the same directions once more.
    settings = {"tolerance": 0.1, "error_rate": SHARE, "rows": 4, "max_draws": 256, "state": ()}
    return check_unbiased(method, network, params, batch, loss, **(settings | more))


@pytest.mark.parametrize(
    ("sampler", "schedule", "baseline"),
    list(itertools.product(SAMPLERS, SCHEDULES, BASELINES)),
    ids=name_of,
)
def test_evolution_strategies_have_their_certificates(sampler, schedule, baseline):
    copies = 448 if isinstance(schedule, Joint) else 256  # which is for each stage
    method = EvolutionStrategies(SIGMA, copies, sampler, schedule, baseline)
    certificate = certify(method, reference=truth(schedule))
    certificate.raise_unless_unbiased()
    assert all(found.bound <= 0.1 for found in certificate.findings)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_forward_gradients_have_their_certificates(schedule):
    copies = 448 if isinstance(schedule, Joint) else 256
    certificate = certify(ForwardGradient(copies, schedule=schedule))
    certificate.raise_unless_unbiased()
    assert certificate.reference == "quadrature"  # of no noise: one point
    # The control: this is not the gradient of the loss with noise.
    method = ForwardGradient(128, schedule=schedule)
    assert certify(method, reference=truth(Joint(), sigma=1.0)).verdict == BIASED


@pytest.mark.parametrize("sampler", [Orthogonal(), Sobol()], ids=name_of)
def test_directions_that_are_drawn_together_have_their_certificates(sampler):
    method = EvolutionStrategies(SIGMA, 160, sampler, Joint(), LeaveGroupOut())
    certify(method, reference=truth(Joint())).raise_unless_unbiased()

    def spread(method):
        given = NETWORK, PARAMS, (X, Y), Squared()
        draws = [ravel(estimate(method, *given, key).grads) for key in reference.keys(40)]
        return np.linalg.norm(np.std(draws, axis=0))

    # They are worth it: of the same number of copies the estimate has less variance.
    assert spread(method) < 0.75 * spread(replace(method, sampler=Antithetic()))


SPIKES = (
    Sequential(LIF(1, 1, steps=2, decay=0.7), MeanOverTime(), input_shape=(1,)),
    ({"W": np.array([[0.9]]), "b": np.array([0.2])}, {}),
    (np.array([[1.0], [-0.5], [0.6]]), np.array([[1.0], [0.0], [0.0]])),
    MeanSquaredError(),
)


def spiking_truth(sigma):
    """The exact gradient: a fine grid over weight and bias, and a Gaussian that is moved on it."""
    (theta, _), (x, y) = SPIKES[1:3]
    axis = np.linspace(-7, 7, 701) * sigma
    w, b = (axis + theta["W"][0, 0])[:, None, None], (axis + theta["b"][0])[None, :, None]
    v = w * x[:, 0] + b
    first = v > 1
    second = 0.7 * v * ~first + v > 1
    losses = np.mean((0.5 * first + 0.5 * second - y[:, 0]) ** 2, axis=2)

    def mean(*shift):
        one, two = (np.exp(-0.5 * ((axis - h) / sigma) ** 2) for h in shift)
        return one @ losses @ two / (one.sum() * two.sum())

    h = 1e-3
    by_weight, by_bias = mean(h, 0) - mean(-h, 0), mean(0, h) - mean(0, -h)
    return {"W": np.array([[by_weight]]) / (2 * h), "b": np.array([by_bias]) / (2 * h)}, {}


def test_a_spiking_neuron_has_its_certificate():
    method = EvolutionStrategies(SIGMA, 128)
    certify(method, *SPIKES, reference=spiking_truth(SIGMA), tolerance=0.2).raise_unless_unbiased()
    wrong = certify(method, *SPIKES, reference=spiking_truth(2 * SIGMA), tolerance=0.2)
    assert wrong.verdict == BIASED
    # A forward gradient knows nothing of what the noise makes of a jump.
    slope = certify(ForwardGradient(64), *SPIKES, reference=spiking_truth(SIGMA))
    assert slope.verdict == BIASED


@pytest.mark.parametrize(
    ("method", "sigma"), [(EvolutionStrategies(SIGMA, 256), SIGMA), (ForwardGradient(256), 0.0)]
)
def test_float32_has_its_certificate(method, sigma):
    params = tuple({k: a.astype(np.float32) for k, a in theta.items()} for theta in PARAMS)
    batch, known = (X.astype(np.float32), Y.astype(np.float32)), truth(Joint(), sigma)
    certify(method, NETWORK, params, batch, reference=known, tolerance=0.2).raise_unless_unbiased()


# --- what is biased -------------------------------------------------------------------------------


class Loop:
    """The plain loop as an estimator, with a planted fault or without."""

    noise_in = "parameters"

    def __init__(self, method, factor=1.0, unused=()):
        self.method, self.factor, self.unused = method, factor, unused
        self.noise, self.schedule = method.noise, method.schedule

    def __call__(self, network, params, batch, loss, key, state):
        grads = plain_loop(self.method, network, params, batch, loss, key, unused=self.unused)
        grads = [{k: self.factor * a for k, a in theta.items()} for theta in grads]
        return SimpleNamespace(grads=tuple(grads)), state


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_planted_faults_are_found(schedule):
    method, known = EvolutionStrategies(SIGMA, 64, schedule=schedule), truth(schedule)
    assert certify(Loop(method), reference=known, tolerance=0.4).verdict == UNBIASED
    for faulty in (Loop(method, factor=1.5), Loop(method, unused=(0,)), Loop(method, unused=(1,))):
        certificate = certify(faulty, reference=known, tolerance=0.4)
        assert certificate.verdict == BIASED
        found = {finding.stage for finding in certificate.findings if finding.verdict == BIASED}
        assert found >= set(faulty.unused)


def test_a_score_of_slightly_the_wrong_scale_is_found():
    class Louder(Antithetic):
        """Directions that are 10 % too long, and taken for normal ones."""

        def draw(self, *args):
            return 1.1 * super().draw(*args)

    method = EvolutionStrategies(SIGMA, 256, Louder())
    assert certify(method, reference=truth(Joint())).verdict == BIASED


def test_a_baseline_that_includes_the_copy_itself_is_found():
    for copies in (2, 4):
        method = EvolutionStrategies(SIGMA, copies, Independent(), Joint(), MeanOfAll())
        certificate = certify(method, reference=truth(Joint()), max_draws=4096)
        assert certificate.verdict == BIASED
        # It shrinks the gradient to (K - 1) / K.
        share = abs(certificate.worst.bias) / certificate.worst.norm
        assert share == pytest.approx(1 / copies, rel=0.5)


def test_the_place_of_the_noise_and_its_level_matter():
    @dataclass(frozen=True)
    class Elsewhere(EvolutionStrategies):
        noise_in = "pre-activations"

    assert certify(Elsewhere(1.5, 256)).verdict == BIASED
    for wrong in (truth(Joint(), 1.5), truth(LayerWise(), 1.0)):
        method = EvolutionStrategies(SIGMA, 256)
        assert certify(method, reference=wrong).verdict == BIASED


# --- references -----------------------------------------------------------------------------------


def norms_by(certificate):
    """The gradient's norm in every stage, as a reference found it."""
    return {found.stage: found.norm for found in certificate.findings}


def norms_of(grads):
    return {stage: float(np.linalg.norm(theta["a"])) for stage, theta in enumerate(grads)}


def test_a_grid_over_the_parameters_is_the_formula():
    method = EvolutionStrategies(SIGMA, 128, schedule=LayerWise())
    certificate = certify(method, reference="quadrature", max_draws=64)
    # Along a pilot estimate, which points nearly where the gradient does.
    assert norms_by(certificate) == pytest.approx(norms_of(truth(LayerWise())), rel=1e-2)
    assert norms_by(certificate) != pytest.approx(norms_of(truth(LayerWise(), 0.4)), rel=1e-2)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_differences_of_noised_parameters_are_the_formula(schedule):
    method = EvolutionStrategies(SIGMA, 64, schedule=schedule)
    certificate = certify(method, reference="differences", max_draws=64, rows=64)
    assert norms_by(certificate) == pytest.approx(norms_of(truth(schedule)), rel=0.1)


AFFINE = Sequential(Dense(1, 1, Identity()), Dense(1, 1, Identity()), input_shape=(1,))


def test_a_loss_is_quadratic_in_the_parameters_of_one_affine_stage_alone():
    params = tuple(
        {"W": np.full((1, 1), a), "b": np.full(1, b)} for a, b in ((1.2, 1.0), (-1.9, -1.1))
    )
    task = AFFINE, params, (X, Y[:, None]), MeanSquaredError()
    method = EvolutionStrategies(SIGMA, 64, schedule=LayerWise())
    closed, grid = (
        certify(method, *task, reference=name, max_draws=64)
        for name in ("closed form", "quadrature")
    )
    assert norms_by(closed) == pytest.approx(norms_by(grid), rel=1e-6)
    auto = certify(method, *task, tolerance=0.4)
    assert (auto.verdict, auto.reference) == (UNBIASED, "closed form")
    for schedule, network in ((Joint(), AFFINE), (LayerWise(), NETWORK)):
        with pytest.raises(BadInput, match="'closed form' does not fit"):
            check_closed(replace(method, schedule=schedule), network, *task[1:])
    # Without noise it does not matter what is affine.
    auto = certify(ForwardGradient(128), *task, tolerance=0.4)
    assert (auto.verdict, auto.reference) == (UNBIASED, "closed form")
    assert "clean loss" in auto.estimand


def check_closed(method, network, params, batch, loss):
    if network is NETWORK:
        params, batch, loss = PARAMS, (X, Y), Squared()
    return certify(method, network, params, batch, loss, reference="closed form")


def test_a_forward_gradient_has_no_noise_to_speak_of():
    with pytest.raises(BadInput, match="the estimator has no noise"):
        certify(ForwardGradient(2), noised=[(0,), (1,)])


def test_spikes_are_no_matter_for_patterns_or_grids_where_the_parameters_are_noised():
    for name in ("spike patterns", "quadrature"):  # two parameters, so a grid would be small enough
        with pytest.raises(BadInput, match="choose one of differences, or auto"):
            certify(EvolutionStrategies(SIGMA, 2), *SPIKES, reference=name, rows=256)


@pytest.mark.parametrize("family", FAMILIES)
def test_noised_parameters_are_those_of_the_stages(family):
    network, params, (x, target), loss = task(family)
    for noised in ((), (0,), tuple(range(len(network.stages)))):
        noises = {stage: Gaussian(0.1 * (stage + 1)) for stage in noised}
        smooth = ParameterNoisedLoss(network, x, target, loss, noises)
        arrays = [
            (s, network.stages[s], k) for s in noised for k in sorted(params[network.stages[s]])
        ]
        assert smooth.dimensions == sum(params[node][k].size for _, node, k in arrays)
        white = np.random.default_rng(0).normal(size=(2, len(x), smooth.dimensions))
        found = smooth.losses(params, white)
        assert found.shape == (2, len(x))
        for copy in range(2):
            moved, start = [dict(theta) for theta in params], 0
            for stage, node, k in arrays:
                end = start + params[node][k].size
                eta = white[copy, 0, start:end].reshape(params[node][k].shape)
                moved[node][k], start = moved[node][k] + 0.1 * (stage + 1) * eta, end
            expected = mean_loss(network, moved, (x, target), loss)
            assert found[copy].mean() == pytest.approx(expected, rel=1e-12)
