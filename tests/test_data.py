"""Data sets and splits: what is checked once at the boundary need not be checked again."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.data import Dataset, load_digits, split_stratified
from nolr.errors import BadInput


def test_digits_are_the_whole_set_in_its_own_units():
    data = load_digits()
    assert data.inputs.shape == (1797, 64)
    assert (data.inputs.min(), data.inputs.max()) == (0, 16)
    assert np.bincount(data.targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros((0, 4)), np.zeros(0, int), "no samples"),
        (np.zeros((3, 4)), np.zeros(2, int), "3 inputs but 2 targets"),
        (np.zeros(4), np.zeros(4, int), "x\\[None\\]"),
        (np.array([["a"]]), np.zeros(1, int), "real numbers"),
        (np.array([[0.0], [np.nan]]), np.zeros(2, int), "first in sample 1"),
        (np.array([[np.inf], [0.0]]), np.zeros(2, int), "first in sample 0"),
    ],
)
def test_bad_data_are_named(inputs, targets, message):
    with pytest.raises(BadInput, match=message):
        Dataset(inputs, targets)


def test_split_is_stratified_disjoint_and_drawn_from_the_seed():
    data = Dataset(np.arange(400.0)[:, None], np.repeat(np.arange(4), 100))
    split = split_stratified(data, seed=3)
    parts = (split.train, split.validation, split.test)
    assert [len(part) for part in parts] == [288, 32, 80]
    for part in parts:
        counts = np.bincount(part.targets)
        assert counts.min() == counts.max()
    together = np.concatenate([part.inputs[:, 0] for part in parts])
    assert sorted(together) == list(range(400))
    again, other = split_stratified(data, seed=3), split_stratified(data, seed=4)
    assert np.array_equal(split.test.inputs, again.test.inputs)
    assert not np.array_equal(split.test.inputs, other.test.inputs)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, np.nan])
def test_split_refuses_fractions_that_leave_nothing(fraction):
    with pytest.raises(BadInput, match="test_fraction"):
        split_stratified(load_digits(), seed=0, test_fraction=fraction)


def test_split_refuses_a_class_with_one_sample():
    with pytest.raises(BadInput, match="cannot be split"):
        split_stratified(Dataset(np.zeros((3, 1)), np.array([0, 0, 1])), seed=0)
