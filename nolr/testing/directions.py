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

__all__ = ["Direction", "choose_directions", "flat", "moved", "projection", "to_host"]

COORDINATES = 6  # of a block that are looked at one by one, or as many random directions


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
            labels = ["estimate"] * len(vectors)
            if size <= COORDINATES:
                vectors += list(np.eye(size))
                labels += [f"entry {index}" for index in range(size)]
            else:
                basis, _ = np.linalg.qr(rng.standard_normal((size, COORDINATES)))
                vectors += list(basis.T)
                labels += [f"random {index}" for index in range(COORDINATES)]
            found += [
                Direction(stage, node, name, vector.reshape(shape), label)
                for vector, label in zip(vectors, labels, strict=True)
            ]
    return found


def projection(
    network: Sequential, params: Sequence[Params], directions: Sequence[Direction]
) -> np.ndarray:
    """(P, directions): what projects a flat gradient."""
    columns = []
    for direction in directions:
        zero: list[Params] = [{k: np.zeros_like(v) for k, v in theta.items()} for theta in params]
        zero[direction.node][direction.name] = direction.values
        columns.append(flat(network, zero))
    return np.stack(columns, axis=1)


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
