"""Derivatives of the losses by forward runs alone: unit by unit, or coordinate by coordinate.

*Units.* A stage's gradient is the pullback of δ = ∂loss/∂v, and a sample's δ for one unit takes two
runs behind the stage, with ±h added to that unit alone:

    δ[n, u] = (loss_n(v + h e_u) - loss_n(v - h e_u)) / 2h        gradient = (∂v/∂θ)ᵀ δ / N

Every sample has a loss of its own, so all samples are probed at once, and 2 × units runs of the
batch give every coordinate of the gradient, however many there are.

*Coordinates.* Where a stage has many units but few parameters, as a convolution has, or where the
loss jumps, one parameter is moved instead, (J(θ + h e_i) - J(θ - h e_i)) / 2h, with the same noise
on both sides. That is one coordinate for two runs.
"""

from __future__ import annotations

from math import prod

import numpy as np

from nolr.copies import tile
from nolr.laboratory.noised_runs import Noises, Problem, losses_behind, visit_stage
from nolr.nodes import State
from nolr.types import Params, Shape

__all__ = ["flatten", "probe_coordinates", "probe_units"]

BLOCK_BYTES = 1 << 21  # of the largest array of a sweep: about what stays in the cache


def flatten(theta: Params) -> np.ndarray:
    """All entries of one stage, name by name, (P,)."""
    return np.concatenate([np.asarray(theta[name]).reshape(-1) for name in sorted(theta)])


def probe_units(problem: Problem, stage: int, noises: Noises, step: float) -> np.ndarray:
    """The gradient of the mean loss with respect to one stage's parameters, (P,).

    Args:
        noises: one copy of it, (N, *noise_shape) a stage.
        step: h, in units of the pre-activation.
    """
    network = problem.network
    layer, theta = network.layer(stage), problem.params[network.stages[stage]]
    visit, shape = visit_stage(problem, stage, noises), network.noise_shapes[stage]
    samples, units = problem.samples, prod(shape)
    base = noises.get(stage, np.zeros((samples, *shape))).reshape(samples, units)
    credit = np.empty((samples, units))
    for start in range(0, units, size := _block(problem, 2 * samples)):
        probed = np.arange(start, min(start + size, units))
        shift = np.zeros((2, len(probed), samples, units))
        shift += base
        shift[0, np.arange(len(probed)), :, probed] += step
        shift[1, np.arange(len(probed)), :, probed] -= step
        y, _ = layer.respond(theta, visit.drive, shift.reshape(-1, *shape))
        state = (y, *(tile(skip, 2 * len(probed)) for skip in visit.state[1:]))
        above, below = np.split(losses_behind(problem, stage, state, noises), 2)
        credit[:, probed] = (above - below).T / (2.0 * step)
    credit = credit.reshape(samples, *shape) / samples
    return flatten(layer.pullback(visit.state[0], visit.past, credit))


def probe_coordinates(
    problem: Problem, stage: int, noises: Noises, coordinates: np.ndarray, step: float
) -> np.ndarray:
    """Some coordinates of the gradient of the mean loss, for every copy of the noise.

    Args:
        noises: (C·N, *noise_shape) a stage.
        coordinates: their numbers in the stage's flat parameters.
        step: h, in units of the parameter.

    Returns:
        (C, coordinates).
    """
    network = problem.network
    layer, theta = network.layer(stage), problem.params[network.stages[stage]]
    visit = visit_stage(problem, stage, noises)
    noise = noises.get(stage)
    rows = max([len(visit.drive), *(len(array) for array in noises.values())])
    skips = tuple(tile(skip, rows // len(skip)) for skip in visit.state[1:])

    def respond(coordinate: int, shift: float) -> State:
        moved = _moved(theta, coordinate, shift)
        y, _ = layer.respond(moved, layer.drive(moved, visit.state[0]), noise)
        return (tile(y, rows // len(y)), *skips)

    found = []
    for start in range(0, len(coordinates), size := _block(problem, 2 * rows)):
        part = coordinates[start : start + size]
        states = [respond(i, sign * step) for sign in (1, -1) for i in part]
        state = tuple(np.concatenate(arrays) for arrays in zip(*states, strict=True))
        means = losses_behind(problem, stage, state, noises).mean(axis=1)
        above, below = np.split(means.reshape(2 * len(part), -1), 2)
        found.append((above - below) / (2.0 * step))
    return np.concatenate(found).T


def _moved(theta: Params, coordinate: int, shift: float) -> Params:
    """The parameters with one of them moved."""
    changed, start = dict(theta), 0
    for name in sorted(theta):
        size = theta[name].size
        if start <= coordinate < start + size:
            array = theta[name].copy()
            array.reshape(-1)[coordinate - start] += shift
            changed[name] = array
        start += size
    return changed


def _block(problem: Problem, rows: int) -> int:
    """How many probes of so many rows run in one sweep."""
    shapes: list[Shape] = [*problem.network.shapes, *problem.network.noise_shapes]
    widest = max(prod(shape) for shape in shapes)
    return max(1, BLOCK_BYTES // (8 * widest * rows))
