"""Recipes: every one of them builds, and learns from the real data where they are at hand."""

from __future__ import annotations

import os

import numpy as np
import pytest

import nolr
from nolr.errors import BadInput
from nolr.recipes import RECIPES

HOME = {"mnist-dense": "mnist", "mnist-spiking": "mnist", "mnist-rows-recurrent": "mnist"}
ONE_EPOCH = {
    "digits-dense": 0.80,
    "mnist-dense": 0.95,
    "mnist-spiking": 0.93,
    "mnist-rows-recurrent": 0.70,
}
"""Test accuracy that one epoch reaches with room to spare."""


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_builds_its_network(name):
    recipe = RECIPES[name]
    network = recipe.build(recipe.settings)
    assert network.output_shape == (10,)
    raw = np.zeros((2, *network.input_shape), np.uint8)
    prepared = recipe.prepare(raw)
    assert prepared.dtype == np.float32
    params = network.init(0, nolr.get_backend("numpy"))
    assert network.forward(params, prepared).shape == (2, 10)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_one_epoch_learns(name):
    if name in HOME and not os.environ.get("NOLR_DATA"):
        pytest.skip(f"{name} needs the data set {HOME[name]!r}: set NOLR_DATA to its folder")
    run = nolr.train(name, epochs=1, seed=0)
    assert run.test_accuracy > ONE_EPOCH[name]
    assert run.state.estimator  # trained by the estimator and nothing else
    assert [len(run.trainer.data.test), len(run.trainer.data.validation)] == (
        [360, 144] if name == "digits-dense" else [10_000, 3_000]
    )


def test_missing_data_are_named_with_the_fix(tmp_path):
    with pytest.raises(BadInput, match=r"train-images.*nolr data fetch mnist"):
        nolr.train("mnist-dense", data_dir=str(tmp_path))


def test_a_recurrent_recipe_has_one_hidden_layer():
    with pytest.raises(BadInput, match="one hidden layer"):
        nolr.train("mnist-rows-recurrent", hidden="8,8")
