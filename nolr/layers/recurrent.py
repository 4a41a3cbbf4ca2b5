"""The simple recurrent layer: v_t = W x_t + U h_{t-1} + b, h_t = f(v_t + ε_t), h_0 = 0.

Elman: Finding structure in time (Cognitive Science 14, 1990). The noisy h is what is carried on,
so everything later is a function of z, and a likelihood ratio needs no derivative through time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nolr.activations import tanh
from nolr.backends import namespace
from nolr.checks import check_activation, check_sizes, check_steps
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.initializers import Initializer, glorot_normal
from nolr.linear import linear, linear_pullback
from nolr.reach import Everywhere, Later
from nolr.types import Activation, Array, Key, Params, Reach, Shape

__all__ = ["SimpleRNN"]


@dataclass(frozen=True)
class SimpleRNN:
    """Sequences x (N, T, in) to states h (N, T, units), or to the last of them (N, units).

    Parameters: W (units, in), U (units, units), b (units). The past is z (C·N, T, units): the
    pre-activations with their noise, from which the states follow.

    Args:
        inputs: number of inputs a step.
        units: number of recurrent units.
        activation: the function f; tanh unless given.
        last: return h_T alone instead of all states.
        initializer: draws W; b starts at 0.
        recurrent_initializer: draws U; as `initializer` unless given.

    Raises:
        BadInput: a size that is no whole number from 1 on, or an activation that is no function.
    """

    inputs: int
    units: int
    activation: Activation = tanh
    last: bool = True
    initializer: Initializer = glorot_normal
    recurrent_initializer: Initializer | None = None

    trainable: ClassVar[Literal[True]] = True
    affine = False
    recurrent = True
    pulls_past = True

    @property
    def reach(self) -> Reach:
        return Everywhere() if self.last else Later()

    @property
    def noise_reach(self) -> Reach:
        return self.reach

    def __post_init__(self) -> None:
        check_sizes(self, "inputs", "units")
        check_activation(self, self.activation)

    def output_shape(self, input_shape: Shape) -> Shape:
        shape = self.noise_shape(input_shape)
        return shape[1:] if self.last else shape

    def noise_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2 or input_shape[1] != self.inputs:
            raise BadInput(
                f"SimpleRNN({self.inputs}, {self.units}) expected samples of shape "
                f"(time steps, {self.inputs}), got {input_shape}: one row of inputs a step"
            )
        check_steps(self, input_shape)
        return (input_shape[0], self.units)

    def init(self, key: Key) -> Params:
        # The recurrent weights have a key of their own: block 1.
        recurrent = self.recurrent_initializer or self.initializer
        return {
            "U": recurrent(key._replace(block=1), (self.units, self.units)),
            "W": self.initializer(key, (self.units, self.inputs)),
            "b": np.zeros(self.units),
        }

    def drive(self, params: Params, x: Array) -> Array:
        return linear(x, params)

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, Array]:
        xp, recurrent = namespace(drive), params["U"].T
        noisy = add_noise(drive, noise)
        past, states = [noisy[:, 0, :]], []
        for step in range(1, drive.shape[1]):
            states.append(self.activation(past[-1]))
            z = states[-1] @ recurrent  # an array of its own: time is not the first axis
            z += noisy[:, step, :]
            past.append(z)
        last = self.activation(past[-1])
        return last if self.last else xp.stack([*states, last], axis=1), xp.stack(past, axis=1)

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        xp = namespace(score)
        before = self.activation(past[:, :-1, :])  # type: ignore[index]
        later = xp.reshape(score[:, 1:, :], (-1, self.units))
        recurrent = later.T @ xp.reshape(before, (-1, self.units))
        return {"U": recurrent, **linear_pullback(x, score)}

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return self.activation.smoothed_derivative(past, scale)
