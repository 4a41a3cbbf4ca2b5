"""Certificates of allocations: however copies are shared among tails, the estimate is unbiased.

A stage that is left to a lot is there or not: one number a draw, which no number of samples
averages out. So where a lot decides about more than a residual, a draw is the mean over all lots,
each with noise of its own. That all lots come equally often is said in `test_allocation`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from math import comb
from types import SimpleNamespace

import certified
import numpy as np
import pytest
from certified_chain import CHAIN, exact_gradient
from controls import TOLERANCE, assert_certified
from harness import SHARE
from test_allocated_estimates import uneven, warm
from test_certificates import ROWS

from nolr.estimation import (
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    Neyman,
    RandomTails,
)
from nolr.estimation.allocation import Tail
from nolr.estimation.estimand import noised_together
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Independent
from nolr.testing import BIASED, check_unbiased

ALLOCATIONS = (Neyman(), RandomTails(1), RandomTails(2))
VARIATES = {"plain": None, "variate": JacobianControlVariate(residual=1.0)}
CASES = certified.FAMILIES | {"chain": CHAIN}


@dataclass(frozen=True)
class EveryLot:
    """An estimator whose draws are means over all lots of its random tails."""

    method: LikelihoodRatio
    tails: int

    def __call__(self, network, params, batch, loss, key, state):
        lots, allocation = {}, self.method.allocation
        for number in itertools.count():
            at = key._replace(step=1000 * key.step + number)
            portions = allocation.share([Tail(1.0, 1.0)] * self.tails, 1, 1, at)
            lots.setdefault(tuple(portion.groups for portion in portions), at)
            if len(lots) == comb(self.tails, allocation.per_step):
                break
        found = [
            self.method(network, params, batch, loss, at, state)[0].grads for at in lots.values()
        ]
        grads = [
            {name: sum(grads[node][name] for grads in found) / len(found) for name in theta}
            for node, theta in enumerate(found[0])
        ]
        return SimpleNamespace(grads=grads), state


def truth_of(name, method):
    case = CASES[name]
    noised = noised_together(method.schedule, method.control_variate, case.network, case.loss)
    return exact_gradient(noised) if name == "chain" else certified.exact_gradient(name, noised)


def state_of(name, method, steps=8):
    """After some steps, but with the last stages as the noisiest by far."""
    case = CASES[name]
    batch = (np.concatenate([array] * 16) for array in (case.inputs, case.target))
    return uneven(warm(method, case.network, case.params, tuple(batch), case.loss, steps))


def certify(name, reference, state, method, **more):
    case = CASES[name]
    batch = case.inputs, case.target
    given = {"reference": reference, "state": state, "rows": ROWS[2], "max_draws": 1024}
    given |= {"tolerance": TOLERANCE, "error_rate": SHARE}
    return check_unbiased(method, case.network, case.params, batch, case.loss, **(given | more))


def make(name, allocation, variate="plain", copies=4, **more):
    noise, variate = Gaussian(CASES[name].sigma), VARIATES[variate]
    return LikelihoodRatio(noise, copies, control_variate=variate, allocation=allocation, **more)


def tails_of(name, schedule):
    return len(schedule.passes(range(len(CASES[name].network.stages))))


def combinations():
    schedules = LayerWise(), Joint(2)
    for schedule, allocation, variate in itertools.product(schedules, ALLOCATIONS, VARIATES):
        if getattr(allocation, "per_step", 1) < tails_of("chain", schedule):
            yield "chain", schedule, allocation, variate
    for name in certified.FAMILIES:
        yield name, LayerWise(), Neyman(), "plain"
        yield name, LayerWise(), RandomTails(1), "variate"


def certified_by(name, method):
    """What certifies it, and the estimator to give it: of random tails one that goes by lots."""
    given = partial(certify, name, truth_of(name, method), state_of(name, method))
    if isinstance(method.allocation, RandomTails):
        return given, EveryLot(method, tails_of(name, method.schedule))
    return given, method


@pytest.mark.parametrize(
    ("name", "schedule", "allocation", "variate"), list(combinations()), ids=str
)
def test_every_allocation_has_its_certificate(name, schedule, allocation, variate):
    given, method = certified_by(name, make(name, allocation, variate, schedule=schedule))
    assert_certified(given, method, CASES[name].stages)


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=repr)
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=lambda s: type(s).__name__)
def test_allocations_leave_a_baseline_of_other_groups_as_it_should_be(sampler, allocation):
    settings = {"copies": 4 * len(sampler.signs), "sampler": sampler, "baseline": LeaveGroupOut()}
    method = make("chain", allocation, **settings)
    given, method = certified_by("chain", method)
    assert_certified(given, method, CHAIN.stages)


@dataclass(frozen=True)
class Unweighted(RandomTails):
    """A fault: what is left out is not made up for."""

    def share(self, tails, groups, least, key):
        return [
            portion._replace(importance=float(portion.groups > 0))
            for portion in super().share(tails, groups, least, key)
        ]


@pytest.mark.parametrize("allocation", [RandomTails(1), RandomTails(2)], ids=repr)
def test_lots_as_they_come_have_their_certificate(allocation):
    """Where a prediction is there in every step, and the residual alone waits for its turn.

    β is made smaller than what was learned: so the residual is there, but not for most of it.
    """
    method = make("chain", allocation, "variate")
    state = state_of("chain", method, 100)
    evidence = [found._replace(covariance=0.88 * found.covariance) for found in state.evidence]
    given = truth_of("chain", method), state._replace(evidence=tuple(evidence))
    certain = partial(certify, "chain", *given, rows=128, max_draws=4096)
    assert_certified(certain, method, CHAIN.stages)
    unweighted = make("chain", Unweighted(allocation.per_step), "variate")
    assert certain(unweighted).verdict == BIASED  # although the most of it is a prediction


@pytest.mark.parametrize("variate", VARIATES)
@pytest.mark.parametrize("name", ["chain", "recurrent"])
def test_importance_that_is_forgotten_is_found(name, variate):
    given, method = certified_by(name, make(name, Unweighted(1), variate=variate))
    assert given(method).verdict == BIASED


@pytest.mark.parametrize("schedule", [LayerWise(), Joint(2)], ids=str)
def test_the_exact_gradients_of_the_chain_are_exact(schedule):
    """A grid with three quarters of the points along an axis has ten times its error."""
    noised = noised_together(schedule, None, CHAIN.network, CHAIN.loss)
    for fine, coarse in zip(exact_gradient(noised), exact_gradient(noised, 0.75), strict=True):
        norm = np.sqrt(sum(np.sum(array**2) for array in fine.values()))
        for key, array in fine.items():
            assert np.abs(array - coarse[key]).max() < 0.2 * TOLERANCE * norm


def test_the_two_schedules_of_the_chain_have_two_estimands():
    """The control of its certificates: they would see the wrong one."""
    method, other = (
        make("chain", Neyman(), schedule=schedule) for schedule in (LayerWise(), Joint(2))
    )
    state = state_of("chain", method)
    assert certify("chain", truth_of("chain", other), state, method).verdict == BIASED
