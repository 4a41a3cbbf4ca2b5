"""Layers with one planted fault each, and the check of the contract that must name it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from layer_rows import DIRECTED, GRAPH

from nolr.activations import Identity
from nolr.copies import add_noise, tile
from nolr.layers import LIF, Conv2D, Dense, GraphConv, SimpleRNN
from nolr.linear import linear_pullback
from nolr.reach import Later, Same

__all__ = ["ANY", "FAULTS", "MeanPullback", "NoBiasGradient"]

ANY = object()  # whatever other checks fail as well


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
# Layer, shape of a sample, the check that must fail, and the others that do.
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
