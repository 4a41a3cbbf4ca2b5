"""Runs with given noise: up to a stage, and from behind it to the losses.

References are made of these, in float64 on the host. Nothing here knows of scores or likelihood
ratios: noise is an array that is added, and the losses are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nolr.copies import split_copies, tile
from nolr.network import Sequential, Visit
from nolr.nodes import Fork, Join, State, advance
from nolr.types import Loss, Params

__all__ = ["Noises", "Problem", "losses_behind", "visit_stage"]

Noises = Mapping[int, np.ndarray]
"""Stage -> its noise (C·N, *noise_shape); stages without noise are left out."""

CLEAN: Noises = {}


class Problem(NamedTuple):
    """What an exact gradient is the gradient of, in float64 on the host."""

    network: Sequential
    params: tuple[Params, ...]
    inputs: np.ndarray
    """(N, *input_shape)."""
    target: np.ndarray
    loss: Loss

    @property
    def samples(self) -> int:
        return len(self.inputs)

    def losses(self, output: np.ndarray) -> np.ndarray:
        """The loss of every copy of every sample, (C·N, ...) -> (C, N), summed over positions."""
        found = self.loss(output, tile(self.target, len(output) // self.samples))
        return split_copies(np.asarray(found).reshape(len(found), -1).sum(axis=1), self.samples)


def visit_stage(problem: Problem, stage: int, noises: Noises) -> Visit:
    """What a stage sees on entry, its own noise not yet added.

    Its rows are those of the samples, or of the copies where an earlier stage has noise.
    """
    network, state = problem.network, (problem.inputs,)
    target = network.stages[stage]
    state = _run(problem, problem.params, 0, target, state, noises)
    layer, theta = network.layer(stage), problem.params[target]
    drive = layer.drive(theta, state[0])
    return Visit(state, drive, layer.respond(theta, drive, noises.get(stage))[1])


def losses_behind(problem: Problem, stage: int, state: State, noises: Noises) -> np.ndarray:
    """The losses (C, N) of a run that goes on behind a stage.

    Args:
        state: what leaves the stage, (C·N, ...) each.
        noises: of later stages; fewer copies than those of the state are repeated.
    """
    network = problem.network
    end = len(network.nodes)
    state = _run(problem, problem.params, network.stages[stage] + 1, end, state, noises)
    return problem.losses(state[0])


def _run(
    problem: Problem,
    params: Sequence[Params],
    start: int,
    end: int,
    state: State,
    noises: Noises,
) -> State:
    """Take a state through the nodes from `start` up to but not including `end`."""
    network = problem.network
    stages = {node: stage for stage, node in enumerate(network.stages)}
    for index in range(start, end):
        node, theta = network.nodes[index], params[index]
        noise = noises.get(stages.get(index, -1))
        if noise is None or isinstance(node, Fork | Join) or not node.trainable:
            state = advance(node, theta, state)
            continue
        rows = max(len(noise), len(state[0]))
        noise = tile(noise, rows // len(noise))
        y, _ = node.respond(theta, node.drive(theta, state[0]), noise)
        state = (y, *(tile(skip, rows // len(skip)) for skip in state[1:]))
    return state
