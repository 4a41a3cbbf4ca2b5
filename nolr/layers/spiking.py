"""The leaky integrate-and-fire layer, in discrete time.

    v_t = β u_{t-1} (1 - spike_{t-1}) + W x_t + b        reset to zero
    v_t = β u_{t-1} - V spike_{t-1} + W x_t + b          reset by subtraction
    u_t = v_t + ε_t,        spike_t = 1 if u_t > V else 0

The noise is in the membrane potential and is carried on: noise at the threshold alone, with a
clean potential carried, gives a wrong gradient. With it the mean spike is a smooth function of
the potential, so no surrogate derivative is assumed: φ((v - V)/σ)/σ falls out of the noise.

Eshraghian et al.: Training spiking neural networks using lessons from deep learning
(Proceedings of the IEEE 111, 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nolr.activations import Step
from nolr.backends import namespace
from nolr.checks import check_sizes, check_steps, use_plain_numbers
from nolr.copies import fresh_noisy
from nolr.errors import BadInput
from nolr.initializers import Initializer, he_normal
from nolr.linear import linear, linear_pullback
from nolr.reach import Everywhere, Later
from nolr.types import Array, Key, Params, Reach, Shape

__all__ = ["LIF"]


@dataclass(frozen=True)
class LIF:
    """Currents or spikes x to spikes y (N, T, units).

    x is (N, T, in), or with `steps` a constant input (N, in), shown T = steps times (direct
    coding): its drive is computed once for all steps. Parameters: W (units, in), b (units), and
    decay (units) if it is learned. The past is the membrane potential u (C·N, T, units), before the
    reset.

    Args:
        inputs: number of inputs a step.
        units: number of neurons.
        steps: number of time steps of a constant input; None for inputs that have time steps.
        decay: β in [0, 1], the part of the potential that is left after one time step.
        threshold: V > 0, in units of the potential.
        reset: "zero" or "subtract".
        learn_decay: make β a parameter of every neuron, used as if it were cut off at 0 and 1.
            Beyond them the true gradient is 0; what is estimated is that at the nearer end, a
            straight-through estimate, so that a β that has left [0, 1] can come back.
        initializer: draws W; b starts at 0.

    Raises:
        BadInput: an argument out of its range.
    """

    inputs: int
    units: int
    steps: int | None = None
    decay: float = 0.9
    threshold: float = 1.0
    reset: str = "zero"
    learn_decay: bool = False
    initializer: Initializer = he_normal

    trainable: ClassVar[Literal[True]] = True
    affine = False
    recurrent = True
    noise_reach = Later()

    @property
    def reach(self) -> Reach:
        return Later() if self.steps is None else Everywhere()  # a constant input is in all steps

    @property
    def pulls_past(self) -> bool:
        return self.learn_decay  # W sees the inputs alone, whatever the potential was

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        check_sizes(self, "inputs", "units")
        if self.steps is not None:
            check_sizes(self, "steps")
        if not 0 <= self.decay <= 1:
            raise BadInput(f"the decay of LIF must lie in [0, 1], got {self.decay}")
        if not self.threshold > 0:
            raise BadInput(f"the threshold of LIF must be positive, got {self.threshold}")
        if self.reset not in ("zero", "subtract"):
            raise BadInput(f"the reset of LIF is 'zero' or 'subtract', got {self.reset!r}")

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.noise_shape(input_shape)

    def noise_shape(self, input_shape: Shape) -> Shape:
        if self.steps is not None and input_shape == (self.inputs,):
            return (self.steps, self.units)
        if self.steps is None and len(input_shape) == 2 and input_shape[1] == self.inputs:
            check_steps(self, input_shape)
            return (input_shape[0], self.units)
        expected = f"({self.inputs},)" if self.steps else f"(time steps, {self.inputs})"
        raise BadInput(
            f"LIF({self.inputs}, {self.units}, steps={self.steps}) expected samples of shape "
            f"{expected}, got {input_shape}: give steps for inputs without time, and only for them"
        )

    def init(self, key: Key) -> Params:
        params = {"W": self.initializer(key, (self.units, self.inputs)), "b": np.zeros(self.units)}
        if self.learn_decay:
            params["decay"] = np.full(self.units, self.decay)
        return params

    def drive(self, params: Params, x: Array) -> Array:
        v = linear(x, params)
        if self.steps is None:
            return v
        return namespace(v).broadcast_to(v[:, None, :], (v.shape[0], self.steps, self.units))

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, Array]:
        xp, fire = namespace(drive), Step(self.threshold)
        decay = xp.clip(params["decay"], 0.0, 1.0) if self.learn_decay else self.decay
        past = fresh_noisy(drive, noise)  # u_t is completed in place, step by step
        spikes = xp.empty_like(past)
        spikes[:, 0, :] = fire(past[:, 0, :])
        for step in range(1, past.shape[1]):
            before, spike = past[:, step - 1, :], spikes[:, step - 1, :]
            if self.reset == "zero":
                rest = spike * -decay
                rest += decay
                rest *= before
            else:
                rest = decay * before
                rest -= self.threshold * spike
            past[:, step, :] += rest
            spikes[:, step, :] = fire(past[:, step, :])
        return spikes, past

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        xp = namespace(score)
        # A constant input needs one product for all steps.
        grads = linear_pullback(x, xp.sum(score, axis=1) if self.steps else score)
        if self.learn_decay:
            before = past[:, :-1, :]  # type: ignore[index]
            if self.reset == "zero":
                before = before * (1.0 - Step(self.threshold)(before))
            grads["decay"] = xp.sum(score[:, 1:, :] * before, axis=(0, 1))
        return grads

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return Step(self.threshold).smoothed_derivative(past, scale)
