"""The embedding: v = the row of W that a token's number picks, y = v + ε.

It is a dense layer on one-hot rows that are never written out: the product is a look-up, and the
pullback adds every token's score to its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from nolr.backends import backend_of, namespace
from nolr.checks import check_sizes, check_steps
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.initializers import Initializer, Normal
from nolr.reach import Same
from nolr.types import Array, Key, Params, Shape

__all__ = ["Embedding"]


@dataclass(frozen=True)
class Embedding:
    """Token numbers x (N, T) to v and y (N, T, units); W is (tokens, units).

    The numbers may come as floating-point numbers, which hold them exactly up to 2²⁴.

    Args:
        tokens: size of the vocabulary.
        units: number of features of a token.
        initializer: draws W.

    Raises:
        BadInput: a size that is no whole number from 1 on, more than 2²⁴ tokens, or, when it is
            run, something else than a whole number in 0..tokens-1.
    """

    tokens: int
    units: int
    initializer: Initializer = Normal()

    trainable: ClassVar[Literal[True]] = True
    affine = True
    recurrent = False
    pulls_past = False
    reach = Same()
    noise_reach = Same()

    def __post_init__(self) -> None:
        check_sizes(self, "tokens", "units")
        if self.tokens > 1 << 24:
            raise BadInput(
                f"Embedding takes at most {1 << 24} tokens, got {self.tokens}: a float32 holds no "
                "larger numbers exactly"
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise BadInput(
                f"Embedding({self.tokens}, {self.units}) expected samples of shape (time steps,), "
                f"got {input_shape}: one token a step"
            )
        check_steps(self, input_shape)
        return (input_shape[0], self.units)

    def noise_shape(self, input_shape: Shape) -> Shape:
        return self.output_shape(input_shape)

    def init(self, key: Key) -> Params:
        return {"W": self.initializer(key, (self.tokens, self.units))}

    def drive(self, params: Params, x: Array) -> Array:
        xp = namespace(x)
        known = (x >= 0) & (x < self.tokens) & (xp.floor(x) == x)
        if not bool(xp.all(known)):
            first = int(xp.argmin(xp.astype(xp.reshape(known, (-1,)), xp.int64)))
            raise BadInput(
                f"Embedding({self.tokens}, {self.units}) expected whole token numbers in "
                f"0..{self.tokens - 1}, got {float(xp.reshape(x, (-1,))[first]):.8g}: use the "
                "vocabulary that it was made for"
            )
        table = xp.take(params["W"], self._numbers(x), axis=0)
        return xp.reshape(table, (*x.shape, self.units))

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, None]:
        return add_noise(drive, noise), None

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        values = namespace(score).reshape(score, (-1, self.units))
        return {"W": backend_of(score).scatter_add(self._numbers(x), values, self.tokens)}

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return namespace(drive).ones_like(drive)

    def _numbers(self, x: Array) -> Array:
        xp = namespace(x)
        return xp.astype(xp.reshape(x, (-1,)), xp.int64)
