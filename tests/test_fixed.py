"""Links without parameters, in one table: a new one is one row and gains every test below."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from layer_rows import NUMPY, SAMPLES, fixed_by_loops

from nolr.errors import BadInput
from nolr.layers import (
    AvgPool2D,
    Flatten,
    LeakyOverTime,
    MaxPool2D,
    MeanOverTime,
    SumOverTime,
)


@dataclass(frozen=True)
class Row:
    """What the tests must know of a link."""

    link: object
    input_shape: tuple
    bad_shapes: tuple

    def __str__(self):
        return f"{self.link} {self.input_shape}"

    def oracle(self, x):
        """y of one sample, by loops."""
        return fixed_by_loops(self.link, x)


def pool_row(link, input_shape):
    too_small = (2, link.size - 1, link.size), (2, link.size, link.size - 1)
    return Row(link, input_shape, ((4, 4), (4,), (1, *input_shape), (), *too_small))


def time_row(link, input_shape):
    return Row(link, input_shape, ((3,), (0, 3), (2, *input_shape), ()))


ROWS = [
    Row(Flatten(), (2, 3, 2), ()),
    Row(Flatten(), (4,), ()),
    *(
        pool_row(pool(size), shape)
        for pool in (MaxPool2D, AvgPool2D)
        # The last three are images whose size the window does not divide.
        for size, shape in (
            (2, (2, 4, 6)),
            (1, (2, 2, 3)),
            (2, (1, 5, 4)),
            (2, (2, 7, 3)),
            (3, (2, 8, 10)),
        )
    ),
    time_row(MeanOverTime(), (5, 3)),
    time_row(MeanOverTime(), (1, 3)),
    time_row(SumOverTime(), (4, 2)),
    time_row(LeakyOverTime(0.7), (4, 2)),
    time_row(LeakyOverTime(0.0), (3, 2)),  # the last step alone
    time_row(LeakyOverTime(1.0), (3, 2)),
]
every_row = pytest.mark.parametrize("row", ROWS, ids=str)


def make(row, backend=NUMPY, dtype="float64"):
    """Inputs of which no two numbers are equal."""
    rng = np.random.default_rng(4)
    return backend.asarray(rng.normal(size=(SAMPLES, *row.input_shape)), dtype)


# --- values ---------------------------------------------------------------------------------------


@every_row
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_output_shape_and_dtype_are_as_announced(row, backend, dtype):
    x = make(row, backend, dtype)
    y = row.link(x)
    assert not row.link.trainable
    assert tuple(y.shape) == (SAMPLES, *row.link.output_shape(row.input_shape))
    assert y.dtype == x.dtype


@every_row
def test_values_are_those_of_the_loop(row, backend):
    x = make(row, backend)
    expected = [row.oracle(sample) for sample in backend.to_host(x)]
    np.testing.assert_allclose(backend.to_host(row.link(x)), expected, rtol=1e-12, atol=1e-14)
    if prod(row.input_shape) > 2:  # a negative control
        other = [row.oracle(np.flip(sample)) for sample in backend.to_host(x)]
        assert np.abs(backend.to_host(row.link(x)) - other).max() > 0.01


@every_row
def test_a_batch_is_its_samples(row, backend):
    x = make(row, backend)
    batch = backend.to_host(row.link(x))
    for n in range(SAMPLES):
        single = backend.to_host(row.link(x[n : n + 1, ...]))
        np.testing.assert_allclose(batch[n : n + 1], single, rtol=1e-13)


@every_row
def test_a_shape_that_does_not_fit_is_refused(row):
    row.link.output_shape(row.input_shape)  # a control: this one does
    for shape in row.bad_shapes:
        with pytest.raises(BadInput, match="expected samples of shape"):
            row.link.output_shape(shape)


@every_row
def test_the_arguments_are_left_alone(row):
    x = make(row)
    kept, y = x.copy(), row.link(x)
    change, credit = np.ones_like(x), np.ones_like(y)
    route = row.link.route(x)
    route.push(change)
    route.pull(credit)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(change, np.ones_like(x))
    np.testing.assert_array_equal(credit, np.ones_like(y))


# --- routes ---------------------------------------------------------------------------------------


def directional_derivative(link, x, change, step=1e-6):
    return (link(x + step * change) - link(x - step * change)) / (2 * step)


@every_row
def test_push_is_the_directional_derivative(row):
    x = make(row)
    change = np.random.default_rng(2).normal(size=x.shape)
    pushed = row.link.route(x).push(change)
    np.testing.assert_allclose(pushed, directional_derivative(row.link, x, change), atol=1e-8)
    # A negative control: the change in another sample, where other units win.
    other = row.link.route(x).push(np.roll(change, 1, axis=0))
    assert np.abs(other - pushed).max() > 0.1


@pytest.mark.parametrize("size", [2, 3])
def test_a_route_is_made_where_the_sample_is(size):
    # The winners of another batch are not those of this one: the test above can fail.
    row = pool_row(MaxPool2D(size), (2, 6, 7))
    x = make(row)
    change = np.random.default_rng(2).normal(size=x.shape)
    elsewhere = row.link.route(np.roll(x, 1, axis=0)).push(change)
    assert np.abs(elsewhere - directional_derivative(row.link, x, change)).max() > 0.1


@every_row
@pytest.mark.parametrize("leading", [(), (3,), (2, 3)], ids=str)
def test_pull_is_the_transpose_of_push(row, leading, backend):
    x = make(row, backend)
    route, rng = row.link.route(x), np.random.default_rng(3)
    change = rng.normal(size=(*leading, SAMPLES, *row.input_shape))
    credit = rng.normal(size=(SAMPLES, *row.link.output_shape(row.input_shape)))
    pushed = backend.to_host(route.push(backend.asarray(change)))
    pulled = backend.to_host(route.pull(backend.asarray(credit)))
    assert pushed.shape == (*leading, *credit.shape)
    assert pulled.shape == (SAMPLES, *row.input_shape)
    # Sample by sample and copy by copy: nothing may cross over.
    units_in = tuple(range(-len(row.input_shape), 0))
    units_out = tuple(range(-(credit.ndim - 1), 0))
    ours, theirs = (pushed * credit).sum(axis=units_out), (change * pulled).sum(axis=units_in)
    assert ours.shape == (*leading, SAMPLES)
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)
    # A negative control: the credit of another sample.
    others = (pushed * np.roll(credit, 1, axis=0)).sum(axis=units_out)
    assert np.abs(others - theirs).max() > 0.01


@every_row
def test_a_route_leaves_no_copy_out(row):
    x = make(row)
    change = np.random.default_rng(3).normal(size=(2, 3, SAMPLES, *row.input_shape))
    route = row.link.route(x)
    pushed = route.push(change)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(pushed[i, j], route.push(change[i, j]), rtol=1e-13)


@every_row
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
def test_backends_agree(row, other_backend, dtype, tolerance):
    results = []
    for backend in (NUMPY, other_backend):
        x = make(row, backend, dtype)
        y = row.link(x)
        route = row.link.route(x)
        found = [y, route.push(x), route.push(x[None, ...]), route.pull(y)]
        results.append([backend.to_host(array) for array in found])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)


# --- what belongs to one link alone ---------------------------------------------------------------


def test_flatten_of_a_single_number():
    assert Flatten().output_shape(()) == (1,)
    np.testing.assert_array_equal(Flatten()(np.arange(3.0)), [[0.0], [1.0], [2.0]])


def test_winners_of_equal_value_share(backend):
    x = np.array([[[[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [2.0, 2.0, 2.0]]]])
    route = MaxPool2D(2).route(backend.asarray(x))
    pulled = backend.to_host(route.pull(backend.asarray(np.ones((1, 1, 1, 1)))))
    third = 1 / 3
    np.testing.assert_allclose(pulled[0, 0], [[third, third, 0], [0, third, 0], [0, 0, 0]])


def test_what_no_window_holds_takes_no_part(backend):
    # Zeros at the edge, where a pull brings a zero too: they are no winners.
    x = np.ones((1, 1, 3, 3))
    x[..., 2, :] = x[..., :, 2] = 0.0
    for pool, expected in ((MaxPool2D(2), 1.0), (AvgPool2D(2), 1.0)):
        route = pool.route(backend.asarray(x))
        pushed = backend.to_host(route.push(backend.asarray(np.ones((1, 1, 3, 3)))))
        np.testing.assert_allclose(pushed, [[[[expected]]]])
        pulled = backend.to_host(route.pull(backend.asarray(np.ones((1, 1, 1, 1)))))
        assert not pulled[..., 2, :].any()
        assert not pulled[..., :, 2].any()
        assert pulled.sum() == pytest.approx(1)


def test_negative_images_have_winners_too():
    x = -1.0 - np.random.default_rng(0).random((2, 1, 4, 4))
    np.testing.assert_array_equal(MaxPool2D(2)(x)[:, 0], x.reshape(2, 2, 2, 2, 2).max(axis=(2, 4)))


@pytest.mark.parametrize("pool", [MaxPool2D, AvgPool2D])
@pytest.mark.parametrize("size", [0, -2, 1.5, 2.0])
def test_a_window_has_a_whole_number_of_pixels(pool, size):
    words = f"size of {pool.__name__} must be a whole number of at least 1, got {size}"
    with pytest.raises(BadInput, match=words):
        pool(size)


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_out_of_its_range_is_refused(decay):
    with pytest.raises(BadInput, match="the decay of LeakyOverTime"):
        LeakyOverTime(decay)


def test_links_say_where_they_belong():
    with pytest.raises(BadInput, match="put it behind a convolution"):
        MaxPool2D(2).output_shape((10,))
    with pytest.raises(BadInput, match="at least 3 × 3 pixels"):
        AvgPool2D(3).output_shape((1, 2, 9))
    with pytest.raises(
        BadInput, match=r"SumOverTime expected .* behind a layer that returns a seq"
    ):
        SumOverTime().output_shape((10,))
    with pytest.raises(BadInput, match=r"with at least one time step, got \(0, 3\)"):
        MeanOverTime().output_shape((0, 3))


def test_leaky_over_time_is_the_potential_of_a_neuron_that_never_fires():
    x = np.random.default_rng(1).normal(size=(2, 6, 3))
    potential = np.zeros((2, 3))
    for t in range(6):
        potential = 0.8 * potential + x[:, t]
    np.testing.assert_allclose(LeakyOverTime(0.8)(x), potential, rtol=1e-13)
