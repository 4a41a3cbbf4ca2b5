"""A layer with something to try it on, for the checks of `nolr.testing.layers`.

The past of a recurrent layer is z itself. So noise steers it: ε_t = z_t - v_t, put right one step
after another, holds any past under any parameters, which gives v(θ | past) of a layer whose formula
nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from nolr.copies import tile
from nolr.types import Array, Key, Layer, Params, Shape, Stream

__all__ = ["Broken", "Check", "Example", "NotRun", "flat", "own", "size_of", "unequal"]

EXACT = 1e-9  # two ways to the same number: only rounding lies between them


class NotRun(Exception):
    """There is nothing to check here; the text says why."""


class Broken(Exception):
    """What a check builds on does not hold; the text is its sentence."""


@dataclass(frozen=True)
class Example:
    """A layer, N samples, parameters and C·N rows of noise, all a function of the seed.

    The layer is handed copies of all arrays, so that one that writes into its arguments disturbs
    no other check.
    """

    layer: Layer
    input_shape: Shape
    x: np.ndarray
    """(N, *input_shape), float64."""
    sigma: float
    seed: int
    copies: int = 3

    def normal(self, purpose: str, shape: Shape) -> np.ndarray:
        """N(0, 1), of its own for every purpose: checks do not depend on each other."""
        return self._generator(purpose).normal(size=shape)

    def _generator(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose.encode()])

    @cached_property
    def params(self) -> Params:
        """Near the initial ones, and none of them 0."""
        return self.moved(self.layer.init(Key(self.seed, Stream.INIT)), "parameters", 0.1)

    def moved(self, params: Params, purpose: str, share: float) -> Params:
        """Other parameters: nearer to 0 by up to this share, so that one that is cut off at the
        ends of its range, as a decay is, does not leave it; and what is 0 moves off it."""
        generator, found = self._generator(purpose), {}
        for name, array in params.items():
            part = share * generator.uniform(0.1, 1.0, size=np.shape(array))
            found[name] = np.where(np.asarray(array) == 0, part, array * (1.0 - part))
        return found

    @cached_property
    def noise_shape(self) -> Shape:
        return tuple(self.layer.noise_shape(self.input_shape))

    @cached_property
    def noise(self) -> np.ndarray:
        """(C·N, *noise_shape), of standard deviation σ."""
        return self.sigma * self.normal("noise", (self.copies * len(self.x), *self.noise_shape))

    @cached_property
    def loud(self) -> np.ndarray:
        """Noise so large that every unit leaves the place where it is, (C·N, *noise_shape)."""
        size = 3.0 * (1.0 + float(np.max(np.abs(self.drive()))))
        return size * self.normal("loud", self.noise.shape)

    def drive(self, x: Array | None = None, params: Params | None = None) -> Array:
        """(N, *noise_shape), of the example's own input and parameters unless others are given."""
        return self.layer.drive(own(params or self.params), own(self.x if x is None else x))

    def respond(
        self, drive: Array, noise: Array | None, params: Params | None = None
    ) -> tuple[Array, Array | None]:
        return self.layer.respond(own(params or self.params), own(drive), own(noise))

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        return self.layer.pullback(own(x), own(past), own(score))

    def gate(self, drive: Array, past: Array | None) -> Array:
        return self.layer.gate(own(drive), own(past), self.sigma)

    def pre_activation(self, params: Params, x: Array, past: Array | None) -> Array:
        """v(θ, x | past) of as many rows as the past, which is held at what it was."""
        drive = self.drive(x, params)
        return drive if past is None else past - self.hold(params, drive, past)

    def hold(self, params: Params, drive: Array, past: Array) -> Array:
        """The noise under which z is `past` (C·N, steps, ...): what is missing, step by step.

        Raises:
            Broken: no noise does it, so the past is not z.
        """
        noise = past - tile(drive, len(past) // len(drive))
        for step in range(past.shape[1]):
            noise[:, step, ...] += past[:, step, ...] - self._z(drive, noise, params)[:, step, ...]
        fix = "the past must be z = v + ε, whatever v is: see the check 'past'"
        for sentence in unequal("z steered by noise", self._z(drive, noise, params), past, fix):
            raise Broken(sentence)
        return noise

    def _z(self, drive: Array, noise: Array, params: Params) -> Array:
        past = self.respond(drive, noise, params)[1]
        if past is None or np.shape(past) != np.shape(noise):
            raise Broken(
                f"the past of a recurrent layer: expected z of shape {np.shape(noise)}, got "
                f"{None if past is None else np.shape(past)}: return z = v + ε"
            )
        return past


Check: TypeAlias = Callable[[Example], Iterator[str]]
"""Yields a sentence for every broken promise."""


def own(value: Array) -> Array:
    """A copy of an array, or of the arrays of a dict; None and numbers stay what they are."""
    if isinstance(value, dict):
        return {name: own(array) for name, array in value.items()}
    return value if value is None or isinstance(value, float) else np.array(value)


def flat(value: object) -> list[Array]:
    """All arrays in nested tuples and dicts, without None."""
    if isinstance(value, dict):
        value = tuple(value[name] for name in sorted(value))
    if isinstance(value, tuple | list):
        return [array for part in value for array in flat(part)]
    return [] if value is None else [value]


def size_of(array: Array) -> float:
    """The largest entry, or 1 if all are smaller: what rounding is measured by."""
    return float(np.max(np.abs(array), initial=1.0, where=np.isfinite(array)))


def unequal(
    what: str,
    got: Array,
    expected: Array,
    fix: str,
    *,
    relative: float = EXACT,
    absolute: float = 0.0,
) -> Iterator[str]:
    """Say where two arrays differ most, if they do.

    Args:
        what: names the arrays, at the beginning of the sentence.
        got: of any shape, or None.
        expected: likewise.
        fix: what to do about it, at the end of the sentence.
        relative: tolerance, as a fraction of the largest entry, or of 1 if all are smaller.
        absolute: tolerance in units of the entries; the larger one counts.
    """
    shapes = [None if array is None else tuple(np.shape(array)) for array in (expected, got)]
    if shapes[0] != shapes[1]:
        yield f"{what}: expected shape {shapes[0]}, got {shapes[1]}: {fix}"
        return
    if got is None:
        return
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    tolerance = max(absolute, relative * size_of(expected))
    wrong = ~np.isclose(got, expected, rtol=0, atol=tolerance, equal_nan=True)
    if wrong.any():
        gap = np.where(wrong, np.nan_to_num(np.abs(got - expected), nan=np.inf), -1.0)
        where = tuple(int(i) for i in np.unravel_index(int(np.argmax(gap)), gap.shape))
        yield (
            f"{what}, at {list(where)}: expected {expected[where]:.6g}, got {got[where]:.6g} "
            f"({int(wrong.sum())} of {wrong.size} entries differ): {fix}"
        )
