"""Allocations: how copies are shared, that it biases nothing, and what it is good for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from nolr.activations import Tanh, identity
from nolr.backends import get_backend
from nolr.backends.numpy import host_generator
from nolr.errors import BadInput
from nolr.estimation import (
    Equal,
    Joint,
    Neyman,
    RandomTails,
)
from nolr.estimation.allocation import Portion, Tail
from nolr.layers import Conv2D, Dense, Flatten, GraphConv, SimpleRNN
from nolr.network import Sequential
from nolr.tails import tail_costs
from nolr.testing.families import FAMILIES
from nolr.types import Key, Stream

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


def test_what_is_left_by_a_dear_tail_goes_to_a_cheap_one():
    shares = Neyman().share([Tail(100.0, 10.0), Tail(1.0, 1.0)], 2, 1, KEY)
    assert shares == [Portion(2), Portion(2)]
    shares = Neyman().share([Tail(100.0, 10.0), Tail(1.0, 1.0)], 6, 1, KEY)
    assert shares == [Portion(6), Portion(6)]
    shares = Neyman().share([Tail(100.0, 10.0), Tail(0.1, 1.0)], 6, 1, KEY)
    assert shares == [Portion(6), Portion(6)]  # 55 of work: five more of the first, and the rest


def test_rounding_costs_no_group():
    for groups in range(1, 12):
        assert Neyman().share([Tail(1.0, 0.1)] * 3, groups, 1, KEY) == [Portion(groups)] * 3


def test_neyman_without_figures_is_equal():
    assert Neyman().share([Tail(float("nan"), 1.0), Tail(2.0, 1.0)], 5, 1, KEY) == [Portion(5)] * 2
    assert Neyman().share([Tail(0.0, 1.0), Tail(0.0, 1.0)], 5, 1, KEY) == [Portion(5)] * 2


def test_a_stage_without_noise_gets_the_least():
    shares = Neyman().share([Tail(0.0, 1.0), Tail(2.0, 1.0)], 5, 1, KEY)
    assert shares == [Portion(1), Portion(9)]


def test_neyman_leaves_every_tail_what_its_baseline_needs():
    shares = Neyman().share([Tail(1e9, 1.0), Tail(1e-9, 1.0)], 8, 2, KEY)
    assert shares == [Portion(14), Portion(2)]


@dataclass(frozen=True)
class Favoured(RandomTails):
    """A fault: in one step of twelve the first tail needs no lot."""

    def share(self, tails, groups, least, key):
        if key.step % 12 == 0:
            given = [Portion(groups, len(tails) / self.per_step), Portion(0, 0.0)]
            return [*given[:1] * self.per_step, *given[1:] * (len(tails) - self.per_step)]
        return super().share(tails, groups, least, key)


def lots(allocation, tails, steps):
    """The groups and importances of every step, (steps, tails) each."""
    shares = [
        allocation.share([Tail(1.0, 1.0)] * tails, 3, 1, KEY._replace(step=step))
        for step in range(steps)
    ]
    return np.moveaxis(np.array(shares), 2, 0)


def equally_often(chosen, chance):
    """Whether all tails, (steps, tails), could have this chance."""
    count, steps = chosen.sum(axis=0), len(chosen)
    return np.abs(count - steps * chance).max() < 5 * np.sqrt(steps * chance * (1 - chance))


def test_random_tails_are_chosen_equally_often_and_count_for_it():
    """A chance that is off by 5 % would be seen."""
    groups, importance = lots(RandomTails(2), 5, 15_000)
    assert ((groups > 0).sum(axis=1) == 2).all()
    assert set(groups.reshape(-1)) == {0, 3}
    assert (importance == np.where(groups > 0, 2.5, 0.0)).all()
    assert equally_often(groups > 0, 0.4)
    pairs = (groups > 0) @ (1 << np.arange(5))
    assert equally_often(pairs[:, None] == np.unique(pairs), 0.1)
    assert len(np.unique(pairs)) == 10
    favoured, _ = lots(Favoured(2), 5, 5000)  # the control
    assert not equally_often(favoured > 0, 0.4)


def test_random_tails_are_the_same_for_every_worker_and_stage():
    tails = [Tail(1.0, 1.0)] * 7
    first = RandomTails(3).share(tails, 1, 1, KEY)
    assert RandomTails(3).share(tails, 1, 1, KEY._replace(block=1 << 16, stage=2)) == first
    assert RandomTails(7).share(tails, 2, 1, KEY) == [Portion(2)] * 7


def test_a_lot_knows_nothing_of_the_noise_of_its_step():
    """Whose key it is given: it has a stream of its own."""
    tails = [Tail(1.0, 1.0)] * 7
    streams = Stream.NOISE, Stream.PROBE, Stream.SHUFFLE
    for step in range(8):
        keys = [KEY._replace(step=step, stream=stream) for stream in streams]
        first, *others = ([p.groups for p in RandomTails(3).share(tails, 1, 1, k)] for k in keys)
        assert others == [first] * 2
        noises = ([int(i in host_generator(k).permutation(7)[:3]) for i in range(7)] for k in keys)
        assert first not in list(noises)


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
