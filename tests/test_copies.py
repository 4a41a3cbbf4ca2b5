"""Copies are tiled into axis 0, never interleaved."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.copies import add_noise, flatten_units, split_copies, tile

X = np.arange(12.0).reshape(3, 4)


def test_tile_keeps_the_samples_of_a_copy_together(backend):
    tiled = backend.to_host(tile(backend.asarray(X), 2))
    np.testing.assert_array_equal(tiled[:3], X)
    np.testing.assert_array_equal(tiled[3:], X)
    # Interleaving would put the two copies of sample 0 next to one another.
    assert not np.array_equal(tiled, np.repeat(X, 2, axis=0))
    np.testing.assert_array_equal(backend.to_host(tile(backend.asarray(X), 1)), X)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_split_undoes_tile(backend, copies):
    split = backend.to_host(split_copies(tile(backend.asarray(X), copies), 3))
    assert split.shape == (copies, 3, 4)
    for copy in split:
        np.testing.assert_array_equal(copy, X)


def test_noise_is_added_copy_by_copy(backend):
    noise = np.random.default_rng(0).normal(size=(9, 4))
    z = backend.to_host(add_noise(backend.asarray(X), backend.asarray(noise)))
    np.testing.assert_array_equal(z, np.tile(X, (3, 1)) + noise)
    drive = backend.asarray(X)
    assert add_noise(drive, None) is drive
    once = backend.to_host(add_noise(drive, backend.asarray(noise[:3])))
    np.testing.assert_array_equal(once, X + noise[:3])


def test_units_are_flattened_in_row_major_order(backend):
    array = np.arange(24.0).reshape(2, 3, 2, 2)
    got = backend.to_host(flatten_units(backend.asarray(array), 1))
    np.testing.assert_array_equal(got, array.reshape(2, 12))
    got = backend.to_host(flatten_units(backend.asarray(array), 2))
    np.testing.assert_array_equal(got, array.reshape(2, 3, 4))
