"""Recipes: every one of them builds, and learns from the real data where they are at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest

import nolr
from nolr.errors import BadInput
from nolr.recipes import RECIPES, Settings
from nolr.recipes.variants import first_at_hand


@dataclass(frozen=True)
class Expected:
    """What the tests know of a recipe."""

    data: str
    """The data sets of which one must be complete; none where the data come with nolr."""
    accuracy: float
    """Test accuracy that a short training reaches with room to spare."""
    settings: tuple = (("epochs", 1),)
    """What makes the training short."""


EXPECTED = {
    "digits-dense": Expected("", 0.80),
    "mnist-dense": Expected("mnist", 0.95),
    "mnist-conv": Expected("mnist", 0.90),
    "fashion-conv": Expected("fashion-mnist", 0.75),
    "cifar10-conv": Expected("cifar-10-jpeg", 0.25, (("epochs", 4), ("validation_fraction", 0.9))),
    "mnist-spiking": Expected("mnist", 0.90),
    "fashion-spiking": Expected("fashion-mnist", 0.78),
    "mnist-rows-recurrent": Expected("mnist", 0.70),
    "agnews-recurrent": Expected("ag-news-part", 0.60),
    "cora-graph": Expected("cora", 0.75, (("epochs", 60),)),
    "citeseer-graph": Expected("citeseer", 0.62, (("epochs", 60),)),
    "pubmed-graph": Expected("pubmed", 0.70, (("epochs", 60),)),
}


def complete(name):
    """Whether the files of a data set are all at hand."""
    from nolr.data.catalogue import CATALOGUE
    from nolr.data.store import survey

    return all(finding.state == "complete" for finding in survey(CATALOGUE[name]))


def need(name):
    data = EXPECTED[name].data
    if data and not (os.environ.get("NOLR_DATA") and complete(data)):
        pytest.skip(f"{name} needs the data set {data!r}: set NOLR_DATA to a folder that has it")


def test_the_table_knows_every_recipe():
    assert set(EXPECTED) == set(RECIPES)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_recipe_builds_its_network(name):
    recipe = RECIPES[name]
    if name.endswith("-graph"):
        need(name)  # the graph is a part of the network
    network = recipe.build(recipe.settings)
    raw = np.zeros((2, *network.input_shape), np.uint8)
    prepared = recipe.prepare(raw)
    params = network.init(0, nolr.get_backend("numpy"))
    output = network.forward(params, prepared)
    assert output.shape == (2, *network.output_shape)
    assert output.dtype == np.float32


@pytest.mark.parametrize("name", EXPECTED)
def test_a_short_training_learns(name):
    need(name)
    expected = EXPECTED[name]
    run = nolr.train(name, seed=0, **dict(expected.settings))
    assert run.test_accuracy > expected.accuracy
    assert run.state.forward_passes > run.state.step  # trained by noisy copies


@pytest.mark.parametrize("name", EXPECTED)
def test_no_recipe_uses_more_than_four_copies(name):
    assert RECIPES[name].settings.copies <= 4


def test_missing_data_are_named_with_the_fix(tmp_path):
    with pytest.raises(BadInput, match=r"train-images.*nolr data fetch mnist"):
        nolr.train("mnist-dense", data_dir=str(tmp_path))


def test_a_recurrent_recipe_has_one_hidden_layer():
    with pytest.raises(BadInput, match="one hidden layer"):
        nolr.train("mnist-rows-recurrent", hidden="8,8")


@pytest.mark.parametrize("name", ["mnist-conv", "cifar10-conv"])
def test_a_convolutional_recipe_has_three_numbers_of_channels(name):
    with pytest.raises(BadInput, match="three numbers of channels"):
        nolr.train(name, hidden="8,8")


# --- variants of the data -------------------------------------------------------------------------


def test_a_variant_that_is_named_is_used_and_another_is_refused():
    settle = first_at_hand("cora", "citeseer")
    assert settle(Settings(variant="citeseer")).variant == "citeseer"
    with pytest.raises(BadInput, match=r"no variant 'corra'.*'cora'"):
        settle(Settings(variant="corra"))


def test_without_a_name_it_is_the_first_that_is_complete_else_the_first(tmp_path):
    settle = first_at_hand("cifar-10", "cora")
    assert settle(Settings(data_dir=str(tmp_path))).variant == "cifar-10"
    if os.environ.get("NOLR_DATA") and complete("cora"):
        assert not complete("cifar-10")
        assert settle(Settings()).variant == "cora"


def test_the_variant_that_was_found_stands_in_the_run():
    need("agnews-recurrent")
    run = nolr.train("agnews-recurrent", epochs=1, stop=lambda: True)
    assert run.report()["settings"]["variant"] == "ag-news-part"
