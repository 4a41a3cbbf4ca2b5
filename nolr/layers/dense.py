"""The dense layer: v = x Wᵀ + b, y = f(v + ε), at every position of a sample that has some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nolr.activations import Identity, relu
from nolr.checks import check_activation, check_sizes
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.initializers import Initializer, he_normal
from nolr.linear import linear, linear_pullback
from nolr.reach import Same
from nolr.types import Activation, Array, Key, Params, Shape

__all__ = ["Dense"]


@dataclass(frozen=True)
class Dense:
    """Weights W (out, in) and bias b (out); x is (N, in), v and y are (N, out).

    A sequence (N, T, in) is taken step by step, with the same weights: v and y are (N, T, out).

    Args:
        inputs: number of inputs of each unit.
        outputs: number of units.
        activation: the function f; ReLU unless given.
        initializer: draws W; b starts at 0.

    Raises:
        BadInput: a size that is no whole number from 1 on, or an activation that is no function.
    """

    inputs: int
    outputs: int
    activation: Activation = relu
    initializer: Initializer = he_normal

    trainable: ClassVar[Literal[True]] = True
    recurrent = False
    pulls_past = False
    reach = Same()
    noise_reach = Same()

    def __post_init__(self) -> None:
        check_sizes(self, "inputs", "outputs")
        check_activation(self, self.activation)

    @property
    def affine(self) -> bool:
        return isinstance(self.activation, Identity)

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape[-1:] != (self.inputs,) or len(input_shape) > 2 or 0 in input_shape:
            raise BadInput(
                f"Dense({self.inputs}, {self.outputs}) expected samples of shape "
                f"({self.inputs},), got {input_shape}: match the previous layer's output, or "
                "put Flatten() before it"
            )
        return (*input_shape[:-1], self.outputs)

    def noise_shape(self, input_shape: Shape) -> Shape:
        return self.output_shape(input_shape)

    def init(self, key: Key) -> Params:
        return {
            "W": self.initializer(key, (self.outputs, self.inputs)),
            "b": np.zeros(self.outputs),
        }

    def drive(self, params: Params, x: Array) -> Array:
        return linear(x, params)

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, None]:
        return self.activation(add_noise(drive, noise)), None

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        return linear_pullback(x, score)

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return self.activation.smoothed_derivative(drive, scale)
