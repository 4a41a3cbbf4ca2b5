"""Faults of the noise and its score."""

from __future__ import annotations

import numpy as np

from mutations.estimators import CORRELATED, JOINT, PAIRS, SINGLES, AutoRegressive
from mutations.table import planted
from nolr.backends.numpy import NumpyBackend
from nolr.estimation import perturbation
from nolr.noise import Gaussian
from nolr.testing import check_score


@planted(Gaussian, "score", "dense", PAIRS)
def score_a_tenth_too_large(right, noise, white):
    """s = 1.1 η/σ: the gradient grows by a tenth."""
    return 1.1 * right(noise, white)


@planted(Gaussian, "score", "dense", PAIRS)
def score_divided_by_the_variance(right, noise, white):
    """s = ε/σ² = η/σ, not η/σ²: the white noise is not ε."""
    return right(noise, white) / noise.sigma


@planted(Gaussian, "score", "one", PAIRS, check=check_score)
def score_of_another_distribution(right, noise, white):
    """sign(ε)/b is the score of Laplace noise, not of Gaussian."""
    return np.sign(white) / noise.sigma


@planted(Gaussian, "colour", "one", PAIRS, check=check_score)
def noise_clipped_but_scored_as_if_not(right, noise, white):
    """Noise cut off at 2σ is not Gaussian, so η/σ is not its score."""
    return right(noise, np.clip(white, -2, 2))


@planted(AutoRegressive, "score", "one", CORRELATED)
def correlated_noise_scored_with_its_marginal(right, noise, white):
    """ε/σ² forgets that a unit's noise tells of its neighbour's."""
    return noise.colour(white) / noise.sigma**2


@planted(perturbation.Draw, "noise", "dense", PAIRS)
def noise_of_another_level_than_its_score(right, draw, clean, step, stage, white):
    """ε = 0.8 η, scored as 0.5 η."""
    return Gaussian(0.8).colour(white)


@planted(NumpyBackend, "normal", "lif", PAIRS)
def coins_instead_of_normal_numbers(right, backend, key, shape, dtype):
    """±1 has the right mean and variance, but its score is not η."""
    return np.sign(right(backend, key, shape, dtype))


@planted(perturbation.Draw, "white", "linear", JOINT)
def stages_share_their_noise(right, draw, clean, stage):
    """A key without the stage: each score is credited with what the other stage's noise did."""
    return right(draw, clean, 0)


@planted(perturbation.Draw, "white", "one", SINGLES)
def copies_share_their_noise(right, draw, clean, stage):
    """A key without the copy: the others' mean is the copy's own loss."""
    white = right(draw, clean, stage)
    return np.broadcast_to(white[:1], white.shape)


@planted(perturbation.Draw, "white", "one", PAIRS)
def steps_share_their_noise(right, draw, clean, stage):
    """A key without the step: what one draw is wrong by never averages out."""
    return right(draw._replace(key=draw.key._replace(step=0)), clean, stage)


@planted(perturbation.Draw, "white", "max pool", PAIRS)
def noise_in_blocks_scored(right, draw, clean, stage):
    """Noise that is the same all over a block has a singular covariance, and no score."""
    blocks, white = clean.network.pathways[stage].blocks, right(draw, clean, stage)
    return blocks.pull(blocks.push(white)) / blocks.size
