"""References of certificates where noise is not Gaussian: which fit, and how good a grid is."""

from __future__ import annotations

import harness
import numpy as np
import pytest
import reference
from harness import SIGMA, X
from laplace_expectations import laplace_grid

from nolr.activations import Identity
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.losses import CrossEntropy
from nolr.network import Sequential
from nolr.noise import Gaussian, Laplace
from nolr.testing.directions import Direction
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.references import find_references


def smooth_gradient(case, stage, nodes=32):
    """Of the mean loss of a smooth case with Laplace noise in one stage, {name: array}."""
    grid, weight = laplace_grid(2, SIGMA, nodes)
    (grad,) = reference.parameter_gradient(
        lambda params: float(weight @ case.mean_loss(params, {stage: grid})),
        case.params,
        [case.network.stages[stage]],
        step=1e-4,
    )
    return grad


def noised_losses(case, noises):
    """Layer-wise, every stage with its own noise."""
    return [
        NoisedLoss(case.network, case.inputs, case.target, case.loss, {stage: noise})
        for stage, noise in enumerate(noises)
    ]


def names(case, *noises):
    return [
        one.name for one in find_references(noised_losses(case, noises), case.params, "auto", 512)
    ]


def test_closed_forms_and_patterns_are_for_gaussian_noise_alone():
    gaussian, laplace = Gaussian(SIGMA), Laplace(SIGMA)
    quadratic = harness.CASES["quadratic"]
    assert names(quadratic, gaussian, gaussian)[0] == "closed form"
    assert names(quadratic, gaussian, laplace) == ["quadrature", "differences"]
    lif = Sequential(LIF(2, 2, steps=3), MeanOverTime(), Dense(2, 2, Identity()), input_shape=(2,))
    spiking = harness.Case(lif, CrossEntropy(), harness.LABELS, None, x=X + 0.5)
    assert names(spiking, gaussian, gaussian) == ["spike patterns", "differences"]
    for noises in ((laplace, laplace), (laplace, gaussian), (gaussian, laplace)):
        assert names(spiking, *noises) == ["differences"]


@pytest.mark.parametrize("stage", [0, 1])
def test_a_grid_for_laplace_noise_knows_how_far_off_it_is(stage):
    """White noise bends into Laplace noise at 0, where a Gauss-Hermite grid does not look."""
    case = harness.CASES["chain"]
    truth = smooth_gradient(case, stage)
    coarser = smooth_gradient(case, stage, nodes=24)
    node = case.network.stages[stage]
    directions, exact = [], []
    for name, array in truth.items():
        np.testing.assert_allclose(array, coarser[name], atol=1e-6)
        for unit in np.eye(array.size):
            directions.append(Direction(stage, node, name, unit.reshape(array.shape)))
            exact.append(float(unit @ array.reshape(-1)))
    rng = np.random.default_rng(0)
    grid = find_references(
        noised_losses(case, [Laplace(SIGMA)] * 2), case.params, "quadrature", 512
    )
    found = grid[0].project(case.params, directions, rng)
    doubt = grid[0].error(case.params, directions, rng)
    assert (np.abs(found - exact) <= doubt + 1e-6).all()
    assert 1e-6 < doubt.max() < 1e-3
    assert np.abs(1.01 * found - exact).max() > doubt.max()  # a control
