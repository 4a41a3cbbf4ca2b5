"""Exact identities: what every estimator keeps to the last digit, without any statistics."""

from __future__ import annotations

import harness
import pytest
from harness import estimator

from nolr.estimation import CleanLoss, LayerWise, LeaveGroupOut, NoBaseline
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Independent
from nolr.testing import check_score, constant_loss_residue, even_loss_residue

CASES = harness.CASES
SAMPLERS = (Independent(), Antithetic())
BASELINES = (NoBaseline(), CleanLoss(), LeaveGroupOut())


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("baseline", BASELINES, ids=repr)
@pytest.mark.parametrize("residual", [None, 1.0])
def test_a_constant_loss_teaches_nothing(sampler, baseline, residual):
    case = CASES["chain"]
    residue = constant_loss_residue(
        estimator(sampler, LayerWise(), baseline, residual),
        case.network,
        case.params,
        (case.inputs, case.target),
    )
    if isinstance(baseline, NoBaseline) and isinstance(sampler, Independent):
        assert residue > 0.1  # the control: without pairs or a baseline it does
    else:
        assert residue < 1e-12


@pytest.mark.parametrize("baseline", BASELINES, ids=repr)
def test_the_even_part_of_a_loss_cancels_in_pairs(baseline):
    case = CASES["linear"]
    batch = case.inputs, case.target
    pairs = estimator(Antithetic(), LayerWise(), baseline)
    assert even_loss_residue(pairs, case.network, case.params, batch) < 1e-12
    curved = CASES["chain"]  # the control: not of a network that bends
    assert even_loss_residue(pairs, curved.network, curved.params, batch) > 1e-6


def test_scores_are_the_inverse_of_the_noise():
    assert check_score(Gaussian(0.3)) > 1e-6
    assert check_score(harness.WrongScore(Gaussian(0.3), 1.02)) < 1e-6
