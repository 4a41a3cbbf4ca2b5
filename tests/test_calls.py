"""What `check_unbiased` refuses of an estimator: no estimate, and arguments that it wrote into."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from test_arguments import CASE, WRONG_LAYOUTS, certify, method

from nolr.errors import BadInput
from nolr.noise import Gaussian
from nolr.testing import check_unbiased


def changed(change):
    """An estimator whose call returns change(estimate, state, params, batch)."""
    inner = method(None)

    def estimator(network, params, batch, loss, key, state):
        return change(*inner(network, params, batch, loss, key, state), params, batch)

    estimator.noise, estimator.schedule = inner.noise, inner.schedule
    return estimator


STATE = method(None).init(CASE.network, CASE.params, CASE.loss)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e, s: e, "must return a pair .*, got Estimate of 3"),
        (lambda e, s: None, "must return a pair .*, got NoneType"),
        (lambda e, s: (e.grads, s), "must have the attribute `grads`, got tuple"),
        *(
            (
                lambda e, s, wrong=wrong: (SimpleNamespace(grads=wrong(e.grads)), s),
                f"the `grads` of the estimator must {words}",
            )
            for wrong, words in WRONG_LAYOUTS
        ),
        (
            lambda e, s: (
                SimpleNamespace(grads=[{k: v * np.inf for k, v in g.items()} for g in e.grads]),
                s,
            ),
            "draw 1 of the estimator has an entry that is not finite",
        ),
    ],
)
def test_what_is_no_estimate_is_refused(change, words):
    with pytest.raises(BadInput, match=words):
        certify(changed(lambda e, s, *_: change(e, s)), state=STATE)


def scale(array):
    array *= 0.999


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda params, batch: scale(batch[0]), "the inputs of the batch"),
        (lambda params, batch: batch[1].sort(), "the targets of the batch"),
        (lambda params, batch: scale(params[1]["W"]), "the parameter 'W' of node 1"),
        (
            lambda params, batch: params[0].update(b=2 * params[0]["b"]),
            "the parameter 'b' of node 0",
        ),
        (lambda params, batch: params[0].pop("b"), "the dict of the parameters of node 0"),
    ],
)
def test_an_estimator_that_writes_into_its_arguments_is_refused(write, words):
    def writing(estimate, state, params, batch):
        write(params, batch)
        return estimate, state

    params, batch = CASE.params, (CASE.inputs.copy(), CASE.target.copy()[::-1])
    known = changed(writing), CASE.network, params, batch, CASE.loss
    mine = [batch[0].copy(), batch[1].copy()] + [a.copy() for t in params for a in t.values()]
    with pytest.raises(BadInput, match=f"the estimator changed {words}, which it was given"):
        check_unbiased(*known, state=STATE)
    after = [*batch, *(array for theta in params for array in theta.values())]
    assert all(map(np.array_equal, after, mine))


def test_an_estimator_is_lent_arrays_of_every_backend(backend):
    params = [
        {name: backend.asarray(np.array(array)) for name, array in theta.items()}
        for theta in CASE.params
    ]
    batch = backend.asarray(CASE.inputs.copy()), backend.asarray(CASE.target.copy())

    def writing(estimate, state, params, batch):
        params[1]["W"][0, 0] = 5.0
        return estimate, state

    few = {"max_draws": 64, "rows": 4, "state": STATE, "reference": CASE.params}
    known = CASE.network, params, batch, CASE.loss
    with pytest.raises(BadInput, match="the estimator changed the parameter 'W' of node 1"):
        check_unbiased(changed(writing), *known, **few)
    assert backend.to_host(params[1]["W"])[0, 0] == CASE.params[1]["W"][0, 0]
    assert check_unbiased(changed(lambda e, s, *_: (e, s)), *known, **few).draws == 64


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"noise_in": "params"}, "its noise in 'params', .* did you mean 'parameters'"),
        ({"noise": (Gaussian(0.5),)}, "has 2 stages, but the estimator has noise for 1"),
        ({"noise": 0.5}, "the noise of the estimator must have a scale and a colour, got 0.5"),
        ({"noise": None}, "the estimator has no noise"),
    ],
)
def test_what_an_estimator_says_of_its_noise_is_checked(attributes, words):
    estimator = changed(lambda e, s, *_: (e, s))
    vars(estimator).update(attributes)
    with pytest.raises(BadInput, match=words):
        certify(estimator, state=STATE)
