"""The contract check: layers of nolr pass, and every planted fault is named by its own check."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest
from layer_rows import DIRECTED, GRAPH, ROWS, SAMPLES

from nolr.activations import Identity
from nolr.backends import namespace
from nolr.copies import add_noise, tile
from nolr.errors import BadInput
from nolr.initializers import glorot_normal
from nolr.layers import LIF, Conv2D, Dense, GraphConv, SimpleRNN
from nolr.linear import linear, linear_pullback
from nolr.reach import Later, Same
from nolr.testing import layers
from nolr.testing.layers import FAILED, NOT_RUN, PASSED, check_layer

ANY = object()
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


class TransposedPullback(Dense):
    def pullback(self, x, past, score):
        right = super().pullback(x, past, score)
        return {**right, "W": right["W"].T}


class MeanPullback(Dense):
    def pullback(self, x, past, score):
        return {n: a / len(score) for n, a in super().pullback(x, past, score).items()}


class NoBiasGradient(Dense):
    def pullback(self, x, past, score):
        return {"W": super().pullback(x, past, score)["W"]}


class BiasGradientOfOnePosition(GraphConv):
    def pullback(self, x, past, score):
        return {**super().pullback(x, past, score), "b": score[:, 0, :].sum(axis=0)}


class UntransposedGraph(GraphConv):
    def pullback(self, x, past, score):
        wrong = linear_pullback(x, self.operator.push(score))["W"]
        return {**super().pullback(x, past, score), "W": wrong}


class MixedRows(Dense):
    def drive(self, params, x):
        v = super().drive(params, x)
        return v - v.mean(axis=0)


class Interleaved(Dense):
    def respond(self, params, drive, noise):
        if noise is None:
            return super().respond(params, drive, noise)
        z = noise.reshape(len(drive), -1, *drive.shape[1:]) + drive[:, None]
        return self.activation(z.reshape(noise.shape)), None


class CleanPotential(LIF):
    """The trap: noise at the threshold alone, a clean potential is carried on."""

    keeps_noisy: ClassVar = True

    def respond(self, params, drive, noise):
        noise = np.zeros_like(drive) if noise is None else noise
        v = tile(drive, len(noise) // len(drive))
        past, spikes = np.empty_like(v), np.empty_like(v)
        clean = spike = np.zeros_like(v[:, 0])
        for step in range(v.shape[1]):
            clean = v[:, step] + self.decay * clean * (1 - spike)
            spike = (clean + noise[:, step] > self.threshold).astype(v.dtype)
            past[:, step] = clean + (noise[:, step] if self.keeps_noisy else 0)
            spikes[:, step] = spike
        return spikes, past


class CleanPotentialAndPast(CleanPotential):
    keeps_noisy = False


class NoiseOnTheState(SimpleRNN):
    """Noise behind the function instead of in front of it: y = f(v) + ε."""

    def respond(self, params, drive, noise):
        past = np.array(tile(drive, 1 if noise is None else len(noise) // len(drive)))
        state = np.zeros_like(past[:, 0])
        for step in range(past.shape[1]):
            past[:, step] += state @ params["U"].T
            state = self.activation(past[:, step])
            if noise is not None:
                state = state + noise[:, step]
        return state, past


class LearnedThreshold(LIF):
    """A threshold that is a parameter, and not a part of v."""

    def init(self, key):
        return {**super().init(key), "threshold": np.array(self.threshold)}

    def respond(self, params, drive, noise):
        level = float(params["threshold"])
        return LIF.respond(replace(self, threshold=level), params, drive, noise)

    def pullback(self, x, past, score):
        return {**super().pullback(x, past, score), "threshold": np.zeros((), score.dtype)}


class Gain(Dense):
    """A factor behind the noise that is a parameter."""

    def init(self, key):
        return {**super().init(key), "gain": np.ones(self.outputs)}

    def respond(self, params, drive, noise):
        return params["gain"] * self.activation(add_noise(drive, noise)), None

    def pullback(self, x, past, score):
        return {**super().pullback(x, past, score), "gain": np.zeros(self.outputs, score.dtype)}

    def gate(self, drive, past, scale):  # near 1, as the gain is
        return 0.95 * super().gate(drive, past, scale)


class SwappedConv(Conv2D):
    """The gradient of the weights with the stride where the dilation belongs."""

    def pullback(self, x, past, score):
        swapped = Conv2D(self.inputs, self.outputs, self.kernel, self.dilation, 0, self.stride)
        return swapped.pullback(x, past, score)


class WrongGate(Dense):
    def gate(self, drive, past, scale):
        return 1.1 * super().gate(drive, past, scale)


class GateOfTheDrive(LIF):
    def gate(self, drive, past, scale):
        return super().gate(drive, drive, scale)


class WrongNoiseShape(Dense):
    def noise_shape(self, input_shape):
        return (1, self.outputs)


class WrongOutputShape(Dense):
    def output_shape(self, input_shape):
        return (self.outputs + 1,)

    def noise_shape(self, input_shape):
        return (self.outputs,)


class DoublePrecision(Dense):
    def respond(self, params, drive, noise):
        return super().respond(params, drive, noise)[0].astype(np.float64), None


class WritesIntoDrive(Dense):
    def respond(self, params, drive, noise):
        if noise is not None and noise.shape == drive.shape:
            drive += noise
            return self.activation(drive), None
        return super().respond(params, drive, noise)


class WritesIntoParams(LIF):
    def respond(self, params, drive, noise):
        params["b"] *= 0.5
        return super().respond(params, drive, noise)


class Remembers(Dense):
    """Its response depends on how often it was asked."""

    calls: ClassVar = []

    def respond(self, params, drive, noise):
        self.calls.append(1)
        return super().respond(params, drive + 1e-6 * (len(self.calls) % 7), noise)


class StoredInput(Dense):
    """Its pullback takes the input that its drive saw last, not the one that it is given."""

    seen: ClassVar = {}

    def drive(self, params, x):
        self.seen[x.shape, x.dtype] = x
        return super().drive(params, x)

    def pullback(self, x, past, score):
        return super().pullback(self.seen[x.shape, x.dtype], past, score)


class StoredParams(Dense):
    """Its gate takes the parameters of the last drive along."""

    seen: ClassVar = []

    def drive(self, params, x):
        self.seen[:] = [params["b"]]
        return super().drive(params, x)

    def gate(self, drive, past, scale):
        return super().gate(drive + 1e-7 * self.seen[0], past, scale)


class WritesIntoInput(Dense):
    def drive(self, params, x):
        v = super().drive(params, x)
        x *= 0.5
        return v


class WritesIntoScore(Dense):
    def pullback(self, x, past, score):
        pulled = super().pullback(x, past, score)
        score *= 2.0
        return pulled


class ScaledWhenClean(Dense):
    def respond(self, params, drive, noise):
        return super().respond(params, 0.9 * drive if noise is None else drive, noise)


class AffineLie(Dense):
    affine = True


class AffineSlope(Dense):
    """Affine indeed, but its gate tells another slope."""

    affine = True

    def respond(self, params, drive, noise):
        return 2.0 * add_noise(drive, noise), None


class UnknownAffine(Dense):
    affine = False


class OffByOne(SimpleRNN):
    """The state after a step where that before it belongs."""

    def pullback(self, x, past, score):
        state = self.activation(past[:, 1:]).reshape(-1, self.units)
        later = score[:, 1:].reshape(-1, self.units)
        return {**super().pullback(x, past, score), "U": later.T @ state}


class PastLie(SimpleRNN):
    pulls_past = False


class ReachLie(SimpleRNN):
    noise_reach = Same()


class InputReachLie(GraphConv):
    reach = Same()


class ReachOfOtherPositions(LIF):
    reach = Later()  # a constant input has no steps


class RandomInit(Dense):
    generator: ClassVar = np.random.default_rng(0)

    def init(self, key):
        return {n: a + self.generator.normal(size=a.shape) for n, a in super().init(key).items()}


class Twins(Dense):
    def init(self, key):
        return super().init(key._replace(stage=0))


# A fault, the check that names it, and those that see it as well.
FAULTS = [
    (TransposedPullback(3, 3), (3,), "pullback", ()),
    (MeanPullback(3, 2), (3,), "pullback", ()),
    (NoBiasGradient(3, 2), (3,), "pullback", ()),
    (BiasGradientOfOnePosition(3, 2, GRAPH), (5, 3), "pullback", ()),
    (UntransposedGraph(3, 2, DIRECTED), (5, 3), "pullback", ()),
    (SwappedConv(2, 2, 3, stride=2), (2, 6, 7), "pullback", ()),
    (OffByOne(3, 2), (4, 3), "pullback", ()),
    (MixedRows(3, 2), (3,), "rows", ("pullback",)),
    (Interleaved(3, 2), (3,), "copies", ("zero noise", "noise", "gate")),
    (CleanPotential(3, 2, threshold=0.5), (4, 3), "noise", ("pullback",)),
    (CleanPotentialAndPast(3, 2, threshold=0.5), (4, 3), "noise", ANY),
    (CleanPotentialAndPast(3, 2, threshold=0.5), (4, 3), "past", ANY),
    (NoiseOnTheState(3, 2), (4, 3), "past", ANY),
    (LearnedThreshold(3, 2, threshold=0.5), (4, 3), "parameters", ("gate",)),
    (Gain(3, 2), (3,), "parameters", ("gate",)),
    (WrongGate(3, 2), (3,), "gate", ()),
    (GateOfTheDrive(3, 2, threshold=0.5), (4, 3), "gate", ()),
    (WrongNoiseShape(3, 2), (3,), "shapes", ANY),
    (WrongOutputShape(3, 2), (3,), "shapes", ()),
    (DoublePrecision(3, 2), (3,), "shapes", ()),
    (WritesIntoDrive(3, 2), (3,), "purity", ()),
    (WritesIntoParams(3, 2), (4, 3), "purity", ()),
    (Remembers(3, 2), (3,), "purity", ANY),
    (StoredInput(3, 2), (3,), "purity", ()),
    (StoredParams(3, 2), (3,), "purity", ()),
    (WritesIntoInput(3, 2), (3,), "purity", ()),
    (WritesIntoScore(3, 2), (3,), "purity", ()),
    (ScaledWhenClean(3, 2), (3,), "zero noise", ()),
    (AffineLie(3, 2), (3,), "affine", ()),
    (AffineSlope(3, 2, Identity()), (3,), "affine", ("gate",)),
    (UnknownAffine(3, 2, Identity()), (3,), "affine", ()),
    (PastLie(3, 2), (4, 3), "pulls_past", ()),
    (ReachLie(3, 2, last=False), (4, 3), "reach", ()),
    (InputReachLie(3, 2, GRAPH), (5, 3), "reach", ()),
    (ReachOfOtherPositions(3, 2, steps=4), (3,), "reach", ()),
    (RandomInit(3, 2), (3,), "init", ()),
    (Twins(3, 2), (3,), "init", ()),
]


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
