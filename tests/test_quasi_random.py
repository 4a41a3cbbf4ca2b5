"""Points of quasi-random noise: none at the ends, and each net by itself."""

from __future__ import annotations

import numpy as np
import pytest

from nolr import quasi_random
from nolr.quasi_random import MOST_DIMENSIONS, quasi_normal

POINTS, UNITS = 32, 8


class Shift:
    """A generator whose shift is the same everywhere."""

    def __init__(self, bits):
        self.bits = bits

    @property
    def bit_generator(self):
        return self

    def random_raw(self, count):
        return np.full(count, self.bits << 32 | self.bits, np.uint64)

    def permutation(self, count):
        return np.arange(count)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_outermost_points_are_finite_and_mirror_images(dtype):
    """The first point of a net is 0: the shift is what becomes of it, the sign in its first bit."""
    ends = [0x7FFFFFFF, 0x00000000, 0x80000000, 0xFFFFFFFF]
    low, below, above, high = (quasi_normal(Shift(b), 1, 1, 1, dtype)[0, 0, 0] for b in ends)
    assert -6.4 < low < -6.2
    assert 6.2 < high < 6.4
    assert (low, below) == pytest.approx((-high, -above), rel=1e-9 if dtype == "float64" else 1e-5)
    assert 0 < above < 1e-9


def nets():
    """The first units of two nets, (POINTS, UNITS) each."""
    net = quasi_random._net(POINTS, MOST_DIMENSIONS + UNITS)
    return net[:, :UNITS], net[:, -UNITS:]


def in_step(one, other):
    """How far the signs of every unit go together, 1 if always or never."""
    same = (one >> 31) == (other >> 31)
    return np.abs(2 * np.mean(same, axis=0) - 1)


def test_units_of_two_nets_do_not_move_in_step():
    first, second = nets()
    assert in_step(first, second).mean() < 0.4  # of independent signs about 1/√32
    assert (in_step(first, quasi_random._net(POINTS, UNITS)) == 1).all()  # the control


def test_every_net_is_scrambled_by_itself():
    net = quasi_random._net(8, 2 * MOST_DIMENSIONS)
    first, second = (np.sort(part, axis=0)[:, :UNITS] for part in np.split(net, 2, axis=1))
    assert (first != second).any(axis=0).all()
    again = quasi_random._scrambled(8, MOST_DIMENSIONS, 0)[:, :UNITS]
    assert (np.sort(again, axis=0) == first).all()  # the control: the same seed
