"""Coding: how numbers become the inputs of a spiking network.

Direct coding needs nothing: the numbers are a constant current (`LIF(steps=...)`). Poisson coding
draws spikes, anew in every training step and by a fixed key where the network is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nolr.backends import backend_of, get_backend
from nolr.checks import check_sizes, check_source
from nolr.types import Array, Key, Shape

__all__ = ["PoissonCoding"]


@dataclass(frozen=True)
class PoissonCoding:
    """Numbers x (N, ...) as spikes (N, T, units): 1 with probability x in every time step, else 0.

    A Bernoulli draw a step, the discrete form of a Poisson process (rate coding). Numbers below 0
    never spike, those above 1 always do.

    Args:
        steps: number of time steps T.
        source: "device" draws where the arrays live; "host" draws with NumPy and copies, which
            gives every backend the same spikes.

    Raises:
        BadInput: less than one step, or there is no such source.
    """

    steps: int
    source: str = "device"

    def __post_init__(self) -> None:
        check_sizes(self, "steps")
        check_source(self.source)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self.steps, prod(input_shape))

    def __call__(self, x: Array, key: Key) -> Array:
        backend, shape = backend_of(x), (x.shape[0], *self.output_shape(x.shape[1:]))
        if self.source == "host":
            uniform = backend.asarray(get_backend("numpy").uniform(key, shape, "float32"))
        else:
            uniform = backend.uniform(key, shape, backend.xp.float32)
        rates = backend.xp.reshape(x, (x.shape[0], 1, prod(x.shape[1:])))
        return backend.xp.astype(uniform < rates, x.dtype)
