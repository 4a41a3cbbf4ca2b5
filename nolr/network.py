"""Networks: chains of layers and residual blocks, run once without noise.

A network is a flat program (`nolr.nodes`). A *stage* is a layer with parameters, and hence with
noise; stages are counted 0, 1, ... from the input. Between two stages lie only links without
parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from nolr.backends import backend_of, same_backend
from nolr.errors import BadInput
from nolr.nodes import Fork, Join, Node, State, advance
from nolr.pathways import Pathway, find_pathways
from nolr.reach import find_reaches
from nolr.types import Array, Backend, Fixed, Key, Layer, Params, Reach, Route, Shape, Stream

__all__ = ["Residual", "Sequential", "Trace", "Visit"]


class Residual:
    """y = x + body(x); the body must keep the shape of its input.

    Args:
        body: layers or further residual blocks.
    """

    def __init__(self, *body: Layer | Fixed | Residual) -> None:
        self.body = body


class Visit(NamedTuple):
    """A stage in the clean run: its state on entry, its drive and its past."""

    state: State
    drive: Array
    past: Array | None


class Trace(NamedTuple):
    """The clean run of a batch."""

    output: Array
    """(N, *output_shape)."""
    visits: tuple[Visit, ...]
    """One for every stage."""
    inputs: tuple[Array, ...]
    """What entered every node."""


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

    nodes: tuple[Node, ...]
    stages: tuple[int, ...]
    """Index of every stage's layer in `nodes`."""
    noise_shapes: tuple[Shape, ...]
    """Shape of every stage's noise, without the sample axis."""
    shapes: tuple[Shape, ...]
    """Shape of what leaves every node, without the sample axis."""
    input_shape: Shape
    output_shape: Shape

    def __init__(self, *layers: Layer | Fixed | Residual, input_shape: Sequence[int]) -> None:
        if any(isinstance(layer, list | tuple) for layer in layers):
            raise BadInput("Sequential takes its layers one by one: write Sequential(*layers, ...)")
        if isinstance(input_shape, int):
            raise BadInput(
                f"input_shape is the shape of one sample, a tuple: write ({input_shape},), not "
                f"{input_shape}"
            )
        nodes = tuple(_flatten(layers))
        shape, skips = tuple(input_shape), []
        stages, noise_shapes, shapes = [], [], []
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
                if node.trainable:
                    stages.append(index)
                    noise_shapes.append(node.noise_shape(shape))
                shape = node.output_shape(shape)
            shapes.append(shape)
        if not stages:
            raise BadInput("a network needs at least one layer with parameters, got none")
        for name, value in (
            ("nodes", nodes),
            ("stages", tuple(stages)),
            ("noise_shapes", tuple(noise_shapes)),
            ("shapes", tuple(shapes)),
            ("input_shape", tuple(input_shape)),
            ("output_shape", shape),
        ):
            object.__setattr__(self, name, value)  # the dataclass is frozen from here on

    def init(self, seed: int, backend: Backend, dtype: str = "float32") -> tuple[Params, ...]:
        """Initial parameters of all nodes; drawn on the host, so the same on every backend.

        Raises:
            BadInput: a trainable layer has none.
        """
        found: list[Params] = []
        for index, node in enumerate(self.nodes):
            params: Params = {}
            if node.trainable and not (params := node.init(Key(seed, Stream.INIT, stage=index))):
                raise _without_parameters(index, node)
            found.append({name: backend.asarray(array, dtype) for name, array in params.items()})
        return tuple(found)

    def layer(self, stage: int) -> Layer:
        """The layer of a stage."""
        return self.nodes[self.stages[stage]]  # type: ignore[return-value]

    @cached_property
    def pathways(self) -> tuple[Pathway, ...]:
        """What lies between every stage's noise and the units whose Jacobian is to be learned."""
        mixings: list[Route | None] = [None] * len(self.stages)
        if len(self.output_shape) > 1:  # else there are no positions to mix
            mixings = [reach.mixing for reach in self.reaches]
        return find_pathways(self.nodes, self.shapes, self.noise_shapes, mixings)

    @cached_property
    def reaches(self) -> tuple[Reach, ...]:
        """Which positions of the output the noise of every stage reaches, position by position."""
        return find_reaches(self.nodes)

    def check_input(self, params: Sequence[Params], x: Array) -> Array:
        """Return x in the dtype of the parameters.

        Raises:
            BadInput: the shape does not fit, the batch is empty, x is on another backend, or there
                are no parameters.
        """
        parameter = next(iter(params[self.stages[0]].values()), None)
        if parameter is None:
            raise _without_parameters(self.stages[0], self.nodes[self.stages[0]])
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
        visits, inputs = [], []
        for node, theta in zip(self.nodes, params, strict=True):
            inputs.append(state[0])
            if isinstance(node, Fork | Join) or not node.trainable:
                state = advance(node, theta, state)
            else:
                drive = node.drive(theta, state[0])
                y, past = node.respond(theta, drive, None)
                visits.append(Visit(state, drive, past))
                state = (y, *state[1:])
        return Trace(state[0], tuple(visits), tuple(inputs))


def _without_parameters(index: int, node: Node) -> BadInput:
    return BadInput(
        f"layer {index} ({type(node).__name__}) is trainable but has no parameters: let its init "
        "give some, or make it a link without any (nolr.types.Fixed)"
    )


def _flatten(layers: Sequence[Layer | Fixed | Residual]) -> list[Node]:
    nodes: list[Node] = []
    for layer in layers:
        if isinstance(layer, Residual):
            nodes += [Fork(), *_flatten(layer.body), Join()]
        else:
            nodes.append(layer)
    return nodes
