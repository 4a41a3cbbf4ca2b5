"""Allocations: how copies are shared, that it biases nothing, and what it is good for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import certified
import harness
import numpy as np
import pytest

from nolr.activations import Tanh, identity
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import (
    Equal,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    Neyman,
    RandomTails,
)
from nolr.estimation.allocation import Portion, Tail
from nolr.estimation.estimand import noised_together
from nolr.layers import Conv2D, Dense, Flatten, GraphConv, SimpleRNN
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Independent
from nolr.tails import tail_costs
from nolr.testing import BIASED, check_unbiased
from nolr.testing.families import FAMILIES
from nolr.types import Key

KEY = Key(0)


# --- shares ---------------------------------------------------------------------------------------


def test_equal_shares():
    assert Equal().share([Tail(1.0, 2.0), Tail(9.0, 1.0)], 3, 1, KEY) == [Portion(3)] * 2


def tail_variance(tails, counts):
    return sum(tail.variance / count for tail, count in zip(tails, counts, strict=True))


def tail_cost(tails, counts):
    return sum(tail.cost * count for tail, count in zip(tails, counts, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_neyman_is_the_best_of_all_shares_of_equal_cost(seed):
    rng = np.random.default_rng(seed)
    tails = [Tail(float(v), 1.0) for v in rng.exponential(size=3) ** 2]
    counts = [portion.groups for portion in Neyman().share(tails, 4, 1, KEY)]
    shares = [c for c in itertools.product(range(1, 11), repeat=3) if sum(c) <= 12]
    best = min(tail_variance(tails, c) for c in shares)
    assert sum(counts) == 12
    assert tail_variance(tails, counts) == pytest.approx(best)


def test_neyman_counts_the_square_root_of_variance_over_cost():
    tails = [Tail(16.0, 1.0), Tail(1.0, 1.0), Tail(16.0, 16.0)]
    counts = np.array([portion.groups for portion in Neyman().share(tails, 600, 1, KEY)])
    assert tail_cost(tails, counts) <= 600 * 18
    assert tail_cost(tails, counts) >= 600 * 18 - 16
    assert counts / counts[1] == pytest.approx([4, 1, 1], rel=0.01)


def test_neyman_without_figures_is_equal():
    assert Neyman().share([Tail(float("nan"), 1.0), Tail(2.0, 1.0)], 5, 1, KEY) == [Portion(5)] * 2
    assert Neyman().share([Tail(0.0, 1.0), Tail(0.0, 1.0)], 5, 1, KEY) == [Portion(5)] * 2


def test_a_stage_without_noise_gets_the_least():
    shares = Neyman().share([Tail(0.0, 1.0), Tail(2.0, 1.0)], 5, 1, KEY)
    assert shares == [Portion(1), Portion(9)]


def test_neyman_leaves_every_tail_what_its_baseline_needs():
    shares = Neyman().share([Tail(1e9, 1.0), Tail(1e-9, 1.0)], 8, 2, KEY)
    assert shares == [Portion(14), Portion(2)]


def test_random_tails_are_chosen_equally_often_and_count_for_it():
    tails = [Tail(1.0, 1.0)] * 5
    shares = [RandomTails(2).share(tails, 3, 1, KEY._replace(step=step)) for step in range(4000)]
    groups = np.array([[portion.groups for portion in share] for share in shares])
    importance = np.array([[portion.importance for portion in share] for share in shares])
    assert ((groups > 0).sum(axis=1) == 2).all()
    assert set(groups.reshape(-1)) == {0, 3}
    assert (importance == np.where(groups > 0, 2.5, 0.0)).all()
    # 4000 draws with probability 0.4: the standard error is 31; all pairs occur.
    assert (groups > 0).sum(axis=0) == pytest.approx([1600] * 5, abs=140)
    assert len({tuple(np.nonzero(row)[0]) for row in groups}) == 10


def test_random_tails_are_the_same_for_every_worker_and_stage():
    tails = [Tail(1.0, 1.0)] * 7
    first = RandomTails(3).share(tails, 1, 1, KEY)
    assert RandomTails(3).share(tails, 1, 1, KEY._replace(block=1 << 16, stage=2)) == first
    assert RandomTails(7).share(tails, 2, 1, KEY) == [Portion(2)] * 7


@pytest.mark.parametrize("make", [lambda: RandomTails(0), lambda: Joint(0)])
def test_less_than_one_is_refused(make):
    with pytest.raises(BadInput, match="must be at least 1"):
        make()


# --- costs ----------------------------------------------------------------------------------------


def costs(*layers, input_shape):
    network = Sequential(*layers, input_shape=input_shape)
    return tail_costs(network, network.init(0, get_backend("numpy"), "float64"))


def test_the_cost_of_a_tail_is_its_noise_and_the_products_behind():
    tanh = Tanh()
    dense = costs(Dense(3, 5, tanh), Dense(5, 4, tanh), Dense(4, 2, identity), input_shape=(3,))
    assert dense == (32 * 5 + 6 * 4 + 5 * 2, 32 * 4 + 5 * 2, 32 * 2)
    conv = costs(
        Conv2D(1, 2, 3, padding=1), Conv2D(2, 3, 3), Flatten(), Dense(12, 2), input_shape=(1, 4, 4)
    )
    assert conv == (32 * 32 + 4 * (3 * 18 + 3) + 26, 32 * 12 + 26, 32 * 2)
    rows = costs(SimpleRNN(2, 3, last=False), Dense(3, 2, identity), input_shape=(5, 2))
    assert rows == (32 * 15 + 5 * 8, 32 * 10)
    graph = FAMILIES["graph"].network
    assert all(isinstance(graph.layer(stage), GraphConv) for stage in (0, 1))
    assert tail_costs(graph, graph.init(0, get_backend("numpy"), "float64"))[1] == 32 * 6


def test_joint_noise_of_a_few_stages_goes_by_neighbours():
    assert Joint(2).passes([0, 1, 2, 3, 4]) == ((0, 1), (2, 3), (4,))
    assert Joint().passes([0, 1, 2]) == ((0, 1, 2),)
    assert Joint().passes([]) == Joint(2).passes([]) == ()
    assert "2 neighbouring stages" in Joint(2).estimand


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


# --- unbiased -------------------------------------------------------------------------------------

ALLOCATIONS = (Neyman(), RandomTails(1), RandomTails(2))


@dataclass(frozen=True)
class Unweighted(RandomTails):
    """A fault: what is left out is not made up for."""

    def share(self, tails, groups, least, key):
        return [
            portion._replace(importance=float(portion.groups > 0))
            for portion in super().share(tails, groups, least, key)
        ]


def certify(name, method, adversarial=False):
    """To 15 %, or to 25 % where a stage is chosen by lot: its turn is one number a draw, which no
    number of rows averages out."""
    by_lot = isinstance(method.allocation, RandomTails)
    case = certified.FAMILIES[name]
    batch = case.inputs, case.target
    tiled = [np.concatenate([array] * 16) for array in batch]
    state = uneven(warm(method, case.network, case.params, tiled, case.loss))
    if adversarial:  # a prediction that leaves much to the residual
        state = harness.adversarial(method, case)
    noised = noised_together(method.schedule, method.control_variate, case.network, case.loss)
    return check_unbiased(
        method,
        case.network,
        case.params,
        batch,
        case.loss,
        reference=certified.exact_gradient(name, noised),
        tolerance=0.25 if by_lot else 0.15,
        error_rate=harness.SHARE,
        rows=1 << 9 if by_lot else 1 << 13,
        state=state,
    )


COMBINATIONS = [
    *itertools.product(["dense"], [LayerWise(), Joint(2)], ALLOCATIONS, [None, 1.0]),
    *itertools.product(["recurrent"], [LayerWise()], [RandomTails(1)], [None, 1.0]),
]


@pytest.mark.parametrize(("name", "schedule", "allocation", "residual"), COMBINATIONS, ids=str)
def test_every_allocation_has_its_certificate(name, schedule, allocation, residual):
    variate = None if residual is None else JacobianControlVariate(residual)
    sigma = certified.FAMILIES[name].sigma
    method = LikelihoodRatio(
        Gaussian(sigma), 4, schedule=schedule, control_variate=variate, allocation=allocation
    )
    certify(name, method).raise_unless_unbiased()


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=repr)
def test_single_copies_and_a_baseline_of_others(allocation):
    method = LikelihoodRatio(
        Gaussian(certified.FAMILIES["dense"].sigma),
        4,
        sampler=Independent(),
        baseline=LeaveGroupOut(),
        control_variate=None,
        allocation=allocation,
    )
    certify("dense", method).raise_unless_unbiased()


@pytest.mark.parametrize("name", ["dense", "recurrent"])
@pytest.mark.parametrize("residual", [None, 1.0], ids=["plain", "variate"])
def test_importance_that_is_forgotten_is_found(name, residual):
    variate = None if residual is None else JacobianControlVariate(residual)
    sigma = certified.FAMILIES[name].sigma
    method = LikelihoodRatio(Gaussian(sigma), 4, control_variate=variate, allocation=Unweighted(1))
    assert certify(name, method, adversarial=True).verdict == BIASED


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
