"""What `check_unbiased` refuses, in one sentence."""

from __future__ import annotations

import harness
import numpy as np
import pytest

from nolr.errors import BadInput
from nolr.estimation import CleanLoss, LayerWise
from nolr.sampling import Antithetic
from nolr.testing import check_unbiased

CASE = harness.CASES["chain"]


def method(residual=1.0):
    return harness.estimator(Antithetic(), LayerWise(), CleanLoss(), residual)


def certify(estimator, batch=(CASE.inputs, CASE.target), **arguments):
    return check_unbiased(estimator, CASE.network, CASE.params, batch, CASE.loss, **arguments)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reference": "guess"}, "there is no reference 'guess'"),
        ({"tolerance": 0.0}, "tolerance must lie between 0 and 1"),
        ({"error_rate": 1.0}, "error_rate must lie between 0 and 1"),
        ({"max_draws": 10}, "max_draws must be at least 64"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"noised": [(0,)]}, "has 2 stages, but noised says of 1"),
        ({"reference": "closed form"}, "does not fit this network"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(BadInput, match=words):
        certify(method(), **wrong)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: g[:1], "has 1 entries but the network 2 nodes"),
        (lambda g: ({"W": g[0]["W"]}, g[1]), r"'b' in stage 0 must have .* \(2,\), got nothing"),
        (lambda g: (g[0], g[1] | {"W": g[1]["b"]}), r"'W' in stage 1 .*\(2, 2\), got shape \(2,\)"),
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


def test_an_estimate_that_is_not_finite_is_refused():
    inner = method(None)

    def broken(*args):
        estimate, state = inner(*args)
        grads = tuple({k: v * np.inf for k, v in theta.items()} for theta in estimate.grads)
        return estimate._replace(grads=grads), state

    broken.noise, broken.schedule = inner.noise, inner.schedule
    state = inner.init(CASE.network, CASE.params, CASE.loss)
    with pytest.raises(BadInput, match="draw 1 of the estimator has an entry that is not finite"):
        certify(broken, state=state)


def test_what_fits_is_not_refused():
    found = certify(method(None), reference=CASE.params, max_draws=64, rows=4)
    assert found.reference == "known gradient"
    assert found.draws == 64
