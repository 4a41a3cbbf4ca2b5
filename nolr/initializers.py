"""Initial weights, made on the host in float64: every backend starts from the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Protocol

import numpy as np

from nolr.backends.numpy import host_generator
from nolr.types import Key, Shape

__all__ = ["Initializer", "Normal", "ScaledIdentity", "glorot_normal", "he_normal"]


class Initializer(Protocol):
    """Weights (out, in, ...) whose scale follows from the number of inputs of a unit."""

    def __call__(self, key: Key, shape: Shape) -> np.ndarray: ...


def _fan_in(shape: Shape) -> int:
    return int(np.prod(shape[1:]))


def he_normal(key: Key, shape: Shape) -> np.ndarray:
    """N(0, 2/fan_in), which keeps the variance of a ReLU chain (He et al., arXiv:1502.01852)."""
    return host_generator(key).normal(0.0, sqrt(2.0 / _fan_in(shape)), shape)


def glorot_normal(key: Key, shape: Shape) -> np.ndarray:
    """N(0, 2/(fan_in + fan_out)), for tanh and sigmoid (Glorot and Bengio, AISTATS 2010)."""
    fan_out = shape[0] * int(np.prod(shape[2:]))
    return host_generator(key).normal(0.0, sqrt(2.0 / (_fan_in(shape) + fan_out)), shape)


@dataclass(frozen=True)
class Normal:
    """N(0, deviation²), for embeddings: a row is picked, not summed over."""

    deviation: float = 1.0

    def __call__(self, key: Key, shape: Shape) -> np.ndarray:
        return self.deviation * host_generator(key).normal(size=shape)


@dataclass(frozen=True)
class ScaledIdentity:
    """scale · I, for recurrent weights: every unit begins as a leaky memory of its own.

    Le, Jaitly, Hinton: A simple way to initialize recurrent networks of rectified linear units
    (arXiv:1504.00941).
    """

    scale: float = 1.0

    def __call__(self, key: Key, shape: Shape) -> np.ndarray:
        return self.scale * np.eye(shape[0], shape[1])
