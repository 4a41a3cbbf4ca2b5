"""Estimates under an allocation: who gets how many copies, what is measured, what it is worth."""

from __future__ import annotations

from dataclasses import replace

import harness
import numpy as np
import pytest

from nolr.backends import get_backend
from nolr.estimation import (
    Equal,
    JacobianControlVariate,
    LikelihoodRatio,
    Neyman,
    RandomTails,
)
from nolr.noise import Gaussian
from nolr.tails import tail_costs
from nolr.testing.families import FAMILIES
from nolr.types import Key

KEY = Key(0)


# --- in an estimator ------------------------------------------------------------------------------


def warm(method, network, params, batch, loss, steps=8):
    """A state with figures of every stage: random tails are not all measured in the first steps."""
    state = replace(method, monitor_every=1).init(network, params, loss)
    for step in range(steps):
        _, state = replace(method, monitor_every=1)(
            network, params, batch, loss, Key(7, step=step), state
        )
    return state


def uneven(state):
    """The same state, with the last stages far noisier than the first."""
    spread = tuple(
        merit._replace(signal=0.0, power=10.0**stage, weight=1.0)
        for stage, merit in enumerate(state.spread)
    )
    return state._replace(spread=spread)


def plain(**kwargs):
    return LikelihoodRatio(Gaussian(harness.SIGMA), control_variate=None, **kwargs)


def family(name):
    case = FAMILIES[name]
    params = case.network.init(3, get_backend("numpy"), "float64")
    return case.network, params, (case.inputs, case.target), case.loss


def test_neyman_gives_the_noisy_stage_more_and_costs_no_more():
    network, params, batch, loss = family("dense")
    method = plain(copies=16, allocation=Neyman())
    state = uneven(warm(method, network, params, batch, loss))
    estimate, _ = method(network, params, batch, loss, KEY, state)
    copies = [figures.copies for figures in estimate.info.stages]
    assert copies == sorted(copies)
    assert copies[0] < 16 < copies[-1]
    assert estimate.info.forward_passes == 1 + sum(copies)
    costs = tail_costs(network, params)
    assert np.dot(costs, copies) <= 16 * sum(costs)


def test_random_tails_leave_the_others_without_a_residual():
    network, params, batch, loss = family("dense")
    method = plain(copies=4, allocation=RandomTails(1))
    state = method.init(network, params, loss)
    for step in range(5):
        estimate, _ = method(network, params, batch, loss, KEY._replace(step=step), state)
        copies = [figures.copies for figures in estimate.info.stages]
        assert sorted(copies) == [0, 0, 4]
        for stage, node in enumerate(network.stages):
            there = [np.abs(array).max() > 0 for array in estimate.grads[node].values()]
            assert all(there) if copies[stage] else not any(there)
        assert estimate.info.forward_passes == 5


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("allocation", [Neyman(), RandomTails(2)], ids=repr)
def test_workers_share_the_same_tails(workers, allocation):
    network, params, batch, loss = family("dense")
    method = plain(copies=8, allocation=allocation, workers=workers)
    state = uneven(warm(method, network, params, batch, loss))
    estimate, _ = method(network, params, batch, loss, KEY, state)
    single, _ = replace(method, workers=1)(network, params, batch, loss, KEY, state)
    assert [f.copies for f in estimate.info.stages] == [f.copies for f in single.info.stages]


@pytest.mark.parametrize("name", ["dense", "recurrent"])
@pytest.mark.parametrize("residual", [None, 1.0], ids=["plain", "variate"])
def test_the_spread_is_the_variance_of_one_copy_whatever_their_number(name, residual):
    """Of its noise alone: the samples differ, and half batches with them.

    Variances of heavy tails, from the last 100 steps or so: they are known to 15 %.
    """
    network, params, (x, target), loss = family(name)
    rng = np.random.default_rng(5)
    batch = rng.normal(size=(60, *x.shape[1:])), np.resize(target, (60, *target.shape[1:]))
    variate = None if residual is None else JacobianControlVariate(residual)

    def measured(copies, allocation, steps=150, **kwargs):
        method = LikelihoodRatio(
            Gaussian(harness.SIGMA),
            copies,
            control_variate=variate,
            allocation=allocation,
            monitor_every=1,
            **kwargs,
        )
        state = method.init(network, params, loss)
        if variate is not None:
            state = state._replace(evidence=taught)
        draws = []
        for step in range(steps):
            estimate, new = method(network, params, batch, loss, Key(7, step=step), state)
            state = state._replace(spread=new.spread)  # what was learned stays as it is
            draws.append(
                [
                    np.concatenate([a.ravel() for a in estimate.grads[node].values()])
                    for node in network.stages
                ]
            )
        real = [np.var([d[i] for d in draws], axis=0).sum() for i in range(len(network.stages))]
        return np.array([merit.variance for merit in state.spread]), copies * np.array(real)

    if variate is not None:
        taught = warm(
            LikelihoodRatio(Gaussian(harness.SIGMA), control_variate=variate),
            network,
            params,
            batch,
            loss,
            steps=100,
        ).evidence
    for copies, allocation, kwargs in (
        (4, Equal(), {"workers": 2}),
        (32, Equal(), {"block_bytes": 4096}),
    ):
        spread, real = measured(copies, allocation, **kwargs)
        assert spread == pytest.approx(real, rel=0.45, abs=1e-12)
    # Of random tails, where their turn is another source of variance, the same as of equal ones.
    lot, _ = measured(8, RandomTails(1), steps=400)
    assert lot == pytest.approx(real, rel=0.45, abs=1e-12)


# --- what it is good for --------------------------------------------------------------------------


def test_neyman_takes_off_variance_at_equal_cost():
    network, params, (x, target), loss = family("dense")
    params = ({k: 6.0 * v for k, v in params[0].items()}, *params[1:])
    batch = np.tile(x, (50, 1)), np.tile(target, 50)

    def total(allocation):
        method = plain(copies=16, allocation=allocation)
        state = warm(method, network, params, batch, loss, steps=40)
        draws = [
            harness.flat(
                method(network, params, batch, loss, Key(9, step=step), state)[0].grads, network
            )
            for step in range(300)
        ]
        return np.var(draws, axis=0).sum()

    assert total(Neyman()) < 0.95 * total(Equal())
