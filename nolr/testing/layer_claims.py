"""The slopes and the reach that a layer announces: the estimator builds on them.

gate(v) = d/dv E[f(v + ε)]      affine: y = z      reach: which positions feel a change
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import pi, sqrt

import numpy as np

from nolr.copies import tile
from nolr.testing.layer_example import EXACT, Check, Example, NotRun, size_of, unequal
from nolr.types import Array, Shape

__all__ = ["CLAIMS"]

GATE = 2e-3  # of the height of a step, whose slope is 1/(σ√2π): a cheap Φ is good enough
GATE_SHARE = 0.02  # of the largest slope
NODES = 4001  # of the trapezium rule on ±7σ
ENTRIES = 1 << 20  # of an array that is worked on at once


def check_gate(e: Example) -> Iterator[str]:
    """gate(v) = d/dv E[f(v + ε)] = E[f(v + ε) ε]/σ², by the trapezium rule.

    All units take the same noise; of a recurrent layer those of the last step, the past being
    clean. The gate serves the control variate, so it may be a cheap one.
    """
    drive = e.drive()
    y, past = e.respond(drive, None)
    noised = np.ones(e.noise_shape)
    if e.layer.recurrent:
        noised[:-1] = 0.0
    if _last(e, y) is None or _mixes_units(e, drive, noised):
        raise NotRun("a unit of y is not a function of one unit of z")
    n, eta = len(e.x), np.linspace(-7.0, 7.0, NODES)
    weights = np.exp(-0.5 * eta * eta) / sqrt(2 * pi) * (eta[1] - eta[0])
    slope = np.zeros_like(_last(e, drive))
    size = max(1, ENTRIES // drive.size)
    for start in range(0, NODES, size):
        part = slice(start, start + size)
        noise = np.multiply.outer(np.repeat(e.sigma * eta[part], n), noised)
        found: Array = _last(e, e.respond(drive, noise)[0])
        found = np.reshape(found, (-1, *slope.shape))
        slope += np.tensordot(weights[part] * eta[part] / e.sigma, found, axes=1)
    tolerance = GATE / e.sigma + GATE_SHARE * float(np.max(np.abs(slope)))
    fix = "return d/dv E[f(v + ε)], at the past where there is one (no bias, but lost precision)"
    gate = _last(e, e.gate(drive, past))
    yield from unequal("gate", gate, slope, fix, absolute=tolerance, relative=0.0)


def _last(e: Example, array: Array) -> Array | None:
    """What belongs to the last step, (rows, units), or all units if there are no steps."""
    if array.shape[1:] == e.noise_shape:
        return array[:, -1, ...] if e.layer.recurrent else array
    return array if e.layer.recurrent and array.shape[1:] == e.noise_shape[1:] else None


def _mixes_units(e: Example, drive: Array, noised: Array) -> bool:
    """Whether noise in a half of the units is felt by the others."""
    half = e.normal("half", e.noise_shape) > 0
    first, second = (
        _last(e, e.respond(drive, noised * noise)[0])
        for noise in (e.noise, np.where(half, e.loud, e.noise))
    )
    rest = ~(half[-1] if e.layer.recurrent else half)
    return not np.allclose(first[:, rest], second[:, rest])  # type: ignore[index]


def check_affine(e: Example) -> Iterator[str]:
    """affine says whether y = z: then y moves by gate · ε exactly, however large ε is.

    A y of another slope, 2z say, may be called affine or not: its gate knows the slope.
    """
    drive = e.drive()
    y, past = e.respond(drive, None)
    slope = tile(e.gate(drive, past), e.copies)
    same = True
    for noise in (e.noise, e.loud):
        moved = e.respond(drive, noise)[0]
        if e.layer.affine:
            fix = "announce affine = False, or the last stage goes without noise, a bias"
            gain = moved - tile(y, e.copies)
            if broken := list(unequal("y - clean y", gain, slope * noise, fix)):
                yield broken[0]
                return
        z = tile(drive, e.copies) + noise
        same = same and moved.shape == z.shape and np.allclose(moved, z)
    if same and not e.layer.affine and not e.layer.recurrent:
        yield (
            "affine: expected True, since y = z, got False: announce it, and the last stage takes "
            "the loss's own derivative instead of noise"
        )


def check_reach(e: Example) -> Iterator[str]:
    """A change at one position changes no position of y that the reach leaves out."""
    if len(e.layer.output_shape(e.input_shape)) < 2:
        raise NotRun("the output has no positions")
    drive, noises = e.drive(), (e.noise, e.noise + e.loud)

    def by_noise(position: int) -> list[Array]:
        moved = e.noise.copy()
        moved[:, position, ...] += e.loud[:, position, ...]
        return [e.respond(drive, moved)[0]]

    def by_input(position: int) -> list[Array]:
        x = e.x.copy()
        x[:, position, ...] = np.roll(e.x, 1, axis=0)[:, position, ...]
        return [e.respond(e.drive(x), noise)[0] for noise in noises]

    before = [e.respond(drive, noise)[0] for noise in noises]
    yield from _lies(e, "noise_reach", e.noise_shape, by_noise, before[:1])
    yield from _lies(e, "reach", e.input_shape, by_input, before)


def _lies(
    e: Example,
    name: str,
    shape: Shape,
    change: Callable[[int], list[Array]],
    before: list[Array],
) -> Iterator[str]:
    """The first position of `shape` that is felt where the reach of that name leaves it out."""
    positions = before[0].shape[1]
    # Row p: the loss of position p alone, and who reaches it.
    reached = np.asarray(getattr(e.layer, name).gather(np.eye(positions))) != 0
    if reached.all():
        return
    if reached.shape != (positions, shape[0]):
        yield (
            f"{name}: expected {positions} × {shape[0]} positions (of y and of what changes), got "
            f"{reached.shape[0]} × {reached.shape[-1]}: announce nolr.reach.Everywhere()"
        )
        return
    for position in range(shape[0]):
        felt = np.zeros(positions, dtype=bool)
        for y, was in zip(change(position), before, strict=True):
            others = tuple(axis for axis in range(y.ndim) if axis != 1)
            felt |= np.any(np.abs(y - was) > EXACT * size_of(was), axis=others)
        if (hidden := np.flatnonzero(felt & ~reached[:, position])).size:
            yield (
                f"{name}: expected no change of y at position {int(hidden[0])} when position "
                f"{position} changes, got one: announce a wider reach, or the losses there are "
                "not weighed with its noise, a bias"
            )
            return


CLAIMS: dict[str, Check] = {"gate": check_gate, "affine": check_affine, "reach": check_reach}
