"""Noised tails: run the rest of a network from a stage on, with noise in its pre-activation.

A tail leaves the clean run at its first noised stage, whose drive the trace holds already, and
carries the noised z from there on. Rows of axis 0 never mix, so the tails of all stages can ride
in the same arrays: one sweep costs one matrix product a layer, not one a layer and stage.

    layer 0      v₀ + ε₀ ─┐
    layer 1               ├─ [ y₀ rows | v₁ + ε₁ ] ─┐
    layer 2                                         ├─ [ rows of tail 0 | rows of tail 1 | ... ]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from nolr.backends import namespace
from nolr.copies import add_noise, tile
from nolr.network import Sequential, Trace
from nolr.nodes import State, advance
from nolr.types import Array, Layer, Params

__all__ = ["Local", "Tails", "run_tails", "tail_costs"]

NOISE_COST = 32  # multiplications of a weight product that take as long as one normal number


class Local(NamedTuple):
    """What a noised stage saw, for its pullback.

    In the first stage of a tail x is the clean input (N rows), shared by all copies; in later
    stages every copy has its own (C·N rows). The past always has C·N rows.
    """

    x: Array
    past: Array | None


class Tails(NamedTuple):
    """Outputs of all tails, (tails · C·N, *output_shape), and what their noised stages saw."""

    output: Array
    locals: dict[int, Local]


def run_tails(
    network: Sequential,
    params: Sequence[Params],
    trace: Trace,
    noises: Sequence[Mapping[int, Array]],
    behind: Collection[int] = (),
) -> Tails:
    """Run several tails in one sweep.

    Args:
        noises: one entry a tail, in the order of their first stages: stage -> its noise
            (C·N, *noise_shape). A stage has noise in at most one tail.
        behind: stages whose noise enters behind the activation instead.
    """
    stages = {node: stage for stage, node in enumerate(network.stages)}
    starts: dict[int, list[int]] = {}
    for tail, noise in enumerate(noises):
        starts.setdefault(min(noise), []).append(tail)

    state: State | None = None
    riders: list[tuple[int, int]] = []  # (tail, its number of rows), in the order of the rows
    found: dict[int, Local] = {}
    for index in range(network.stages[min(starts)], len(network.nodes)):
        stage = stages.get(index)
        if stage is None:
            if state is not None:
                state = advance(network.nodes[index], params[index], state)
            continue
        layer: Layer | _Behind = network.layer(stage)
        if stage in behind:
            layer = _Behind(network.layer(stage))
        theta = params[index]
        parts = [] if state is None else _carry(layer, theta, state, riders, noises, stage, found)
        for tail in starts.get(stage, ()):
            noise = noises[tail][stage]
            parts.append(_leave(layer, theta, trace, noise, stage, found))
            riders.append((tail, noise.shape[0]))
        state = parts[0] if len(parts) == 1 else _stack(parts)
    assert state is not None, "min(starts) is a stage, so at least one tail has started"
    return Tails(state[0], found)


@dataclass(frozen=True)
class _Behind:
    """A layer whose noise enters behind its activation: y = f(v) + ε."""

    layer: Layer

    def drive(self, params: Params, x: Array) -> Array:
        return self.layer.drive(params, x)

    def respond(
        self, params: Params, drive: Array, noise: Array | None
    ) -> tuple[Array, Array | None]:
        y, past = self.layer.respond(params, drive, None)
        return add_noise(y, noise), past


def _leave(
    layer: Layer | _Behind,
    theta: Params,
    trace: Trace,
    noise: Array,
    stage: int,
    found: dict[int, Local],
) -> State:
    """Start a tail: respond to the clean drive with noise; every copy needs the skips too."""
    visit = trace.visits[stage]
    copies = noise.shape[0] // visit.drive.shape[0]
    y, past = layer.respond(theta, visit.drive, noise)
    found[stage] = Local(visit.state[0], past)
    return (y, *(tile(skip, copies) for skip in visit.state[1:]))


def _carry(
    layer: Layer | _Behind,
    theta: Params,
    state: State,
    riders: Sequence[tuple[int, int]],
    noises: Sequence[Mapping[int, Array]],
    stage: int,
    found: dict[int, Local],
) -> list[State]:
    """Take the tails that are under way through a stage, adding noise where they have some."""
    drive = layer.drive(theta, state[0])
    if not any(stage in noises[tail] for tail, _ in riders):
        return [(layer.respond(theta, drive, None)[0], *state[1:])]
    parts, start = [], 0
    for tail, count in riders:
        rows = (slice(start, start + count), ...)
        noise = noises[tail].get(stage)
        y, past = layer.respond(theta, drive[rows], noise)
        if noise is not None:
            found[stage] = Local(state[0][rows], past)
        parts.append((y, *(skip[rows] for skip in state[1:])))
        start += count
    return parts


def _stack(states: Sequence[State]) -> State:
    """Join the rows of several states."""
    xp = namespace(states[0][0])
    return tuple(xp.concat(list(arrays), axis=0) for arrays in zip(*states, strict=True))


def tail_costs(network: Sequential, params: Sequence[Params]) -> tuple[float, ...]:
    """About how many multiplications one copy of a sample takes in the tail from every stage on.

    Every weight is used at every position, and there are as many positions as a unit of the
    smallest array, the bias, has copies in the stage's noise. The first stage of a tail is spared
    its weight product, but not its noise.
    """
    costs, behind = [], 0.0
    for stage, node in reversed(list(enumerate(network.stages))):
        units = prod(network.noise_shapes[stage])
        sizes = [prod(array.shape) for array in params[node].values()]
        features = max((prod(a.shape) for a in params[node].values() if a.ndim == 1), default=units)
        costs.append(NOISE_COST * units + behind)
        behind += sum(sizes) * max(units // features, 1)
    return tuple(reversed(costs))
