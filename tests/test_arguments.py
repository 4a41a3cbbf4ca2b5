"""What `check_unbiased` refuses, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import harness
import numpy as np
import pytest

from nolr.errors import BadInput
from nolr.estimation import CleanLoss, LayerWise
from nolr.layers import Dense
from nolr.network import Sequential
from nolr.sampling import Antithetic
from nolr.testing import check_unbiased

CASE = harness.CASES["chain"]
BATCH = CASE.inputs, CASE.target


def method(residual=1.0):
    return harness.estimator(Antithetic(), LayerWise(), CleanLoss(), residual)


def certify(estimator, batch=BATCH, **arguments):
    return check_unbiased(estimator, CASE.network, CASE.params, batch, CASE.loss, **arguments)


WRONG_LAYOUTS = [
    (lambda g: g[:1], "be 2 dicts of arrays, one for every node of the network, got 1 of them"),
    (lambda g: (*g, {}), "be 2 dicts of arrays, one for every node of the network, got 3 of them"),
    (lambda g: None, "be 2 dicts of arrays, one for every node of the network, got NoneType"),
    (lambda g: (g[0], None), r"have the arrays \['W', 'b'\] in node 1, got NoneType"),
    (lambda g: ({"W": g[0]["W"]}, g[1]), r"have the arrays \['W', 'b'\] in node 0, got \['W'\]"),
    (
        lambda g: (g[0] | {"c": 1}, g[1]),
        r"have the arrays \['W', 'b'\] in node 0, got \['W', 'b', 'c'",
    ),
    (
        lambda g: (g[0], g[1] | {"W": g[1]["b"]}),
        r"have 'W' of shape \(2, 2\) in node 1, got shape \(2,\)",
    ),
    (
        lambda g: (g[0] | {"b": g[0]["b"][None]}, g[1]),
        r"have 'b' of shape \(2,\) .*got shape \(1, 2\)",
    ),
    (lambda g: (g[0] | {"b": 0.5}, g[1]), r"have 'b' of shape \(2,\) in node 0, got float"),
]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reference": "guess"}, "there is no reference 'guess'"),
        ({"tolerance": 0.0}, "tolerance must lie between 0 and 1"),
        ({"error_rate": 1.0}, "error_rate must lie between 0 and 1"),
        ({"tolerance": "5 %"}, "tolerance must lie between 0 and 1, got '5 %'"),
        (
            {"max_draws": 10},
            "max_draws must be at least 64, got 10: .*--draws, or --nolr-max-draws",
        ),
        ({"max_draws": 100.5}, "max_draws must be a whole number of at least 64, got 100.5"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"rows": float("nan")}, "rows must be a whole number of at least 1, got nan"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": None}, "seed must be a whole number of at least 0, got None"),
        ({"noised": [(0,)]}, "has 2 stages, but noised says of 1"),
        ({"noised": [(0,), (2,)]}, r"noised for stage 1 must be .* 0\.\.1, got \(2,\)"),
        ({"noised": [(-1,), (1,)]}, r"noised for stage 0 must be .* 0\.\.1, got \(-1,\)"),
        ({"noised": [0, 1]}, r"noised for stage 0 must be a tuple of stages.* got 0"),
        ({"reference": "closed form"}, "does not fit this network"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(BadInput, match=words):
        certify(method(), **wrong)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *((change, f"the known gradient must {words}") for change, words in WRONG_LAYOUTS),
        (lambda g: (g[0], g[1] | {"W": g[1]["W"] * np.nan}), "'W' in stage 1 contains NaN"),
    ],
)
def test_a_known_gradient_that_does_not_fit_is_refused(change, words):
    fitting = CASE.params  # the layout of a gradient
    with pytest.raises(BadInput, match=words):
        certify(method(None), reference=change(fitting))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:0], y[:0]), "batch of check_unbiased is empty"),
        (lambda x, y: (x, y[:1]), "4 inputs but 1 targets"),
        (lambda x, y: (x[:, :1], y), "expected samples of shape"),
        (lambda x, y: (x, y + 9), "labels must lie in"),
        (lambda x, y: (x * np.nan, y), "inputs of check_unbiased contain NaN"),
        (lambda x, y: (x.tolist(), y), "expected an array of one of the backends"),
    ],
)
def test_a_batch_that_does_not_fit_is_one_sentence(change, words):
    with pytest.raises(BadInput, match=words):
        certify(method(), change(CASE.inputs, CASE.target))


def test_a_function_must_say_which_stages_are_noised():
    inner = method(None)
    with pytest.raises(BadInput, match="no schedule"):
        certify(lambda *args: inner(*args), state=())


@pytest.mark.parametrize(("change", "words"), WRONG_LAYOUTS)
def test_parameters_that_do_not_fit_are_refused(change, words):
    with pytest.raises(BadInput, match=f"the parameters must {words}"):
        check_unbiased(method(), CASE.network, change(CASE.params), BATCH, CASE.loss)


def test_a_layer_that_has_no_parameters_is_refused():
    class Empty(Dense):
        def init(self, key):
            return {}

    for layers in ([Empty(2, 2), Dense(2, 2)], [Dense(2, 2), Empty(2, 2)]):
        network = Sequential(*layers, input_shape=(2,))
        words = r"layer \d \(Empty\) is trainable but has no parameters: let its init give some"
        with pytest.raises(BadInput, match=words):
            network.init(0, harness.NUMPY)
        with pytest.raises(BadInput, match=words):
            check_unbiased(method(), network, ({}, {}), BATCH, CASE.loss)
    with pytest.raises(BadInput, match=r"layer 0 \(Dense\) is trainable but has no parameters"):
        CASE.network.forward(({}, {}), CASE.inputs)


# --- losses ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """Whatever a function makes of the output."""

    function: Callable
    differentiable: ClassVar = False

    def check(self, targets, output_shape):
        pass

    def __call__(self, output, target):
        return self.function(output)

    def value_and_gradient(self, output, target):
        return self(output, target), None


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda o: o.sum(), r"got float64 of shape \(\)"),
        (lambda o: o[:, :1], r"got float64 of shape \(4, 1\)"),
        (lambda o: o[:2, 0], r"got float64 of shape \(2,\)"),
        (lambda o: o[:, 0] > 0, r"got bool of shape \(4,\)"),
        (lambda o: (o[:, 0] > 0).astype(int), r"got int64 of shape \(4,\)"),
        (lambda o: [0.0] * len(o), "got list"),
        (lambda o: o[:, 0] / np.zeros(len(o)), "contains NaN or infinity"),
    ],
)
def test_a_loss_that_is_not_one_number_a_sample_is_refused(function, words):
    known = method(None), CASE.network, CASE.params, BATCH
    with np.errstate(all="ignore"), pytest.raises(BadInput, match=f"^the loss Loss .*{words}"):
        check_unbiased(*known, Loss(function))
    few = {"max_draws": 64, "rows": 4}
    assert check_unbiased(*known, Loss(lambda o: o[:, 0]), **few).draws == 64  # the control


def test_a_function_is_no_loss():
    with pytest.raises(BadInput, match="the loss <lambda> has no 'check' and no 'differentiable'"):
        check_unbiased(method(), CASE.network, CASE.params, BATCH, lambda o, t: o[:, 0])


def test_what_fits_is_not_refused():
    found = certify(method(None), reference=CASE.params, max_draws=64, rows=4)
    assert found.reference == "known gradient"
    assert found.draws == 64
