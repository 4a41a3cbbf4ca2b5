"""Certificates of Laplace noise, within 5 % of the gradient, and of what they would find.

Gaussian noise has its own in `test_certificates`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import certified
import harness
import numpy as np
import pytest
from controls import TOLERANCE, assert_certified
from harness import SHARE, WrongScore, estimator
from laplace_expectations import STEP, exact_gradient, step_gradient
from test_certificates import BASELINES, ROWS, SAMPLERS, SCHEDULES

from nolr.backends import get_backend
from nolr.estimation import CleanLoss, LayerWise, LeaveGroupOut
from nolr.estimation.estimand import noised_together
from nolr.noise import Gaussian, Laplace
from nolr.sampling import Antithetic
from nolr.testing import BIASED, check_score, check_unbiased
from nolr.types import Key


def name_of(part):
    if isinstance(part, str):
        return part
    return {None: "plain", 1.0: "variate"}.get(part, type(part).__name__)


def certify(case, reference, method, **more):
    """Where predictions are strong and wrong, if there are any."""
    batch = case.inputs, case.target
    given = {"tolerance": TOLERANCE, "error_rate": SHARE, "reference": reference} | more
    return check_unbiased(method, case.network, case.params, batch, case.loss, **given)


def make(case, sampler, schedule, baseline, residual=None):
    """Two groups of copies with Laplace noise."""
    copies, noise = 2 * len(sampler.signs), Laplace(case.sigma)
    return estimator(sampler, schedule, baseline, residual, copies, noise)


def truth_of(name, method):
    case = certified.FAMILIES[name]
    known = method.schedule, method.control_variate, case.network, case.loss
    return exact_gradient(name, noised_together(*known))


# --- certificates ---------------------------------------------------------------------------------


def claims():
    """Every combination in one family, and some in others."""
    for known in itertools.product(SAMPLERS, SCHEDULES, BASELINES, (None, 1.0)):
        if known[0].independent_groups or not isinstance(known[2], LeaveGroupOut):
            yield "dense", *known
    for schedule, residual in itertools.product(SCHEDULES, (None, 1.0)):
        yield "residual", Antithetic(), schedule, CleanLoss(), residual
    for residual in (None, 1.0):  # noise of all stages at once would want a grid of 4 dimensions
        yield "recurrent", Antithetic(), LayerWise(), CleanLoss(), residual


@pytest.mark.parametrize(
    ("name", "sampler", "schedule", "baseline", "residual"), list(claims()), ids=name_of
)
def test_every_claim_has_its_certificate(name, sampler, schedule, baseline, residual):
    case = certified.FAMILIES[name]
    method = make(case, sampler, schedule, baseline, residual)
    settings = {"rows": ROWS[len(sampler.signs)], "state": harness.adversarial(method, case)}
    certain = partial(certify, case, truth_of(name, method), **settings)
    assert_certified(certain, method, case.stages)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=name_of)
@pytest.mark.parametrize("residual", [None, 1.0], ids=name_of)
def test_behind_a_step_there_are_certificates_too(sampler, residual):
    method = make(STEP, sampler, LayerWise(), CleanLoss(), residual)
    state = harness.adversarial(method, STEP)
    assert_certified(partial(certify, STEP, step_gradient(), state=state), method, STEP.stages)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [*itertools.product(("dense", "residual"), SCHEDULES), ("recurrent", LayerWise())],
    ids=name_of,
)
def test_the_exact_gradients_are_exact(name, schedule):
    """A grid with a sixth of the nodes less on either side of 0 has a larger error."""
    case = certified.FAMILIES[name]
    noised = noised_together(schedule, None, case.network, case.loss)
    for fine, coarse in zip(
        exact_gradient(name, noised), exact_gradient(name, noised, 1 / 6), strict=True
    ):
        for key, array in fine.items():
            norm = max(np.linalg.norm(other) for other in fine.values())
            assert np.abs(array - coarse[key]).max() < 0.2 * TOLERANCE * norm


# --- what is biased -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dense", "step"])
def test_a_score_of_another_distribution_is_found(name):
    case = STEP if name == "step" else certified.FAMILIES[name]
    laplace, gaussian = Laplace(case.sigma), Gaussian(case.sigma)
    right = make(case, Antithetic(), LayerWise(), CleanLoss())
    truth = step_gradient() if name == "step" else truth_of(name, right)
    wrong = replace(right, noise=WrongScore(laplace, other=gaussian))
    assert certify(case, truth, wrong).verdict == BIASED
    if name != "step":  # and with the gradient of the other one's noise
        known = right.schedule, None, case.network, case.loss
        truth = certified.exact_gradient(name, noised_together(*known))
        wrong = replace(right, noise=WrongScore(gaussian, other=laplace))
        assert certify(case, truth, wrong).verdict == BIASED
        assert certify(case, truth, right).verdict == BIASED  # which is another one


def test_check_score_knows_laplace_noise():
    good, laplace, gaussian = 1e-6, Laplace(0.3), Gaussian(0.3)
    assert check_score(laplace) > good
    assert check_score(WrongScore(laplace, 1.02)) < good
    white = get_backend("numpy").normal(Key(4), (200_000,), "float64")
    for noise, other in ((laplace, gaussian), (gaussian, laplace)):
        # Of another distribution, also where its scale is such that E[ε s] = 1.
        for factor in (1.0, 1.0 / np.mean(noise.colour(white) * other.score(white))):
            assert check_score(WrongScore(noise, factor, other)) < good
