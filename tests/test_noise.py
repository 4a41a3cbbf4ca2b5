"""Noise: the colouring, its score, and what the two promise each other."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_ndtr

from nolr.activations import normal_cdf
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.noise import Gaussian, Laplace
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


# --- Laplace --------------------------------------------------------------------------------------


def quantiles(white):
    """Laplace noise of σ = 1 at the quantiles of white noise, by an exact Φ."""
    return -np.sign(white) * (np.log(2) + log_ndtr(-np.abs(white))) / np.sqrt(2)


def near_zero(white):
    """The same for small numbers, where log 2Φ loses digits: ε = bη√(2/π)(1 + |η|/√(2π) + ...)."""
    slope = np.sqrt(2 / np.pi) * (1 + np.abs(white) / np.sqrt(2 * np.pi))
    return white * slope / np.sqrt(2)


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float64", 3.5e-8)])
def test_laplace_noise_has_the_quantiles_of_white_noise(backend, dtype, rtol):
    white = np.concatenate([-np.linspace(0.01, 9, 500), np.linspace(0.01, 9, 500)]).astype(dtype)
    found = backend.to_host(Laplace(1.0).colour(backend.asarray(white)))
    np.testing.assert_allclose(found, quantiles(white.astype(float)), rtol=rtol)
    tiny = np.array([-1e-3, -1e-30, 0.0, 1e-12, 1e-4], dtype)
    found = backend.to_host(Laplace(1.0).colour(backend.asarray(tiny)))
    np.testing.assert_allclose(found, near_zero(tiny.astype(float)), rtol=1e-6)


def test_a_cheap_cdf_would_not_do():
    """The control: the Φ that gates make do with."""
    white = np.linspace(0.01, 6, 500)
    cheap = -np.log(2 * normal_cdf(-white)) / np.sqrt(2)
    assert np.abs(cheap / quantiles(white) - 1).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_laplace_noise_is_odd_and_increasing_and_never_overflows(backend, dtype):
    white = np.concatenate([np.linspace(0, 12, 3001), [38.0, 1e3, 1e6]]).astype(dtype)
    above, below = (
        backend.to_host(Laplace(0.3).colour(backend.asarray(sign * white))) for sign in (1, -1)
    )
    np.testing.assert_array_equal(above, -below)
    assert np.isfinite(above).all()
    assert (np.diff(above) > 0).all()
    far = np.array([12.0, 20.0, 38.0])
    np.testing.assert_allclose(Laplace(1.0).colour(far), quantiles(far), rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_laplace_noise_has_its_distribution(backend, dtype):
    white = backend.normal(Key(8), (300_000,), getattr(backend.xp, dtype))
    noise = backend.to_host(Laplace(0.7).colour(white)).astype(np.float64)
    width = 0.7 / np.sqrt(2)
    assert stats.kstest(noise, "laplace", (0, width)).pvalue > 1e-3
    assert stats.kstest(1.04 * noise, "laplace", (0, width)).pvalue < 1e-6  # a control
    gaussian = backend.to_host(Gaussian(0.7).colour(white)).astype(np.float64)
    assert stats.kstest(gaussian, "laplace", (0, width)).pvalue < 1e-6


def mean(function):
    """E[function(η)] by Gauss-Legendre quadrature on either side of 0, where a colour may bend."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    white = 6.0 * (nodes + 1)  # 0 .. 12
    weights = 6.0 * weights * stats.norm.pdf(white)
    return float(weights @ function(white) + weights @ function(-white))


@pytest.mark.parametrize("sigma", [0.2, 1.7])
@pytest.mark.parametrize(("kind", "power"), [(Gaussian, 1.0), (Laplace, 2.0)])
def test_moments_of_noise_and_score(kind, power, sigma):
    noise = kind(sigma)
    assert mean(noise.score) == pytest.approx(0, abs=1e-12)
    assert mean(noise.colour) == pytest.approx(0, abs=1e-12)
    assert mean(lambda w: noise.colour(w) ** 2) == pytest.approx(sigma**2, rel=1e-6)
    assert mean(lambda w: noise.colour(w) * noise.score(w)) == pytest.approx(1, rel=1e-6)
    # The score's variance, the Fisher information of a shift: 1/σ² or, for Laplace, 1/b² = 2/σ².
    assert mean(lambda w: noise.score(w) ** 2) == pytest.approx(power / sigma**2, rel=1e-6)
    # By parts, E[sin(ε/σ) s] = E[cos(ε/σ)]/σ; and a score of another distribution fails.
    wrong = (Laplace if kind is Gaussian else Gaussian)(sigma)
    for score, right in ((noise.score, True), (wrong.score, False)):
        left = mean(lambda w, score=score: np.sin(noise.colour(w) / sigma) * score(w)) * sigma
        slope = mean(lambda w: np.cos(noise.colour(w) / sigma))
        assert (left == pytest.approx(slope, rel=1e-6)) == right


def test_a_laplace_score_is_the_slope_of_its_log_density():
    noise, width = Laplace(0.4), 0.4 / np.sqrt(2)
    eps, h = noise.colour(WHITE[WHITE != 0]), 1e-6
    slope = (np.abs(eps - h) - np.abs(eps + h)) / width / (2 * h)
    np.testing.assert_allclose(noise.score(WHITE[WHITE != 0]), -slope, rtol=1e-6)
    assert noise.width == width
    assert noise.scale == 0.4


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Gaussian, Laplace])
def test_linear_says_whether_the_colour_is(kind):
    noise = kind(0.3)
    doubled = np.allclose(noise.colour(2 * WHITE), 2 * noise.colour(WHITE))
    assert noise.linear == doubled


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(backend, dtype):
    white = backend.asarray(WHITE, dtype)
    for noise in (Gaussian(0.1), Laplace(0.1)):
        assert noise.colour(white).dtype == white.dtype
        assert noise.score(white).dtype == white.dtype
    np.testing.assert_array_equal(backend.to_host(white), WHITE.astype(dtype))  # as it was


@pytest.mark.parametrize("sigma", [0, -0.1, nan, inf])
@pytest.mark.parametrize("kind", [Gaussian, Laplace])
def test_a_level_that_is_no_level_is_refused(kind, sigma):
    with pytest.raises(BadInput, match="sigma"):
        kind(sigma)
