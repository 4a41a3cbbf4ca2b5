"""Certificates: every combination that claims to be unbiased is, within 5 % of the gradient.

Estimator × sampler × schedule × baseline × family: all of them against exact gradients, those of
`certified`, with a share of one error rate. The control of every one: the same draws with a bias of
10 % in one stage. Estimators with λ < 1 are shown biased, and by how much.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import certified
import harness
import numpy as np
import pytest
from controls import TOLERANCE, Remembered, assert_certified
from harness import SHARE

from nolr.errors import BadInput
from nolr.estimation import (
    CleanLoss,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    NoBaseline,
)
from nolr.estimation.estimand import noised_together
from nolr.estimation.figures import Merit
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.testing import BIASED, UNBIASED, check_unbiased

ROWS = {1: 768, 2: 384}  # of a draw, by the copies in a group; more would leave the cache
MOST_DRAWS = 1600

SAMPLERS = (Independent(), Antithetic(), Orthogonal(), Sobol())
SCHEDULES = (LayerWise(), Joint())
BASELINES = (NoBaseline(), CleanLoss(), LeaveGroupOut())
CONTROL_VARIATES = {
    "plain": None,
    "variate": JacobianControlVariate(residual=1.0),
    "block": JacobianControlVariate(residual=1.0, probe="block"),
}
IMAGES = ("convolution", "pooling")  # elsewhere block probes are white ones; no baseline sees them


def method_of(name, sampler, schedule, baseline, control_variate):
    """Two groups of copies, in the noise of the family."""
    return LikelihoodRatio(
        noise=Gaussian(certified.FAMILIES[name].sigma),
        copies=2 * len(sampler.signs),
        sampler=sampler,
        schedule=schedule,
        baseline=baseline,
        control_variate=control_variate,
    )


def truth_of(name, method):
    case = certified.FAMILIES[name]
    known = method.schedule, method.control_variate, case.network, case.loss
    return certified.exact_gradient(name, noised_together(*known))


def state_of(name, method):
    """Predictions are strong and wrong, λ is 0.4 where it is adaptive, and nothing is learned."""
    case = certified.FAMILIES[name]
    state = harness.adversarial(method, case)
    trusted = Merit(signal=4.0, power=10.0, share=4.0, square=1.6, weight=10.0)
    assert trusted.best_weight() == pytest.approx(0.4)
    return state._replace(residual=(trusted,) * len(case.network.stages))


def certify(name, method, reference, state, signs=2):
    case = certified.FAMILIES[name]
    return check_unbiased(
        method,
        case.network,
        case.params,
        (case.inputs, case.target),
        case.loss,
        reference=reference,
        state=state,
        tolerance=TOLERANCE,
        error_rate=SHARE,
        max_draws=MOST_DRAWS,
        rows=ROWS[signs],
    )


# --- what is unbiased -----------------------------------------------------------------------------


def claims():
    """Every combination that can be made: a baseline of groups wants independent ones."""
    kinds = certified.FAMILIES, SAMPLERS, SCHEDULES, BASELINES, CONTROL_VARIATES
    for name, sampler, schedule, baseline, variate in itertools.product(*kinds):
        coupled = not sampler.independent_groups and isinstance(baseline, LeaveGroupOut)
        probed = name in IMAGES and isinstance(baseline, CleanLoss)
        if not coupled and (variate != "block" or probed):
            words = (type(part).__name__ for part in (sampler, schedule, baseline))
            known = name, sampler, schedule, baseline, variate
            yield pytest.param(*known, id="-".join((name, *words, variate)))


@pytest.mark.parametrize(("name", "sampler", "schedule", "baseline", "variate"), list(claims()))
def test_every_claim_has_its_certificate(name, sampler, schedule, baseline, variate):
    method = method_of(name, sampler, schedule, baseline, CONTROL_VARIATES[variate])
    case = certified.FAMILIES[name]
    assert method.estimand(case.network, case.loss).endswith("unbiased")
    truth, state = truth_of(name, method), state_of(name, method)
    signs = len(sampler.signs)
    assert_certified(lambda draws: certify(name, draws, truth, state, signs), method, case.stages)


@pytest.mark.parametrize("sampler", [Orthogonal(), Sobol()], ids=lambda s: type(s).__name__)
def test_the_one_combination_that_is_biased_cannot_be_made(sampler):
    with pytest.raises(BadInput, match="LeaveGroupOut"):
        method_of("dense", sampler, Joint(), LeaveGroupOut(), None)


@pytest.mark.parametrize("name", certified.FAMILIES)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_the_exact_gradients_are_exact(name, schedule):
    """A grid with three quarters of the points along an axis has a hundred times its error."""
    method = method_of(name, Antithetic(), schedule, CleanLoss(), None)
    case = certified.FAMILIES[name]
    noised = noised_together(schedule, None, case.network, case.loss)
    pairs = zip(truth_of(name, method), certified.exact_gradient(name, noised, 0.25), strict=True)
    norms = []
    for fine, coarse in pairs:
        if not fine:
            continue
        norms.append(max(np.linalg.norm(array) for array in fine.values()))
        for key, array in fine.items():
            assert np.abs(array - coarse[key]).max() < 0.2 * TOLERANCE * norms[-1]
    assert min(norms) > 0.2 * max(norms)  # no stage is lost beside another


@pytest.mark.parametrize("name", certified.FAMILIES)
def test_the_two_schedules_have_two_estimands(name):
    """The control of all certificates: they would see the wrong one."""
    method = method_of(name, Antithetic(), Joint(), CleanLoss(), None)
    other = truth_of(name, replace(method, schedule=LayerWise()))
    assert certify(name, method, other, state_of(name, method)).verdict == BIASED


# --- what is biased -------------------------------------------------------------------------------


def feedback_of(name, method, draws=16):
    """The mean of β ĝ: what is left of an estimate at hardly any λ.

    At λ = 0 it is learned from the clean run. Else copies that have inputs or pasts of their own
    multiply it with theirs.
    """
    case, residual = certified.FAMILIES[name], method.control_variate.residual
    alone = replace(method, control_variate=JacobianControlVariate(residual=residual and 1e-12))
    tiles = 1000 // len(case.inputs)
    batch = tuple(np.concatenate([array] * tiles) for array in (case.inputs, case.target))
    known, state = (case.network, case.params, batch, case.loss), state_of(name, alone)
    found = [alone(*known, key, state)[0].grads for key in harness.reference.keys(draws, seed=1)]
    return [
        {key: sum(g[node][key] for g in found) / draws for key in found[0][node]}
        for node in range(len(found[0]))
    ]


@pytest.mark.parametrize("name", certified.FAMILIES)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(("residual", "share"), [(0.0, 0.0), (0.5, 0.5), ("adaptive", 0.4)])
def test_a_residual_below_one_is_biased_and_by_how_much(name, schedule, residual, share):
    """By (1 - λ) of the way from the gradient to the prediction β ĝ, in every noised stage."""
    case, variate = certified.FAMILIES[name], JacobianControlVariate(residual=residual)
    method = method_of(name, Antithetic(), schedule, CleanLoss(), variate)
    assert "biased" in method.estimand(case.network, case.loss)
    truth, state, feedback = (of(name, method) for of in (truth_of, state_of, feedback_of))
    shrunk = list(truth)
    for stage, noised in enumerate(noised_together(schedule, variate, case.network, case.loss)):
        node = case.network.stages[stage]
        if noised:  # else the gradient is exact, and of the clean loss
            shrunk[node] = {
                key: share * array + (1 - share) * feedback[node][key]
                for key, array in truth[node].items()
            }

    draws = Remembered(method)
    certificate = certify(name, draws, truth, state)
    assert certificate.verdict == BIASED
    assert abs(certificate.worst.z) > 6
    for found in certificate.findings:
        node = case.network.stages[found.stage]
        bias = (shrunk[node][found.name] - truth[node][found.name]).reshape(-1)
        doubt = found.radius + 0.01 * found.norm  # the feedback is a mean of draws
        assert abs(found.bias) <= np.linalg.norm(bias) + doubt
        if found.direction.startswith("entry"):
            assert abs(found.bias - bias[int(found.direction.split()[1])]) <= doubt
    assert certify(name, draws, shrunk, state).verdict == UNBIASED
