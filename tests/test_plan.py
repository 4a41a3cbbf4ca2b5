"""The plan of a step: whose figures and costs a tail has, and which copies it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from certified_chain import CHAIN
from test_allocated_estimates import KEY, family, plain, warm

from nolr.estimation import (
    Equal,
    JacobianControlVariate,
    Joint,
    LikelihoodRatio,
    Neyman,
    RandomTails,
)
from nolr.estimation.figures import Merit
from nolr.tails import tail_costs


def copies_of(estimate):
    return [figures.copies for figures in estimate.info.stages]


def with_spread(state, powers):
    """A state in which one copy's noise has this variance in every stage."""
    return state._replace(spread=tuple(Merit(power=power, weight=1.0) for power in powers))


@pytest.mark.parametrize("noisy", [0, 1])
def test_a_tail_is_as_noisy_as_all_its_stages_and_as_dear_as_all_behind_the_first(noisy):
    network, params, batch, loss = family("dense")
    method = plain(copies=32, schedule=Joint(2), allocation=Neyman())
    powers = [1e9 * (stage == noisy) for stage in range(2)] + [1e-9]
    state = with_spread(method.init(network, params, loss), powers)
    estimate, _ = method(network, params, batch, loss, KEY, state)
    first, _, last = tail_costs(network, params)
    pairs = 1 + int(15 * (first + last) // first)  # all but one of the last tail's pairs
    left = 15 * (first + last) - (pairs - 1) * first
    assert copies_of(estimate) == [2 * pairs, 2 * pairs, 2 + 2 * int(left // last)]


def test_the_parts_of_workers_have_noise_of_their_own():
    """A batch of two equal halves is no matter for one worker with the noise of the first half."""
    network, params, (x, target), loss = family("dense")
    method = plain(copies=4, workers=2)
    state = method.init(network, params, loss)
    twice = np.concatenate([x, x]), np.concatenate([target, target])
    both, _ = method(network, params, twice, loss, KEY._replace(step=1), state)
    one, _ = replace(method, workers=1)(
        network, params, (x, target), loss, KEY._replace(step=1), state
    )
    for node in network.stages:
        for name, array in both.grads[node].items():
            assert not np.isclose(array, one.grads[node][name]).any()
    assert both.loss == pytest.approx(one.loss)


@pytest.mark.parametrize("allocation", [Equal(), Neyman(), RandomTails(1)], ids=repr)
def test_copies_for_the_control_variate_alone_are_shared_equally(allocation):
    network, params, batch, loss = family("dense")
    variate = JacobianControlVariate(residual=0.0)
    method = replace(plain(copies=8, allocation=allocation), control_variate=variate)
    state = with_spread(method.init(network, params, loss), (1.0, 100.0, 1e4))
    for step in range(4):
        estimate, _ = method(network, params, batch, loss, KEY._replace(step=step), state)
        assert copies_of(estimate)[:2] == [8, 8]  # the last stage's gradient is exact


@pytest.mark.parametrize("weighed", [(1,), (0, 1)], ids=str)
def test_a_credit_waits_for_the_copies_it_goes_through(weighed):
    """Behind another noised stage it does, whether or not that one is weighed, too."""
    batch, loss = (CHAIN.inputs, CHAIN.target), CHAIN.loss
    method = plain(copies=4, schedule=Joint(2), allocation=RandomTails(1))
    method = replace(method, control_variate=JacobianControlVariate("adaptive"))
    state = warm(method, CHAIN.network, CHAIN.params, batch, loss, steps=20)
    trusted = Merit(signal=1.0, power=1.0, share=10.0, square=10.0, weight=10.0)
    assert (trusted.best_weight(), Merit().best_weight()) == (1.0, 0.0)
    merits = tuple(trusted if stage in weighed else Merit() for stage in CHAIN.stages)
    there = {}
    for step in range(1, 9):  # the last stage is exact, so there are two tails: (0, 1) and (2,)
        key = KEY._replace(step=step)
        given = state._replace(residual=merits)
        estimate, _ = method(CHAIN.network, CHAIN.params, batch, loss, key, given)
        chosen = copies_of(estimate)[0] > 0
        there[chosen] = [np.any(grads["W"]) for grads in estimate.grads]
    assert there == {True: [True] * 4, False: [True, False, True, True]}


def test_the_tails_of_a_lot_are_the_only_ones_that_run():
    network, params, batch, loss = family("dense")
    method = LikelihoodRatio(copies=4, control_variate=None, allocation=RandomTails(2))
    state = method.init(network, params, loss)
    estimate, _ = method(network, params, batch, loss, KEY, state)
    assert sorted(copies_of(estimate)) == [0, 4, 4]
    assert estimate.info.forward_passes == 9
