"""Recipes: every one of them builds, and learns from the real data where they are at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import nolr
from nolr.data import Graph, Texts
from nolr.data.store import data_folder
from nolr.errors import BadInput
from nolr.recipes import RECIPES, Settings, graphs, recurrent
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
    "cifar10-conv": Expected("cifar-10-jpeg", 0.25, (("epochs", 2), ("validation_fraction", 0.9))),
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


@pytest.mark.parametrize("name", ["mnist-spiking", "fashion-spiking", "mnist-conv", "cifar10-conv"])
def test_an_activation_is_refused_where_there_is_none_to_choose(name):
    recipe = RECIPES[name]
    recipe.build(recipe.settings.with_values({"activation": "relu"}))  # a control: as it is
    with pytest.raises(
        BadInput, match=r"^activation has no effect .* leave it at .relu., got .tanh.$"
    ):
        nolr.train(name, activation="tanh")


# --- data that are kept in memory -----------------------------------------------------------------


def toy_graph(features):
    """Four nodes in a row, each with so many features."""
    return Graph(
        features=csr_array(np.ones((4, features), np.float32)),
        labels=np.array([0, 1, 0, 1]),
        edges=csr_array(np.diag(np.ones(3, np.float32), 1) + np.diag(np.ones(3, np.float32), -1)),
        train=np.array([0, 1]),
        validation=np.array([2]),
        test=np.array([3]),
    )


def test_a_graph_is_that_of_the_folder_which_the_environment_names_now(monkeypatch, tmp_path):
    read = []

    def loader(folder):
        read.append(Path(data_folder(folder)).name)
        return toy_graph(3 if read[-1] == "first" else 5)

    recipe = graphs._recipe("toy", "", loader)
    for name, features in (("first", 3), ("second", 5), ("second", 5)):
        monkeypatch.setenv("NOLR_DATA", str(tmp_path / name))
        assert recipe.build(recipe.settings).input_shape == (4, features)
        assert recipe.data(recipe.settings).train.inputs.shape == (1, 4, features)
    assert read == ["first", "second"]


def test_texts_are_those_of_the_folder_that_is_meant_now(monkeypatch, tmp_path):
    read = []

    def load(folder, variant):
        read.append(Path(data_folder(folder)).resolve().parent.name)
        texts = Texts(tuple(f"{read[-1]} {i % 4}" for i in range(40)), np.arange(40) % 4)
        return texts, texts

    monkeypatch.setattr(recurrent, "load_ag_news", load)
    recipe = RECIPES["agnews-recurrent"]
    settings = recipe.settings.with_values({"validation_fraction": 0.2, "data_dir": "datasets"})
    for name in ("first", "second", "second"):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        assert len(recipe.data(settings).test) == 40
    assert read == ["first", "second"]


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
