"""The dense layer: v = x Wᵀ + b, y = f(v + ε)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nolr.activations import Identity, relu
from nolr.backends import namespace
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.initializers import Initializer, he_normal
from nolr.types import Activation, Array, Key, Params, Shape

__all__ = ["Dense"]


@dataclass(frozen=True)
class Dense:
    """Weights W (out, in) and bias b (out); x is (N, in), v and y are (N, out).

    Args:
        inputs: number of inputs of each unit.
        outputs: number of units.
        activation: the function f; ReLU unless given.
        initializer: draws W; b starts at 0.

    Raises:
        BadInput: a size below 1, or an activation that is no function.
    """

    inputs: int
    outputs: int
    activation: Activation = relu
    initializer: Initializer = he_normal

    def __post_init__(self) -> None:
        if min(self.inputs, self.outputs) < 1:
            raise BadInput(
                f"Dense needs at least one input and one output, got {self.inputs} and "
                f"{self.outputs}"
            )
        if not callable(self.activation):
            raise BadInput(
                f"the activation of Dense must be a function like nolr.ReLU(), got "
                f"{self.activation!r}"
            )

    @property
    def affine(self) -> bool:
        return isinstance(self.activation, Identity)

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != (self.inputs,):
            raise BadInput(
                f"Dense({self.inputs}, {self.outputs}) expected samples of shape "
                f"({self.inputs},), got {input_shape}: match the previous layer's output, or "
                "put Flatten() before it"
            )
        return (self.outputs,)

    def noise_shape(self, input_shape: Shape) -> Shape:
        return self.output_shape(input_shape)

    def init(self, key: Key) -> Params:
        return {
            "W": self.initializer(key, (self.outputs, self.inputs)),
            "b": np.zeros(self.outputs),
        }

    def drive(self, params: Params, x: Array) -> Array:
        v = x @ params["W"].T
        v += params["b"]
        return v

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, None]:
        return self.activation(add_noise(drive, noise)), None

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        return {"W": score.T @ x, "b": namespace(score).sum(score, axis=0)}

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return self.activation.smoothed_derivative(drive, scale)
