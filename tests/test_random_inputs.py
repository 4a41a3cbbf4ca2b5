"""What is done to inputs at random, by key: dropout in training, spikes for Poisson coding."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

import nolr
from nolr.augmentation import FeatureDropout
from nolr.backends import get_backend
from nolr.coding import PoissonCoding
from nolr.data import load_digits
from nolr.errors import BadInput
from nolr.layers import LIF, Dense, MeanOverTime
from nolr.network import Sequential
from nolr.recipes import build_trainer, get_recipe
from nolr.sampling import Independent
from nolr.types import Key, Stream

KEY = Key(3, Stream.AUGMENT, step=5)
NUMPY = get_backend("numpy")


def within_chance(count, draws, probability):
    """Two-sided binomial test at a level that a right draw misses once in a million."""
    return stats.binomtest(count, draws, probability).pvalue > 1e-6


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_keeps_its_share_and_the_mean(rate):
    x = np.full((200, 500), 3.0, np.float32)
    found = FeatureDropout(rate)(x, KEY)
    kept = int(np.count_nonzero(found))
    assert within_chance(kept, x.size, 1 - rate)
    assert not within_chance(kept, x.size, 1 - rate - 0.02)  # a negative control
    np.testing.assert_allclose(found[found > 0], 3.0 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("make", [FeatureDropout(0.3), PoissonCoding(4)], ids=["dropout", "coding"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_go_by_key_and_keep_the_dtype(make, dtype, backend):
    x = backend.asarray(np.random.default_rng(0).random((5, 3, 2)), dtype)
    first, again, other = (make(x, key) for key in (KEY, KEY, KEY._replace(step=6)))
    assert first.dtype == x.dtype
    np.testing.assert_array_equal(backend.to_host(first), backend.to_host(again))
    assert (backend.to_host(first) != backend.to_host(other)).any()


def test_from_the_host_all_backends_see_the_same(other_backend):
    x = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    for make in (FeatureDropout(0.3, "host"), PoissonCoding(4, "host")):
        ours, theirs = make(x, KEY), make(other_backend.asarray(x), KEY)
        np.testing.assert_allclose(other_backend.to_host(theirs), ours, rtol=1e-6)


def test_spikes_come_with_the_probability_of_their_number():
    rates = np.array([-0.5, 0.0, 0.25, 0.9, 1.0, 2.0])
    spikes = PoissonCoding(50)(np.tile(rates, (400, 1)), KEY)
    assert spikes.shape == (400, 50, 6)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    count = spikes.sum(axis=(0, 1))
    assert list(count[[0, 1, 4, 5]]) == [0, 0, 20_000, 20_000]
    assert within_chance(int(count[2]), 20_000, 0.25)
    assert within_chance(int(count[3]), 20_000, 0.9)
    assert not within_chance(int(count[3]), 20_000, 0.88)  # a negative control
    # Steps and samples are independent: neighbours spike together as often as chance has it.
    both = int((spikes[:, :-1, 2] * spikes[:, 1:, 2]).sum())
    assert within_chance(both, 400 * 49, 0.25**2)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_out_of_its_range_is_refused(rate):
    with pytest.raises(BadInput, match="rate of dropout"):
        FeatureDropout(rate)


@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_coding_takes_a_whole_number_of_steps(steps):
    words = f"steps of PoissonCoding must be a whole number of at least 1, got {steps}"
    with pytest.raises(BadInput, match=words):
        PoissonCoding(steps)


@pytest.mark.parametrize(
    "make", [partial(FeatureDropout, 0.3), partial(PoissonCoding, 4)], ids=["dropout", "coding"]
)
def test_an_unknown_source_suggests_the_nearest(make):
    for source, words in (
        ("hots", "no noise source 'hots'; did you mean 'host'"),
        ("Device", "no noise source 'Device'; did you mean 'device'"),
        (None, "no noise source None; choose one of: device, host"),
    ):
        with pytest.raises(BadInput, match=words):
            make(source)
        with pytest.raises(BadInput, match=words):
            Independent(source)


def spiking_trainer(epochs=2, **settings):
    recipe = get_recipe("digits-dense")
    settings = recipe.settings.with_values(
        {"epochs": epochs, "coding": "poisson", "time_steps": 5, "sigma": 0.5, **settings}
    )
    network = Sequential(
        LIF(64, 32), MeanOverTime(), Dense(32, 10, nolr.Identity()), input_shape=(5, 64)
    )
    return build_trainer(settings, network, recipe.data(settings))


def test_a_trainer_codes_what_it_trains_on_and_what_it_evaluates():
    trainer = spiking_trainer(epochs=6)
    *_, state = trainer.run(trainer.init())
    assert state.history[-1].validation_accuracy > 0.7
    x = load_digits().inputs[:4].astype(np.float32) / 16
    np.testing.assert_array_equal(trainer.encode(x), trainer.encode(x))
    assert (trainer.encode(x) != trainer.encode(x, start=4)).any()
    with pytest.raises(BadInput, match=r"shape \(5, 64\).*coding makes \(3, 64\)"):
        replace(trainer, coding=PoissonCoding(3))


def test_training_draws_other_spikes_in_every_step():
    trainer = spiking_trainer()
    seen = []

    class Watched(PoissonCoding):
        def __call__(self, x, key):
            seen.append(key)
            return super().__call__(x, key)

    trainer = replace(trainer, coding=Watched(5), epochs=1)
    states = trainer.run(trainer.init())
    next(states), next(states)
    assert len(set(seen)) == 2
    assert all(key.stream == Stream.CODE for key in seen)


def test_dropout_is_for_training_alone():
    settings = {"epochs": 1, "dropout": 0.9}
    trainer = build_trainer(
        get_recipe("digits-dense").settings.with_values(settings),
        *(make(get_recipe("digits-dense").settings) for make in (
            get_recipe("digits-dense").build, get_recipe("digits-dense").data
        )),
    )  # fmt: skip
    x = trainer.data.test.inputs
    np.testing.assert_array_equal(trainer.encode(x), x)
    assert (trainer.augmentation(x, KEY) != x).any()
