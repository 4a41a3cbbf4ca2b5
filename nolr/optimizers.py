"""Optimisers: written for one flat vector of parameters, lifted to whole networks by `ravel`.

One vector means one update of a few array operations however many layers there are: fewer calls
on the CPU, fewer kernel launches on a GPU, and one array to save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

from nolr.backends import namespace
from nolr.checks import use_plain_numbers
from nolr.errors import BadInput
from nolr.learning_rates import LearningRate, as_learning_rate
from nolr.types import Array, Params

__all__ = ["SGD", "Adam", "ravel", "unravel"]


def ravel(params: Sequence[Params]) -> Array:
    """Concatenate all parameters, layer by layer and name by name, into one vector (P,)."""
    arrays = [array for layer in params for _, array in sorted(layer.items())]
    xp = namespace(arrays[0])
    return xp.concat([a if a.ndim == 1 else xp.reshape(a, (-1,)) for a in arrays])


def unravel(vector: Array, like: Sequence[Params]) -> tuple[Params, ...]:
    """Cut a vector (P,) into parameters of the shapes of `like`; views where the backend can."""
    xp = namespace(vector)
    layers, start = [], 0
    for layer in like:
        cut: Params = {}
        for name, array in sorted(layer.items()):
            end = start + prod(array.shape)
            flat = vector[start:end]
            cut[name] = flat if array.ndim == 1 else xp.reshape(flat, array.shape)
            start = end
        layers.append(cut)
    return tuple(layers)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise BadInput(f"{name} must lie in [0, 1), got {value}")


def _check_decay(value: float, name: str = "weight_decay") -> None:
    if not 0 <= value < inf:
        raise BadInput(f"{name} must be a number from 0 on, got {value}")


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum and decoupled weight decay.

        m ← μ m + g        θ ← θ - lr (m + decay θ)

    Args:
        learning_rate: a number, or a function of the step.
        momentum: μ in [0, 1).
        weight_decay: decay rate, per step and unit of learning rate.
    """

    learning_rate: float | LearningRate = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        as_learning_rate(self.learning_rate)
        _check_fraction("momentum", self.momentum)
        _check_decay(self.weight_decay)

    def init(self, vector: Array) -> tuple[Array, ...]:
        return (namespace(vector).zeros_like(vector),)

    def update(
        self, gradient: Array, state: tuple[Array, ...], vector: Array, step: int
    ) -> tuple[Array, tuple[Array, ...]]:
        rate = float(as_learning_rate(self.learning_rate)(step))
        momentum = state[0] * self.momentum
        momentum += gradient
        new = vector * (1.0 - rate * self.weight_decay)
        new -= rate * momentum
        return new, (momentum,)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, arXiv:1412.6980) with decoupled weight decay (arXiv:1711.05101).

        m ← β₁ m + g        u ← β₂ u + g²
        θ ← θ - lr ( m̂ / (√û + 1e-8) + decay θ )

    The moments are kept as discounted sums, of which the hats make means: m̂ = m / (1 + β₁ + ...),
    a power for every step, and û likewise. The authors' moments are these times 1 - β, by which a
    step would have to multiply every entry.

    Args:
        learning_rate: a number, or a function of the step.
        beta1: forgetting of the mean gradient.
        beta2: forgetting of the mean squared gradient.
        weight_decay: decay rate, per step and unit of learning rate.
        l2: weight of the penalty ½ l2 ‖θ‖², whose gradient is added to g.
    """

    learning_rate: float | LearningRate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        as_learning_rate(self.learning_rate)
        _check_fraction("beta1", self.beta1)
        _check_fraction("beta2", self.beta2)
        _check_decay(self.weight_decay)
        _check_decay(self.l2, "l2")

    def init(self, vector: Array) -> tuple[Array, ...]:
        zeros = namespace(vector).zeros_like
        return zeros(vector), zeros(vector)

    def update(
        self, gradient: Array, state: tuple[Array, ...], vector: Array, step: int
    ) -> tuple[Array, tuple[Array, ...]]:
        rate = float(as_learning_rate(self.learning_rate)(step))
        # The hats, taken out of the formula: numbers instead of arrays.
        deviations = _discounted_count(self.beta2, step + 1) ** 0.5
        size = rate * deviations / _discounted_count(self.beta1, step + 1)
        if self.l2:
            gradient = gradient + self.l2 * vector
        # A vector is as large as the cache: what is done with is given back, to be used again, and
        # so is the gradient where the caller has not kept it.
        mean = self.beta1 * state[0]
        mean += gradient
        part = gradient * gradient
        del gradient
        square = self.beta2 * state[1]
        square += part
        del part
        root = namespace(vector).sqrt(square)
        root += 1e-8 * deviations
        new = mean / root
        del root
        new *= -size
        new += vector
        if self.weight_decay:
            new -= (rate * self.weight_decay) * vector
        return new, (mean, square)


def _discounted_count(factor: float, steps: int) -> float:
    """1 + β + β² ..., of so many steps."""
    return (1.0 - factor**steps) / (1.0 - factor)
