"""Confidence sequences: they hold at all times together, and close in at the right rate."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.testing.confidence import FEWEST_DRAWS, ConfidenceSequence


def test_moments_are_those_of_all_draws():
    draws = np.random.default_rng(0).normal(size=(100, 3)) * (1.0, 5.0, 0.0) + (2.0, 0.0, 7.0)
    sequence = ConfidenceSequence(3, 0.01, 100)
    sequence.add(draws[:70])
    sequence.add(draws[70:])
    np.testing.assert_allclose(sequence.mean, draws.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(sequence.deviation, draws.std(axis=0, ddof=1), atol=1e-12)
    np.testing.assert_allclose(sequence.error, draws.std(axis=0, ddof=1) / 10, atol=1e-12)


def test_nothing_is_concluded_from_too_few_draws():
    sequence = ConfidenceSequence(1, 0.01, 100)
    sequence.add(np.zeros((FEWEST_DRAWS - 1, 1)))
    assert np.isinf(sequence.radius).all()
    sequence.add(np.zeros((1, 1)))
    assert (sequence.radius == 0).all()


def ever_missed(error_rate, peek_from, repetitions=2000, draws=600, fixed=None):
    """How often an interval around a mean of 0 misses it at some time."""
    rng, missed = np.random.default_rng(1), 0
    values = rng.normal(size=(repetitions, draws))
    times = np.arange(1, draws + 1)
    mean = values.cumsum(axis=1) / times
    deviation = np.sqrt(np.maximum((values**2).cumsum(axis=1) / times - mean**2, 0))
    if fixed is None:
        factor = np.ones(draws)
        for t in range(peek_from, draws + 1):
            one = ConfidenceSequence(1, error_rate, draws)
            one.add(np.zeros((1, 1)))
            one.draws, one._squares = t, np.array([float(max(t - 1, 1))])
            factor[t - 1] = one.radius[0]
    else:
        factor = fixed / np.sqrt(times)
    missed = np.abs(mean) > factor * deviation
    return missed[:, peek_from - 1 :].any(axis=1).mean()


def test_whoever_looks_after_every_draw_is_wrong_as_rarely_as_promised():
    assert ever_missed(0.05, FEWEST_DRAWS) < 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
    # The control: ordinary intervals at 95 %, looked at after every draw.
    assert ever_missed(0.05, FEWEST_DRAWS, fixed=1.96) > 0.15


def test_the_error_rate_is_shared_by_all_numbers():
    one, many = (ConfidenceSequence(count, 1e-6, 1000) for count in (1, 100))
    draws = np.random.default_rng(2).normal(size=(200, 1))
    one.add(draws)
    many.add(np.tile(draws, 100))
    assert (many.radius > 1.05 * one.radius).all()


def test_the_radius_shrinks_almost_as_a_standard_error():
    sequence, radii = ConfidenceSequence(1, 1e-6, 4096), {}
    draws = np.random.default_rng(3).normal(size=(16384, 1))
    for start, end in ((0, 1024), (1024, 4096), (4096, 16384)):
        sequence.add(draws[start:end])
        radii[end] = sequence.radius[0] / sequence.error[0]
    # In standard errors: it never falls to the 4.9 of an interval for one fixed number of draws.
    assert 5.0 < radii[4096] < 6.5
    assert radii[1024] == pytest.approx(radii[4096], rel=0.1)
    assert radii[16384] == pytest.approx(radii[4096], rel=0.1)
