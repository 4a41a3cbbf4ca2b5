"""Orthogonal and Sobol pairs: every η is white noise by itself, and together they are better.

The tests of what a single η is are those of any normal draw; wrong couplings of the same kind
(lengths made equal, points without a shift) must fail them.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from conftest import open_backend
from scipy import stats
from test_sampling import moments_z

from nolr import quasi_random, sampling
from nolr.backends import NAMES, get_backend
from nolr.quasi_random import MOST_DIMENSIONS, quasi_normal
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.types import Key

NUMPY = get_backend("numpy")
KEY = Key(3, step=5, stage=1)
COUPLED = [Orthogonal(), Sobol()]
every_coupled = pytest.mark.parametrize("sampler", COUPLED, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def white(sampler, groups, samples, units, dtype="float64", key=KEY):
    """(groups, samples, units) in float64."""
    draws = sampler.draw(NUMPY, key, groups, (samples, units), getattr(NUMPY.xp, dtype))
    assert draws.dtype == np.dtype(dtype)
    return draws.astype(np.float64)


def is_white(draws):
    """Whether the numbers could be independent and standard normal."""
    normal = stats.kstest(draws.reshape(-1), "norm").pvalue > 1e-5
    return normal and np.abs(moments_z(draws.reshape(-1))).max() < 5


# --- one by one: white noise ----------------------------------------------------------------------


@every_dtype
@every_coupled
@pytest.mark.parametrize(("groups", "units"), [(1, 3), (3, 3), (4, 7), (5, 2), (6, 1)])
def test_every_direction_by_itself_is_white(sampler, dtype, groups, units):
    draws = white(sampler, groups, 40_000 // units, units, dtype)
    assert all(is_white(group) for group in draws)
    assert not any(is_white(1.05 * group) for group in draws)  # a control


def test_directions_of_equal_length_are_not_white():
    """The control: with the right mean length, but the same for all."""
    draws = white(Orthogonal(), 4, 20_000, 7)
    lengths = np.linalg.norm(draws, axis=-1, keepdims=True)
    assert is_white(draws[2])
    assert not is_white((draws * sqrt(7) / lengths)[2])


class NoShift:
    """A generator whose bits are all 0."""

    @property
    def bit_generator(self):
        return self

    def random_raw(self, count):
        return np.zeros(count, np.uint64)

    def permutation(self, count):
        return np.arange(count)


def test_points_without_a_shift_are_not_white():
    """The control: all samples see the same net, whose bits are scrambled once and for all."""
    draws = quasi_normal(NoShift(), 4, 5000, 20, "float64")
    assert not any(is_white(group) for group in draws)
    shifted = quasi_normal(np.random.default_rng(0), 4, 5000, 20, "float64")
    assert all(is_white(group) for group in shifted)


@every_coupled
def test_samples_are_independent(sampler):
    draws = white(sampler, 4, 20_000, 3)
    signs, squares = np.sign(draws), draws**2 - 1
    for values in (draws, signs, squares):
        for shift in (1, 2):
            a, b = values[:, shift:, :], values[:, :-shift, :]
            for rho in np.einsum("anu,bnv->abuv", a, b).reshape(-1) / sqrt(a.shape[1]):
                assert abs(rho) < 5 * values.var()
    # The control: within a sample the groups are anything but.
    assert np.abs(np.einsum("anu,bnu->ab", squares, squares)[0, 1:]).max() > 5 * sqrt(60_000)


@every_dtype
@every_coupled
def test_the_same_key_the_same_numbers(sampler, dtype):
    first, again = (white(sampler, 3, 5, 4, dtype) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for other in (KEY._replace(step=6), KEY._replace(stage=0), KEY._replace(block=1)):
        assert (white(sampler, 3, 5, 4, dtype, other) != first).all()


@every_dtype
def test_every_backend_has_the_same_numbers(other_backend, dtype):
    kind = getattr(other_backend.xp, dtype)
    for sampler in (Orthogonal("host"), Sobol("host"), Sobol("device")):
        theirs = sampler.draw(other_backend, KEY, 5, (6, 2, 2), kind)
        ours = sampler.draw(NUMPY, KEY, 5, (6, 2, 2), getattr(NUMPY.xp, dtype))
        assert theirs.dtype == kind
        assert ours.dtype == np.dtype(dtype)
        if isinstance(sampler, Sobol):
            np.testing.assert_array_equal(other_backend.to_host(theirs), ours)
        else:  # sums differ by rounding
            atol = 1e-4 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(other_backend.to_host(theirs), ours, atol=atol)


@every_coupled
@pytest.mark.parametrize("shape", [(), (3,), (1, 5), (2, 3, 4), (0, 3), (3, 0)])
def test_any_shape_can_be_drawn(sampler, shape):
    for groups in (1, 3):
        drawn = sampler.draw(NUMPY, KEY, groups, shape, NUMPY.xp.float32)
        assert drawn.shape == (groups, *shape)
        assert drawn.dtype == NUMPY.xp.float32


# --- orthogonal -----------------------------------------------------------------------------------


def largest_overlap(draws):
    """max over samples and pairs of directions of |cosine|."""
    unit = draws / np.linalg.norm(draws, axis=-1, keepdims=True)
    gram = np.einsum("anu,bnu->nab", unit, unit)
    return np.abs(gram - np.eye(len(draws))).max()


@pytest.mark.parametrize("name", NAMES)
@every_dtype
@pytest.mark.parametrize(("groups", "units"), [(2, 2), (3, 8), (40, 40)])
def test_directions_are_orthogonal_in_every_sample(name, dtype, groups, units):
    backend = open_backend(name)
    drawn = Orthogonal().draw(backend, KEY, groups, (50, units), getattr(backend.xp, dtype))
    draws = np.asarray(backend.to_host(drawn), np.float64)
    assert largest_overlap(draws) < (3e-6 if dtype == "float32" else 1e-12)
    assert largest_overlap(white(Antithetic(), groups, 50, units)) > 0.3  # a control


def test_one_round_of_gram_schmidt_would_not_do(monkeypatch):
    monkeypatch.setattr(sampling, "ROUNDS", 1)
    assert largest_overlap(white(Orthogonal(), 40, 50, 40, "float32")) > 1e-5


def test_lengths_are_those_of_the_independent_draw():
    coupled, free = (white(kind(), 5, 30, 6) for kind in (Orthogonal, Antithetic))
    np.testing.assert_allclose(*(np.linalg.norm(draws, axis=-1) for draws in (coupled, free)))
    np.testing.assert_allclose(coupled[0], free[0])  # the first one stays where it is
    assert not np.isclose(coupled[1:], free[1:]).any()


def test_more_groups_than_units_begin_an_independent_block():
    draws, d = white(Orthogonal(), 8, 40_000, 3), 3
    products = np.einsum("anu,bnu->abn", draws, draws)
    blocks = np.arange(8) // d
    for a in range(8):
        for b in range(a):
            if blocks[a] == blocks[b]:
                assert np.abs(products[a, b]).max() < 1e-12
            else:  # of independent ones E[(η·η')²] = d, whose fourth moment is 3d(d + 2)
                z = (np.mean(products[a, b] ** 2) - d) / sqrt((3 * d * (d + 2) - d**2) / 40_000)
                assert abs(z) < 5


def test_a_direction_of_length_zero_does_no_harm(monkeypatch):
    class Degenerate:
        xp = NUMPY.xp

        def normal(self, key, shape, dtype):
            draws = NUMPY.normal(key, shape, dtype)
            draws[0, 0], draws[2, 1], draws[1, 2] = 0.0, draws[0, 1], 2 * draws[0, 2]
            return draws

    draws = Orthogonal().draw(Degenerate(), KEY, 3, (4, 3), "float64")
    assert np.isfinite(draws).all()
    assert (draws[0, 0] == 0).all()
    assert largest_overlap(draws[:, 3:]) < 1e-12


# --- Sobol ----------------------------------------------------------------------------------------


def is_a_net(draws, boxes):
    """Whether the pairs of every sample have one point in every box of the first units.

    Args:
        boxes: into how many parts each of them is cut; their product is the number of points.
    """
    pairs = stats.norm.cdf(np.concatenate([draws, -draws]))
    assert len(pairs) == np.prod(boxes)
    cell = np.zeros(pairs.shape[:2], int)
    for unit, parts in enumerate(boxes):
        cell = cell * parts + np.floor(parts * pairs[..., unit]).astype(int)
    return (np.sort(cell, axis=0) == np.arange(len(pairs))[:, None]).all()


@pytest.mark.parametrize("boxes", [(2,), (4,), (16,), (128,), (4, 2), (2, 4), (8, 8), (1, 16)])
def test_the_pairs_of_a_sample_are_a_net(boxes):
    groups = int(np.prod(boxes)) // 2
    assert is_a_net(white(Sobol(), groups, 20, 5), boxes)
    if groups > 1:  # one pair always is
        assert not is_a_net(white(Antithetic(), groups, 20, 5), boxes)


def every_point(points, units):
    """The Sobol sequence as it is, with its first direction."""
    from scipy.stats import qmc

    found = qmc.Sobol(units, scramble=False, bits=32).random_base2(max(points - 1, 0).bit_length())
    return (found[:points] * 2.0**32).astype(np.uint32)


@pytest.fixture
def with_first_direction(monkeypatch):
    """A fault, planted: pairs of points that are near mirror images already."""
    quasi_random._net.cache_clear()
    monkeypatch.setattr(quasi_random, "_sobol", every_point)
    yield
    quasi_random._net.cache_clear()


def test_pairs_of_all_points_are_no_net(with_first_direction):
    assert not is_a_net(white(Sobol(), 8, 20, 5), (16,))


def test_any_number_of_groups_will_do():
    draws = [quasi_normal(np.random.default_rng(0), g, 4, 6, "float64") for g in range(1, 9)]
    for groups, part in enumerate(draws, 1):
        assert part.shape == (groups, 4, 6)
    # The same sequence, in another order, and not scrambled by its length.
    whole = {point.tobytes() for point in draws[7]}
    for part in draws[4:7]:
        assert {point.tobytes() for point in part} < whole


def test_the_first_direction_is_the_mirror():
    leading, ours = 1 << 31, {tuple(point) for point in quasi_random._sobol(8, 5)}
    everything = {tuple(point) for point in every_point(16, 5)}
    mirrored = {tuple(bits ^ leading for bits in point) for point in ours}
    assert not ours & mirrored
    assert ours | mirrored == everything
    bits = quasi_random._net(8, 5)
    one, other = (quasi_random._with_sign(half) for half in (bits, bits ^ np.uint32(leading)))
    np.testing.assert_array_equal(other, ~one)  # u and 1 - u


@every_dtype
def test_no_point_is_0_or_1(dtype):
    class Extreme(NoShift):
        def random_raw(self, count):
            return ~np.zeros(count, np.uint64)

    for bits in (NoShift(), Extreme()):
        draws = quasi_normal(bits, 1, 2, 5, dtype)
        assert np.isfinite(draws).all()
        assert np.abs(draws).max() < 6.4


def test_more_units_than_a_net_has_dimensions():
    units, more = MOST_DIMENSIONS + 60, 60
    draws = white(Sobol(), 4, 4, units, "float32")
    assert draws.shape == (4, 4, units)
    assert all(is_white(group) for group in draws)
    assert is_a_net(draws[..., -1:], (8,))
    net = quasi_random._net(4, units)
    first, second = net[:, :more], net[:, -more:]
    low = np.uint32((1 << 29) - 1)  # the bits that scrambling reaches, of four points
    assert ((first[1:] & low) == (second[1:] & low)).mean() < 0.01  # each by itself
    again = quasi_random._scrambled(4, MOST_DIMENSIONS, 0)  # the control: the same seed
    np.testing.assert_array_equal(first, again[:, :more])


# --- together: less variance ----------------------------------------------------------------------


def variance(sampler, groups, units, samples=40_000):
    """Of the likelihood-ratio gradient of a linear loss, per unit of its squared norm."""
    slope = np.random.default_rng(9).normal(size=units)
    slope /= np.linalg.norm(slope)
    draws = white(sampler, groups, samples, units)
    estimates = np.mean((draws @ slope)[..., None] * draws, axis=0)
    return np.sum((estimates - slope) ** 2, axis=1)


@pytest.mark.parametrize(("groups", "units"), [(1, 4), (2, 2), (2, 8), (8, 8), (4, 32)])
def test_the_variance_of_orthogonal_pairs_is_known(groups, units):
    for sampler, factor in ((Orthogonal(), units + 2 - groups), (Antithetic(), units + 1)):
        found = variance(sampler, groups, units, 20_000)
        z = (found.mean() - factor / groups) / (found.std() / sqrt(len(found)))
        assert abs(z) < 5
        wrong = (found.mean() - 1.1 * factor / groups) / (found.std() / sqrt(len(found)))
        assert abs(wrong) > 5  # a control


def ratio(groups, units):
    """The variance of Sobol pairs as a fraction of that of independent ones."""
    coupled, free = (variance(kind(), groups, units, 4000) for kind in (Sobol, Antithetic))
    return coupled.mean() / free.mean()


def test_sobol_pairs_are_better_where_there_are_few_units_and_never_much_worse():
    assert ratio(16, 2) < 0.2
    assert ratio(16, 4) < 0.2
    assert ratio(16, 8) < 0.35
    assert ratio(2, 32) < 1.1
    assert ratio(8, 100) < 1.1


def test_pairs_of_all_points_are_worse_than_independent_ones(with_first_direction):
    assert ratio(2, 32) > 1.25


@pytest.mark.parametrize(
    "sampler", [Independent(), Antithetic(), Orthogonal(), Sobol()], ids=lambda s: type(s).__name__
)
def test_independent_groups_are_those_that_say_so(sampler):
    """Of independent directions E[(η·η')²] = d."""
    d, samples = 4, 40_000
    draws = white(sampler, 4, samples, d)
    products = np.einsum("anu,bnu->abn", draws, draws)
    z = [
        (np.mean(products[a, b] ** 2) - d) / sqrt((3 * d * (d + 2) - d**2) / samples)
        for a in range(4)
        for b in range(a)
    ]
    assert (np.abs(z).max() < 5) == sampler.independent_groups


def test_units_of_two_stages_do_not_move_in_step():
    """They did, in the same order of the same net: every product of signs was a constant."""
    products = []
    for step in range(40):
        first, second = (
            Sobol().draw(NUMPY, Key(0, step=step, stage=stage), 32, (1, 8), "float64")
            for stage in (0, 1)
        )
        products.append(np.abs(np.mean(np.sign(first * second), axis=0)))
    # The mean of 32 signs in random order is about 1/√32 in size; in step it is 1.
    assert np.mean(products) < 0.3
