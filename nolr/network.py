"""Networks: chains of layers and residual blocks, run once without noise.

A network is a flat program over a state, a tuple of arrays (x, *skips) that share axis 0. A layer
replaces x. A residual block is three instructions: Fork pushes a copy of x, the body runs, Join
pops it and adds. So the tail of a network from any stage (`nolr.tails`) is one loop everywhere,
inside a residual block or not.

A *stage* is a layer with parameters, and hence with noise; stages are counted 0, 1, ... from the
input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from nolr.backends import backend_of, same_backend
from nolr.errors import BadInput
from nolr.types import Array, Backend, Key, Layer, Params, Shape, Stream

__all__ = ["Residual", "Sequential", "Trace", "Visit", "advance"]

State: TypeAlias = tuple[Array, ...]


class Fork:
    """Push a copy of x for a later Join."""


class Join:
    """Pop the copy and add it to x."""


class Residual:
    """y = x + body(x); the body must keep the shape of its input.

    Args:
        body: layers or further residual blocks.
    """

    def __init__(self, *body: Layer | Residual) -> None:
        self.body = body


class Visit(NamedTuple):
    """A stage in the clean run: its state on entry, its drive and its past."""

    state: State
    drive: Array
    past: Array | None


class Trace(NamedTuple):
    """The clean run of a batch: the network's output (N, ...) and a visit for every stage."""

    output: Array
    visits: tuple[Visit, ...]


@dataclass(frozen=True, init=False)
class Sequential:
    """Layers and residual blocks, one after another.

    Args:
        layers: the links of the chain.
        input_shape: shape of one sample, without the sample axis.

    Raises:
        BadInput: nothing to train, or a layer does not fit the one before it.

    >>> from nolr.layers import Dense
    >>> from nolr.activations import identity
    >>> network = Sequential(Dense(4, 8), Dense(8, 3, identity), input_shape=(4,))
    >>> network.output_shape, network.noise_shapes
    ((3,), ((8,), (3,)))
    """

    nodes: tuple[Layer | Fork | Join, ...]
    stages: tuple[int, ...]
    """Index of every stage's layer in `nodes`."""
    noise_shapes: tuple[Shape, ...]
    """Shape of every stage's noise, without the sample axis."""
    input_shape: Shape
    output_shape: Shape

    def __init__(self, *layers: Layer | Residual, input_shape: Sequence[int]) -> None:
        if any(isinstance(layer, list | tuple) for layer in layers):
            raise BadInput("Sequential takes its layers one by one: write Sequential(*layers, ...)")
        if isinstance(input_shape, int):
            raise BadInput(
                f"input_shape is the shape of one sample, a tuple: write ({input_shape},), not "
                f"{input_shape}"
            )
        nodes = tuple(_flatten(layers))
        shape, skips = tuple(input_shape), []
        stages, noise_shapes = [], []
        for index, node in enumerate(nodes):
            if isinstance(node, Fork):
                skips.append(shape)
            elif isinstance(node, Join):
                if (start := skips.pop()) != shape:
                    raise BadInput(
                        f"a Residual block must keep the shape of its input, but layer {index} "
                        f"adds {start} to {shape}: make the body's output match"
                    )
            else:
                noise_shape = node.noise_shape(shape)
                if noise_shape is not None:
                    stages.append(index)
                    noise_shapes.append(noise_shape)
                shape = node.output_shape(shape)
        if not stages:
            raise BadInput("a network needs at least one layer with parameters, got none")
        for name, value in (
            ("nodes", nodes),
            ("stages", tuple(stages)),
            ("noise_shapes", tuple(noise_shapes)),
            ("input_shape", tuple(input_shape)),
            ("output_shape", shape),
        ):
            object.__setattr__(self, name, value)  # the dataclass is frozen from here on

    def init(self, seed: int, backend: Backend, dtype: str = "float32") -> tuple[Params, ...]:
        """Initial parameters of all nodes; drawn on the host, so the same on every backend."""
        return tuple(
            {}
            if isinstance(node, Fork | Join)
            else {
                name: backend.asarray(array, dtype)
                for name, array in node.init(Key(seed, Stream.INIT, stage=index)).items()
            }
            for index, node in enumerate(self.nodes)
        )

    def layer(self, stage: int) -> Layer:
        """The layer of a stage."""
        return self.nodes[self.stages[stage]]  # type: ignore[return-value]

    def check_input(self, params: Sequence[Params], x: Array) -> Array:
        """Return x in the dtype of the parameters.

        Raises:
            BadInput: the shape does not fit, the batch is empty, or x is on another backend.
        """
        parameter = next(iter(params[self.stages[0]].values()))
        same_backend(parameters=parameter, x=x)
        if tuple(x.shape[1:]) != self.input_shape:
            raise BadInput(
                f"the network expected samples of shape {self.input_shape}, axis 0 being the sample"
                f", got a batch of shape {tuple(x.shape)}: reshape it"
            )
        if x.shape[0] == 0:
            raise BadInput(f"the network got an empty batch of shape {tuple(x.shape)}")
        if x.dtype != parameter.dtype:
            x = backend_of(x).xp.astype(x, parameter.dtype)
        return x

    def forward(self, params: Sequence[Params], x: Array) -> Array:
        """Clean inference: (N, *input_shape) -> (N, *output_shape)."""
        state: State = (self.check_input(params, x),)
        for node, theta in zip(self.nodes, params, strict=True):
            state = advance(node, theta, state)
        return state[0]

    def run_clean(self, params: Sequence[Params], x: Array) -> Trace:
        """Run once without noise and remember every stage's state and drive."""
        state: State = (self.check_input(params, x),)
        visits = []
        for index, (node, theta) in enumerate(zip(self.nodes, params, strict=True)):
            if index in self.stages:
                layer: Layer = node  # type: ignore[assignment]
                drive = layer.drive(theta, state[0])
                y, past = layer.respond(theta, drive, None)
                visits.append(Visit(state, drive, past))
                state = (y, *state[1:])
            else:
                state = advance(node, theta, state)
        return Trace(state[0], tuple(visits))


def _flatten(layers: Sequence[Layer | Residual]) -> list[Layer | Fork | Join]:
    nodes: list[Layer | Fork | Join] = []
    for layer in layers:
        if isinstance(layer, Residual):
            nodes += [Fork(), *_flatten(layer.body), Join()]
        else:
            nodes.append(layer)
    return nodes


def advance(node: Layer | Fork | Join, theta: Params, state: State) -> State:
    """Run one node without noise."""
    x, *skips = state
    if isinstance(node, Fork):
        return (x, x, *skips)
    if isinstance(node, Join):
        return (x + skips[0], *skips[1:])
    return (node.respond(theta, node.drive(theta, x), None)[0], *skips)
