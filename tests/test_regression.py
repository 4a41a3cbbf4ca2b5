"""The regression behind the mean Jacobian: units alone, and blocks of units that move together."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.estimation.regression import DRAWS_A_PLACE, explain, regress

PLACES, FEATURES, OUTPUTS = 5, 3, 2


def example(rng):
    """A Jacobian, the energy of its places, and the moment that belongs to them."""
    jacobian = rng.normal(size=(OUTPUTS, PLACES, FEATURES))
    mixing = rng.normal(size=(PLACES, FEATURES, FEATURES))
    energy = mixing @ np.swapaxes(mixing, 1, 2) + 0.1 * np.eye(FEATURES)
    moment = np.einsum("mpf,pfg->mpg", jacobian, energy)
    return jacobian.reshape(OUTPUTS, -1), energy, moment.reshape(OUTPUTS, -1)


def test_blocks_are_solved_place_by_place(backend):
    _, energy, moment = example(np.random.default_rng(0))
    for ridge in (0.0, 0.3):
        sums = (backend.asarray(array) for array in (moment, energy, np.array(400.0)))
        found = backend.to_host(regress(*sums, ridge))
        means = energy.mean(axis=0)
        expected = np.empty((OUTPUTS, PLACES, FEATURES))
        for place in range(PLACES):
            system = energy[place].copy()
            for feature in range(FEATURES):
                share = DRAWS_A_PLACE * PLACES / 401 if feature else ridge
                system[feature, feature] += share * means[feature, feature]
            for output in range(OUTPUTS):
                rows = moment.reshape(OUTPUTS, PLACES, FEATURES)
                expected[output, place] = np.linalg.inv(system) @ rows[output, place]
        np.testing.assert_allclose(found, expected.reshape(OUTPUTS, -1), rtol=1e-9)


def test_what_a_jacobian_explains_is_regressed_on_it_again(backend):
    jacobian, energy, moment = example(np.random.default_rng(1))
    explained = explain(backend.asarray(jacobian), backend.asarray(energy))
    np.testing.assert_allclose(backend.to_host(explained), moment, rtol=1e-12)
    many = backend.asarray(np.array(1e15))  # then features have no ridge left to speak of
    found = backend.to_host(regress(explained, backend.asarray(energy), many, 0.0))
    np.testing.assert_allclose(found, jacobian, rtol=1e-7)
    # A negative control: as if the units of a place moved independently.
    alone = np.diagonal(energy, axis1=1, axis2=2).reshape(-1)
    assert np.abs(moment / alone - jacobian).max() > 0.5


def test_features_wait_for_enough_evidence():
    """Few draws: J̄ is what it is on average, as if there were no features. Many: all of it."""
    jacobian, energy, moment = example(np.random.default_rng(4))
    first = moment.reshape(OUTPUTS, PLACES, FEATURES)[..., 0] / energy[:, 0, 0]
    few, many = (
        regress(moment, energy, np.array(draws), 0.0).reshape(OUTPUTS, PLACES, FEATURES)
        for draws in (0.0, 1e9)
    )
    np.testing.assert_allclose(few[..., 0], first, atol=0.1 * np.abs(first).max())
    assert np.abs(few[..., 1:]).max() < 0.1 < np.abs(many[..., 1:]).max()
    np.testing.assert_allclose(many.reshape(OUTPUTS, -1), jacobian, atol=1e-4)


def test_a_block_of_one_unit_is_a_unit_alone():
    rng = np.random.default_rng(2)
    moment, energy = rng.normal(size=(OUTPUTS, PLACES)), rng.uniform(0.5, 2.0, size=PLACES)
    as_blocks = energy[:, None, None]
    for ridge in (0.0, 0.3):
        expected = regress(moment, energy, np.array(7.0), ridge)
        found = regress(moment, as_blocks, np.array(7.0), ridge)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    expected = explain(moment, energy)
    np.testing.assert_allclose(explain(moment, as_blocks), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(PLACES,), (PLACES, FEATURES, FEATURES)], ids=str)
def test_no_evidence_is_no_jacobian(backend, shape, dtype):
    units = PLACES if len(shape) == 1 else PLACES * FEATURES
    moment = backend.xp.zeros((OUTPUTS, units), dtype=getattr(backend.xp, dtype))
    energy = backend.xp.zeros(shape, dtype=moment.dtype)
    for ridge in (0.0, 0.01):
        found = regress(moment, energy, backend.xp.zeros((), dtype=moment.dtype), ridge)
        assert found.dtype == moment.dtype
        np.testing.assert_array_equal(backend.to_host(found), np.zeros((OUTPUTS, units)))


def test_a_place_that_never_responds_leaves_the_others_alone():
    _, energy, moment = example(np.random.default_rng(3))
    energy[2], moment.reshape(OUTPUTS, PLACES, FEATURES)[:, 2] = 0, 0
    found = regress(moment, energy, np.array(50.0), 0.01).reshape(OUTPUTS, PLACES, FEATURES)
    assert np.isfinite(found).all()
    assert not found[:, 2].any()
    assert np.abs(found[:, [0, 1, 3, 4]]).min() > 0
