"""References of certificates where the parameters are noised, or nothing is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from parameter_line import SIGMA, certify, smaller, truth
from test_parameter_space import SCHEDULES, mean_loss, name_of, task

from nolr.activations import Identity
from nolr.errors import BadInput
from nolr.estimation import EvolutionStrategies, ForwardGradient, Joint, LayerWise
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.losses import MeanSquaredError
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Sobol
from nolr.testing import BIASED, UNBIASED
from nolr.testing.families import FAMILIES
from nolr.testing.parameter_noise import ParameterNoisedLoss


def norms_by(certificate):
    """The gradient's norm in every stage, as a reference found it."""
    return {found.stage: found.norm for found in certificate.findings}


def norms_of(grads):
    return {stage: float(np.linalg.norm(theta["a"])) for stage, theta in enumerate(grads)}


def test_a_grid_over_the_parameters_is_the_formula():
    method, exact = EvolutionStrategies(SIGMA, 2, schedule=LayerWise()), truth(LayerWise(), units=2)
    certificate = certify(method, *smaller(2), reference="quadrature", max_draws=64)
    assert norms_by(certificate) == pytest.approx(norms_of(exact), rel=1e-3)
    other = truth(LayerWise(), 1.1 * SIGMA, units=2)
    assert norms_by(certificate) != pytest.approx(norms_of(other), rel=1e-2)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_differences_of_noised_parameters_are_the_formula(schedule):
    method = EvolutionStrategies(SIGMA, 2, schedule=schedule)
    certificate = certify(method, reference="differences", max_draws=64, rows=64)
    assert norms_by(certificate) == pytest.approx(norms_of(truth(schedule)), rel=0.1)
    assert norms_by(certificate) != pytest.approx(norms_of(truth(schedule, 0.0)), rel=0.1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_the_reference_of_no_noise_is_one_point(schedule):
    certificate = certify(ForwardGradient(128, Sobol(), schedule))
    assert (certificate.verdict, certificate.reference) == (UNBIASED, "quadrature")
    assert norms_by(certificate) == pytest.approx(norms_of(truth(schedule, 0.0)), rel=1e-6)
    assert "clean loss" in certificate.estimand


def test_the_place_of_the_noise_matters():
    @dataclass(frozen=True)
    class Elsewhere(EvolutionStrategies):
        noise_in = "pre-activations"

    assert certify(Elsewhere(1.0, 128, Sobol()), *smaller(2)).verdict == BIASED


AFFINE = Sequential(Dense(1, 1, Identity()), Dense(1, 1, Identity()), input_shape=(1,))
AFFINE_TASK = (
    tuple({"W": np.full((1, 1), a), "b": np.full(1, b)} for a, b in ((1.2, 1.0), (-1.9, -1.1))),
    (np.array([[0.9], [-0.7], [1.3], [-1.2]]), np.array([[-1.8], [0.3], [-2.2], [0.1]])),
    MeanSquaredError(),
)


def test_a_loss_is_quadratic_in_the_parameters_of_one_affine_stage_alone():
    method = EvolutionStrategies(SIGMA, 128, Sobol(), LayerWise())
    closed, grid = (
        certify(replace(method, copies=2), AFFINE, *AFFINE_TASK, reference=name, max_draws=64)
        for name in ("closed form", "quadrature")
    )
    assert norms_by(closed) == pytest.approx(norms_by(grid), rel=1e-6)
    auto = certify(method, AFFINE, *AFFINE_TASK)
    assert (auto.verdict, auto.reference) == (UNBIASED, "closed form")
    for schedule, given in ((Joint(), (AFFINE, *AFFINE_TASK)), (LayerWise(), ())):
        with pytest.raises(BadInput, match="'closed form' does not fit"):
            certify(replace(method, schedule=schedule), *given, reference="closed form")
    # Without noise it does not matter what is affine.
    auto = certify(ForwardGradient(128, Sobol()), AFFINE, *AFFINE_TASK)
    assert (auto.verdict, auto.reference) == (UNBIASED, "closed form")


def test_a_forward_gradient_has_no_noise_to_speak_of():
    with pytest.raises(BadInput, match="the estimator has no noise"):
        certify(ForwardGradient(2), noised=[(0,), (1,)])


def test_spikes_are_no_matter_for_patterns_or_grids_where_the_parameters_are_noised():
    network = Sequential(LIF(1, 1, steps=2, decay=0.7), MeanOverTime(), input_shape=(1,))
    params = {"W": np.array([[0.9]]), "b": np.array([0.2])}, {}
    batch = np.array([[1.0], [-0.5], [0.6]]), np.array([[1.0], [0.0], [0.0]])
    for name in ("spike patterns", "quadrature"):  # two parameters, so a grid would be small enough
        with pytest.raises(BadInput, match="choose one of differences, or auto"):
            certify(
                EvolutionStrategies(SIGMA, 2),
                network,
                params,
                batch,
                MeanSquaredError(),
                reference=name,
                rows=256,
            )


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
