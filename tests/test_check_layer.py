"""The contract check: layers of nolr pass, and every planted fault is named by its own check."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import pytest
from faulty_layers import ANY, FAULTS, MeanPullback, NoBiasGradient
from layer_rows import ROWS, SAMPLES

from nolr.backends import namespace
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.initializers import glorot_normal
from nolr.layers import LIF, Conv2D, Dense, GraphConv, SimpleRNN
from nolr.linear import linear, linear_pullback
from nolr.reach import Later
from nolr.testing import layers
from nolr.testing.layers import FAILED, NOT_RUN, PASSED, check_layer

NOLR = {kind.__module__ for kind in (Conv2D, Dense, GraphConv, LIF, SimpleRNN)}


def failed(report):
    return {result.name for result in report.failures}


def said(report, name):
    """The sentences of a check, as one text."""
    (found,) = (result for result in report.results if result.name == name)
    return "\n".join(found.sentences)


# --- layers that keep the contract ----------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_layers_of_nolr_pass(row):
    x = row.inputs(np.random.default_rng(0), (SAMPLES, *row.input_shape))
    report = check_layer(row.layer, row.input_shape, input=x, backends=("array-api-strict",))
    report.raise_for_failures()
    verdicts = {result.name: result.verdict for result in report.results}
    assert verdicts["gate"] == verdicts["pullback"] == verdicts["noise"] == PASSED
    assert verdicts["past"] == (PASSED if row.layer.recurrent else NOT_RUN)


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_and_noise_levels_pass(seed):
    for layer, shape in ((Dense(3, 5), (3,)), (LIF(3, 2), (5, 3)), (SimpleRNN(3, 2), (5, 3))):
        for sigma in (0.1, 0.3):
            check_layer(layer, shape, samples=3, seed=seed, sigma=sigma).raise_for_failures()


def logistic(z):
    return 1 / (1 + namespace(z).exp(-z))


@dataclass(frozen=True)
class LSTM:
    """A layer that nolr does not have: z holds the four gates, cell and state follow from it."""

    inputs: int
    units: int

    trainable: ClassVar = True
    affine = False
    recurrent = True
    pulls_past = True
    reach = noise_reach = Later()

    def output_shape(self, input_shape):
        return (input_shape[0], self.units)

    def noise_shape(self, input_shape):
        return (input_shape[0], 4 * self.units)

    def init(self, key):
        return {
            "U": glorot_normal(key._replace(block=1), (4 * self.units, self.units)),
            "W": glorot_normal(key, (4 * self.units, self.inputs)),
            "b": np.zeros(4 * self.units),
        }

    def drive(self, params, x):
        return linear(x, params)

    def advance(self, z, cell):
        xp, n = namespace(z), self.units
        forget, write, show, new = (z[:, i * n : (i + 1) * n] for i in range(4))
        cell = logistic(forget) * cell + logistic(write) * xp.tanh(new)
        return cell, logistic(show) * xp.tanh(cell)

    def respond(self, params, drive, noise):
        xp = namespace(drive)
        v = drive if noise is None else add_noise(drive, noise)
        state = cell = xp.zeros_like(v[:, 0, : self.units])
        past, states = [], []
        for step in range(v.shape[1]):
            past.append(v[:, step, :] + state @ params["U"].T)
            cell, state = self.advance(past[-1], cell)
            states.append(state)
        return xp.stack(states, axis=1), xp.stack(past, axis=1)

    def pullback(self, x, past, score):
        xp = namespace(score)
        state = cell = xp.zeros_like(past[:, 0, : self.units])
        before = []
        for step in range(past.shape[1]):
            before.append(state)
            cell, state = self.advance(past[:, step, :], cell)
        rows = xp.reshape(score, (-1, 4 * self.units))
        stacked = xp.reshape(xp.stack(before, axis=1), (-1, self.units))
        return {"U": rows.T @ stacked, **linear_pullback(x, score)}

    def gate(self, drive, past, scale):
        return namespace(past).ones_like(past)


def test_a_layer_whose_formula_nobody_told_passes():
    report = check_layer(LSTM(3, 2), (5, 3), backends=("array-api-strict",))
    report.raise_for_failures()
    assert "not a function of one unit of z" in said(report, "gate")


def test_a_layer_of_another_slope_passes_whatever_it_says_of_affine():
    @dataclass(frozen=True)
    class Double(Dense):
        says: bool = True

        @property
        def affine(self):
            return self.says

        def respond(self, params, drive, noise):
            return 2.0 * add_noise(drive, noise), None

        def gate(self, drive, past, scale):
            return 2.0 * namespace(drive).ones_like(drive)

    for says in (True, False):
        check_layer(Double(3, 2, says=says), (3,)).raise_for_failures()


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "check", "others"), FAULTS, ids=lambda v: type(v).__name__
)
def test_a_fault_is_named_by_its_check(layer, shape, check, others):
    report = check_layer(layer, shape)
    assert not report.passed
    assert check in failed(report)
    if others is not ANY:
        assert failed(report) == {check, *others}
    right = next(kind for kind in type(layer).__mro__ if kind.__module__ in NOLR)
    control = right(**{f.name: getattr(layer, f.name) for f in fields(right)})
    assert check_layer(control, shape).passed  # the fault is all that is wrong


def test_a_mean_over_rows_is_called_one():
    assert "which is 1/4 of it, a mean over rows" in said(
        check_layer(MeanPullback(3, 2), (3,)), "pullback"
    )


class NumPyAlone(Dense):
    def respond(self, params, drive, noise):
        return np.maximum(np.asarray(add_noise(drive, noise)), 0.0), None


def test_a_layer_that_is_for_numpy_alone():
    report = check_layer(NumPyAlone(3, 2), (3,), backends=("numpy", "array-api-strict"))
    assert failed(report) == {"backend array-api-strict"}


class Shifted(Dense):
    """Other numbers where the arrays are not NumPy's."""

    def drive(self, params, x):
        return super().drive(params, x) + (0.0 if isinstance(x, np.ndarray) else 1e-9)


def test_a_backend_with_other_numbers():
    report = check_layer(Shifted(3, 2), (3,), backends=("array-api-strict",))
    assert failed(report) == {"backend array-api-strict"}
    assert "drive on array-api-strict, at [" in said(report, "backend array-api-strict")


# --- the report -----------------------------------------------------------------------------------


class Crashes(Dense):
    def gate(self, drive, past, scale):
        raise KeyError("no slope")


def test_what_a_layer_raises_is_a_failure_of_the_checks_that_it_interrupts():
    report = check_layer(Crashes(3, 2), (3,))
    assert failed(report) == {"shapes", "rows", "purity", "gate", "affine"}
    assert "KeyError: 'no slope' (in gate, line" in said(report, "shapes")
    assert "of test_check_layer.py)" in said(report, "shapes")
    assert said(report, "rows") == "KeyError as in 'shapes'"


def test_something_that_is_no_layer_fails_without_a_crash():
    report = check_layer(object(), (3,))
    told = said(report, "attributes")
    for name in ("trainable", "affine", "recurrent", "pulls_past", "noise_reach", "pullback"):
        assert f"{name}: expected" in told
    assert "init" in failed(report)


def test_a_report_is_a_table():
    report = check_layer(NoBiasGradient(3, 2), (3,))
    first, *rows = str(report).splitlines()
    assert first == "NoBiasGradient on samples of shape (3,): 1 of 15 checks failed"
    assert [row.split("  ")[1].strip() for row in rows] == [r.name for r in report.results]
    (row,) = (row for row in rows if FAILED in row)
    assert row.split()[:2] == ["pullback", FAILED]
    assert "expected ['W', 'b'] as in init, got ['W']" in row
    with pytest.raises(AssertionError, match="1 of 15 checks failed") as raised:
        report.raise_for_failures()
    assert str(raised.value) == str(report)
    assert str(check_layer(NoBiasGradient(3, 2), (3,))) == str(report)  # all goes by the seed


def test_a_backend_that_is_not_installed_is_not_run(monkeypatch):
    def absent(name):
        raise BadInput(f"backend {name!r} needs a package")

    monkeypatch.setattr(layers, "get_backend", absent)
    report = check_layer(Dense(3, 2), (3,), backends=("torch",))
    assert report.passed
    assert report.results[-1].verdict == NOT_RUN
    assert said(report, "backend torch") == "backend 'torch' needs a package"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backends": ("nump",)}, "no backend 'nump'; did you mean 'numpy'"),
        (
            {"backends": "torch"},
            "backends must be a tuple of names, got 'torch': write ..torch",
        ),
        ({"sigma": 0.0}, "sigma must be positive, got 0.0"),
        ({"sigma": "a"}, "sigma must be positive, got 'a'"),
        ({"samples": 1}, "samples must be at least 2, got 1"),
        ({"samples": 2.5}, "samples must be a whole number of at least 2, got 2.5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": None}, "seed must be a whole number of at least 0, got None"),
        ({"input": np.zeros((1, 3))}, "at least two samples, got 1"),
        ({"input": np.zeros((4, 2))}, r"shape \(samples, 3\), got \(4, 2\)"),
    ],
    ids=str,
)
def test_what_cannot_be_checked_is_refused(options, words):
    with pytest.raises(BadInput, match=words):
        check_layer(Dense(3, 2), (3,), **options)


@pytest.mark.parametrize(
    ("input_shape", "words"),
    [
        (3, r"got 3: write \(3,\)"),
        (("a",), r"got \('a',\)"),
        ((0,), r"got \(0,\)"),
        (None, "got None"),
    ],
)
def test_a_shape_that_is_none_is_refused(input_shape, words):
    with pytest.raises(BadInput, match=f"input_shape must be the shape of one sample, .* {words}"):
        check_layer(Dense(3, 2), input_shape)
