"""Directions: along which lines a gradient is compared, and how to project on them.

A gradient has too many entries to look at one by one, and a bias often points where the gradient
does. So every block of parameters is looked at along a pilot estimate, and along a few coordinates
or random directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nolr.backends import backend_of
from nolr.network import Sequential
from nolr.types import Array, Params

__all__ = ["PILOT", "Direction", "Projection", "choose_directions", "flat", "moved", "to_host"]

PILOT = "estimate"  # the label of the direction in which a pilot estimate points
COORDINATES = 6  # of a block that are looked at one by one, or as many random directions
# In a large block a random direction is nearly orthogonal to any bias, and just as expensive.
LARGE, FEW = 64, 2  # a block of more entries gets so many


class Direction(NamedTuple):
    """A direction of length 1 in one array of parameters."""

    stage: int
    node: int
    name: str
    values: np.ndarray
    label: str = ""
    """Where it comes from."""


def choose_directions(
    network: Sequential, pilot: np.ndarray, params: Sequence[Params], rng: np.random.Generator
) -> list[Direction]:
    """For every block, where a pilot estimate points, and some coordinates or random directions.

    Args:
        pilot: an estimate (P,), made of other draws than those that will be projected.
        params: on the host.
    """
    found, start = [], 0
    for stage, node in enumerate(network.stages):
        for name in sorted(params[node]):
            shape = params[node][name].shape
            size = params[node][name].size
            first = pilot[start : start + size]
            start += size
            length = float(np.linalg.norm(first))
            vectors = [first / length] if length > 0 else []
            labels = [PILOT] * len(vectors)
            if size <= COORDINATES:
                vectors += list(np.eye(size))
                labels += [f"entry {index}" for index in range(size)]
            else:
                count = COORDINATES if size <= LARGE else FEW
                basis, _ = np.linalg.qr(rng.standard_normal((size, count)))
                vectors += list(basis.T)
                labels += [f"random {index}" for index in range(count)]
            found += [
                Direction(stage, node, name, vector.reshape(shape), label)
                for vector, label in zip(vectors, labels, strict=True)
            ]
    return found


class Projection:
    """What projects a gradient on directions, block by block: no array has more than one block."""

    def __init__(self, directions: Sequence[Direction]) -> None:
        self._blocks: dict[tuple[int, str], np.ndarray] = {}
        for direction in directions:  # all directions of a block come one after another
            block, row = (direction.node, direction.name), direction.values.reshape(1, -1)
            known = self._blocks.get(block)
            self._blocks[block] = row if known is None else np.concatenate([known, row])

    def __call__(self, grads: Sequence[Params]) -> np.ndarray:
        """A gradient in the layout of the parameters -> (directions,)."""
        return np.concatenate(
            [
                rows @ to_host(grads[node][name]).reshape(-1)
                for (node, name), rows in self._blocks.items()
            ]
        )


def moved(params: Sequence[Params], direction: Direction, step: float) -> tuple[Params, ...]:
    """The parameters with one array moved along a direction."""
    changed = [dict(theta) for theta in params]
    array = changed[direction.node][direction.name]
    changed[direction.node][direction.name] = array + step * direction.values
    return tuple(changed)


def flat(network: Sequential, grads: Sequence[Params]) -> np.ndarray:
    """All parameters of a gradient on the host, stage by stage and name by name, (P,)."""
    return np.concatenate(
        [
            to_host(grads[node][k]).reshape(-1)
            for node in network.stages
            for k in sorted(grads[node])
        ]
    )


def to_host(array: Array) -> np.ndarray:
    """On the host, in float64."""
    return np.asarray(backend_of(array).to_host(array), dtype=np.float64)
