"""Settings: names and plain values in, a trainer out."""

from __future__ import annotations

import json

import pytest

from nolr.errors import BadInput
from nolr.noise import Gaussian, Laplace
from nolr.recipes import Settings, build_trainer, get_recipe
from nolr.recipes.settings import CHOICES
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sigm": 1}, "did you mean 'sigma'"),
        ({"sampler": "antithetik"}, "did you mean 'antithetic'"),
        ({"sampler": "orthogonale"}, "did you mean 'orthogonal'"),
        ({"noise": "laplac"}, "did you mean 'laplace'"),
        ({"optimizer": "zzz"}, "choose one of: adam, sgd"),
        ({"epochs": "many"}, "epochs must be a whole number, got 'many'"),
        ({"epochs": 1.5}, "whole number"),
        ({"sigma": "loud"}, "sigma must be a number"),
        ({"hidden": "64,x"}, "whole numbers like 128,64"),
        ({"residual": "some"}, "'adaptive'"),
        ({"seed": -1}, "seed must lie in"),
        ({"seed": "4294967296"}, "seed must be at most 4294967295, got 4294967296"),
        ({"seed": -99999999999}, "seed must lie in 0..4294967295, got -99999999999"),
        ({"epochs": "99999999999"}, "epochs must be at most 4294967295, got 99999999999"),
        ({"hidden": "8,99999999999"}, "hidden must be at most 4294967295"),
        ({"threads": -1}, "threads"),
        ({"loss": 3}, "loss must be a name"),
    ],
)
def test_bad_settings_are_explained(values, message):
    with pytest.raises(BadInput, match=message):
        Settings().with_values(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sigma": 0}, "sigma must be a positive"),
        ({"sigma": "nan"}, "sigma must be a positive"),
        ({"sigma": 1e-8}, "lost in the rounding of float32"),
        ({"sigma": 1e-8, "noise": "laplace"}, "lost in the rounding of float32"),
        ({"probe_sigma": 1e-8, "probe": "block"}, "probe_sigma 1e-08 is lost in the rounding"),
        ({"probe_sigma": 0.1, "probe": "block"}, "no stage of this network is probed in blocks"),
        ({"leak": 0.3}, "leak 0.3 is of probes behind the activation"),
        ({"forgets": "at-random"}, "forgets cannot be 'at-random'"),
        ({"sigma": 0, "noise": "laplace"}, "sigma must be a positive"),
        ({"copies": 3}, "multiple of 2"),
        ({"copies": 3, "sampler": "sobol"}, "multiple of 2 with the sampler 'sobol'"),
        ({"copies": 0}, "at least 1"),
        ({"copies": 2, "baseline": "leave-group-out"}, "at least 4 copies"),
        ({"residual": 1.5}, "from 0 to 1"),
        ({"forgetting": 1}, "forgetting"),
        ({"forgetting_last": 1}, "forgetting_last must lie between forgetting, 0.98, and 1"),
        ({"forgetting_last": 0.5}, "forgetting_last must lie between"),
        ({"forgetting": 1, "forgetting_last": 0.9}, "forgetting_last must lie between"),
        ({"context": -1}, "context"),
        ({"context": 500}, "no stage of this network has a context within 500 units"),
        ({"learning_rate": 0}, "learning rate"),
        ({"batch_size": 0}, "batch_size"),
        ({"epochs": 0}, "epochs"),
        ({"patience": -1}, "patience"),
        ({"monitor_every": 0}, "monitor_every"),
        ({"momentum": 1, "optimizer": "sgd"}, "momentum"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"noise_source": "moon"}, "noise source"),
        ({"backend": "nump"}, "did you mean 'numpy'"),
        ({"hidden": "0"}, "at least 1"),
        ({"validation_fraction": 1}, "validation_fraction"),
    ],
)
def test_values_out_of_range_are_explained(values, message):
    with pytest.raises(BadInput, match=message):
        _open(get_recipe("digits-dense"), values)


def _open(recipe, values):
    settings = recipe.settings.with_values(values)
    return build_trainer(settings, recipe.build(settings), recipe.data(settings))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("antithetic", Antithetic),
        ("independent", Independent),
        ("orthogonal", Orthogonal),
        ("sobol", Sobol),
    ],
)
def test_every_sampler_has_a_name(name, kind):
    estimator = _open(
        get_recipe("digits-dense"), {"sampler": name, "noise_source": "host"}
    ).estimator
    assert estimator.sampler == kind("host")


def test_every_noise_has_a_name():
    for name, kind in {"gaussian": Gaussian, "laplace": Laplace}.items():
        assert name in CHOICES["noise"]
        estimator = _open(get_recipe("digits-dense"), {"noise": name, "sigma": 0.3}).estimator
        assert estimator.noise == kind(0.3)


def test_settings_of_before_there_was_a_noise_to_choose_are_read():
    old = Settings(sigma=0.4).to_dict()
    del old["noise"]
    assert Settings().with_values(old) == Settings(sigma=0.4)
    assert Settings().with_values(old).noise == "gaussian"


def test_settings_survive_json():
    settings = Settings().with_values({"hidden": "7,5", "residual": "0.5", "sigma": "0.3"})
    again = Settings().with_values(json.loads(json.dumps(settings.to_dict())))
    assert again == settings


def test_no_hidden_layer_is_a_linear_classifier():
    recipe = get_recipe("digits-dense")
    network = recipe.build(recipe.settings.with_values({"hidden": ""}))
    assert network.noise_shapes == ((10,),)


def test_unknown_recipe_suggests_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'digits-dense'"):
        get_recipe("digit-dense")
