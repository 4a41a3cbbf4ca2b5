"""Noise: the colouring, its score, and what the two promise each other."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.noise import Gaussian
from nolr.types import Key

WHITE = np.array([[-1.5, 0.0, 0.3], [2.0, -0.1, 0.7]])


def test_colour_and_score_of_known_numbers(backend):
    white = backend.asarray(WHITE, "float64")
    noise = Gaussian(0.25)
    np.testing.assert_allclose(backend.to_host(noise.colour(white)), WHITE * 0.25)
    np.testing.assert_allclose(backend.to_host(noise.score(white)), WHITE * 4)
    assert noise.scale == 0.25


@pytest.mark.parametrize("sigma", [0.01, 0.5, 3.0])
def test_score_is_the_slope_of_the_log_density(sigma):
    # s = -d/dε log p(ε), by finite differences of the density itself.
    noise = Gaussian(sigma)

    def log_density(eps):
        return -0.5 * (eps / sigma) ** 2 - np.log(sigma)

    eps, h = noise.colour(WHITE), 1e-5 * sigma
    slope = (log_density(eps + h) - log_density(eps - h)) / (2 * h)
    np.testing.assert_allclose(noise.score(WHITE), -slope, rtol=1e-7, atol=1e-7 / sigma)


def test_score_times_colour_is_the_identity_in_the_mean():
    # E[ε s] = 1 whatever σ: the one moment that sets the scale of every gradient.
    draws = get_backend("numpy").normal(Key(3), (200_000,), "float64")
    for sigma, right in ((0.2, True), (0.7, True), (0.2, False)):
        score = Gaussian(sigma if right else 1.05 * sigma).score(draws)  # a score 5 % off
        product = Gaussian(sigma).colour(draws) * score
        z = (product.mean() - 1) / (product.std() / np.sqrt(product.size))
        assert (abs(z) < 5) == right, z


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(backend, dtype):
    white = backend.asarray(WHITE, dtype)
    assert Gaussian(0.1).colour(white).dtype == white.dtype
    assert Gaussian(0.1).score(white).dtype == white.dtype


@pytest.mark.parametrize("sigma", [0, -0.1, nan, inf])
def test_a_level_that_is_no_level_is_refused(sigma):
    with pytest.raises(BadInput, match="sigma"):
        Gaussian(sigma)
