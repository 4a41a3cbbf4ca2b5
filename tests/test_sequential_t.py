"""The radius of a confidence sequence is that of a likelihood ratio, found by integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nolr.testing.confidence import ConfidenceSequence


def likelihood_ratio(t, draws, kappa):
    """Of Student's t with a mean that is off by δ standard deviations, δ ~ N(0, 1/κ), and without.

    All that unknown scales leave of normal draws is t, so this is the ratio of all of them.
    """
    delta = np.linspace(-0.4, 1.2, 1601)  # beyond, there is next to nothing
    at = stats.nct.pdf(t, draws - 1, delta * np.sqrt(draws))
    mixed = np.sum(stats.norm.pdf(delta, scale=kappa**-0.5) * at) * (delta[1] - delta[0])
    return mixed / stats.t.pdf(t, draws - 1)


@pytest.mark.parametrize("draws", [64, 80, 100])
@pytest.mark.parametrize("error_rate", [0.05, 1e-4])
def test_at_the_radius_the_likelihood_ratio_is_one_over_the_error_rate(draws, error_rate):
    sequence = ConfidenceSequence(1, error_rate, horizon=128)
    values = np.random.default_rng(0).normal(size=(draws, 1))
    sequence.add(values)
    t = float(sequence.radius[0] / sequence.error[0])
    found = likelihood_ratio(t, draws, sequence.kappa)
    assert found == pytest.approx(1 / error_rate, rel=1e-3)
    # The control: the radius of draws whose variance is known is too small.
    known = np.sqrt(
        (1 + sequence.kappa / draws) * np.log((1 + draws / sequence.kappa) / error_rate**2)
    )
    assert likelihood_ratio(float(known), draws, sequence.kappa) < 0.99 / error_rate
