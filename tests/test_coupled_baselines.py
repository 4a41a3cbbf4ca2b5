"""Coupled groups and baselines: which of them fit, which would bias, and what is exact of them."""

from __future__ import annotations

import harness
import pytest
from harness import SHARE, estimator

from nolr.errors import BadInput
from nolr.estimation import CleanLoss, LayerWise, LeaveGroupOut, NoBaseline
from nolr.optimizers import unravel
from nolr.sampling import Orthogonal, Sobol
from nolr.testing import BIASED, check_unbiased, constant_loss_residue, even_loss_residue

COUPLED = (Orthogonal(), Sobol())


def name_of(part):
    return type(part).__name__


class IndependentOrthogonal(Orthogonal):
    """A fault: it says of its groups what is not so."""

    independent_groups = True


class IndependentSobol(Sobol):
    """The same fault."""

    independent_groups = True


@pytest.mark.parametrize("sampler", COUPLED, ids=name_of)
def test_the_other_groups_are_refused_as_a_baseline_of_coupled_ones(sampler):
    with pytest.raises(BadInput, match="draws together with it: choose CleanLoss"):
        estimator(sampler, LayerWise(), LeaveGroupOut())


@pytest.mark.parametrize("sampler", [IndependentOrthogonal(), IndependentSobol()], ids=name_of)
def test_for_they_would_bias_what_pulls_through_arrays_of_its_own(sampler):
    """A baseline that tells of this group's noise, and copies of a pair with their own arrays."""
    case, method = harness.CASES["recurrent"], estimator(sampler, LayerWise(), LeaveGroupOut())
    truth = unravel(harness.truth_of("recurrent", LayerWise()), case.params)
    task = case.network, case.params, (case.inputs, case.target), case.loss
    certificate = check_unbiased(method, *task, reference=truth, error_rate=SHARE)
    assert certificate.verdict == BIASED
    assert abs(certificate.worst.z) > 8


@pytest.mark.parametrize("sampler", COUPLED, ids=name_of)
@pytest.mark.parametrize("baseline", [NoBaseline(), CleanLoss()], ids=name_of)
def test_identities_hold_of_coupled_groups(sampler, baseline):
    method = estimator(sampler, LayerWise(), baseline)
    linear, chain = harness.CASES["linear"], harness.CASES["chain"]
    for residue in (constant_loss_residue, even_loss_residue):
        found = residue(method, linear.network, linear.params, (linear.inputs, linear.target))
        assert found < 1e-12
    bent = even_loss_residue(method, chain.network, chain.params, (chain.inputs, chain.target))
    assert bent > 1e-6  # a control: not of a network that bends
