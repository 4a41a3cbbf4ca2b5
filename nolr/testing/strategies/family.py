"""Families of networks: of each a few layers, units, pixels, steps or nodes.

Every choice shrinks towards the plainer one, so that what is left of a failing network is what it
takes to fail. Hypothesis takes the example that needs the fewest choices for the plainest: a single
dense layer needs no more than any other network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from math import prod
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_array

from nolr.activations import Identity, ReLU, Sigmoid, Step, Tanh
from nolr.graphs import GraphOperator, normalized_adjacency
from nolr.layers import (
    LIF,
    AvgPool2D,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    LeakyOverTime,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
    SumOverTime,
)
from nolr.network import Residual
from nolr.types import Activation, Shape

__all__ = ["FAMILIES", "Chain", "Draw", "jumping", "quarters", "smooth"]

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
Chain: TypeAlias = tuple[list[Any], Shape]
"""Links, and the shape of a sample."""

MOST_OUTPUTS = 8  # without a dense layer behind them

# Made once: to make a strategy takes longer than to draw from it.
yes = st.booleans()
few, some = st.integers(1, 2), st.integers(1, 3)
SMOOTH: list[Activation] = [Identity(), ReLU(), Tanh(), Sigmoid()]
smooth, jumping = st.sampled_from(SMOOTH), st.sampled_from([*SMOOTH, Step(), Step(0.25)])
pools = st.sampled_from([MaxPool2D, AvgPool2D])
readouts = st.sampled_from([MeanOverTime(), SumOverTime(), LeakyOverTime(0.5)])
readers = st.sampled_from(["nothing", "readout", "recurrence"])
decays = st.floats(0, 1, allow_subnormal=False)
thresholds, resets = st.sampled_from([1.0, 0.25, 0.5]), st.sampled_from(["zero", "subtract"])
quarters = st.integers(-8, 8).map(lambda quarter: quarter / 4)
"""Numbers whose sums and products are exact."""


# --- dense ----------------------------------------------------------------------------------------


def _dense(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    shape = tuple(draw(some) for _ in range(draw(some)))
    flatten = len(shape) > 2 or (len(shape) == 2 and draw(yes))  # else step by step
    widths = [prod(shape) if flatten else shape[-1], *(draw(some) for _ in range(draw(some)))]
    return [Flatten()] * flatten + _dense_layers(draw, activations, widths), shape


def _residual(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    inputs = draw(some)
    widths = [inputs, *_perhaps(draw, some)]
    links = _dense_layers(draw, activations, widths)
    links.append(_residual_block(draw, activations, widths[-1], nested=draw(yes)))
    return links + _dense_layers(draw, activations, [widths[-1], *_perhaps(draw, some)]), (inputs,)


def _residual_block(
    draw: Draw, activations: st.SearchStrategy[Activation], width: int, *, nested: bool
) -> Residual:
    """One or two dense layers, and perhaps a block within the block."""
    body: list[Any] = _dense_layers(draw, activations, [width, *_perhaps(draw, some), width])
    if nested:
        body.append(_residual_block(draw, activations, width, nested=False))
    return Residual(*body)


def _dense_layers(
    draw: Draw, activations: st.SearchStrategy[Activation], widths: Sequence[int]
) -> list[Any]:
    """A layer from every width to the next."""
    return [Dense(a, b, draw(activations)) for a, b in pairwise(widths)]


def _perhaps(draw: Draw, values: st.SearchStrategy[int]) -> list[int]:
    """One value or none."""
    return [draw(values)] if draw(yes) else []


def _head(draw: Draw, activations: st.SearchStrategy[Activation], shape: Shape) -> list[Any]:
    """Perhaps a dense layer, and certainly one where there are too many features."""
    if shape[-1] <= MOST_OUTPUTS and not draw(yes):
        return []
    return [Dense(shape[-1], draw(some), draw(activations))]


# --- images ---------------------------------------------------------------------------------------


def _convolution(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    links, start, shape = _convolutions(draw, activations)
    return [*links, Flatten(), *_head(draw, activations, (prod(shape),))], start


def _pooling(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    links, start, shape = _convolutions(draw, activations)
    pool = draw(pools)(draw(st.integers(1, min(shape[1:]))))
    links, shape = [*links, pool], pool.output_shape(shape)
    if draw(yes):
        links.append(Conv2D(shape[0], draw(some), 1, activation=draw(activations)))
        shape = links[-1].output_shape(shape)
    return [*links, Flatten(), *_head(draw, activations, (prod(shape),))], start


def _convolutions(
    draw: Draw, activations: st.SearchStrategy[Activation]
) -> tuple[list[Any], Shape, Shape]:
    """One or two convolutions, the shape of an image, and that of what they make of it."""
    channels, kernel = draw(few), draw(some)
    padding, dilation = draw(st.integers(0, 1)), draw(few) if kernel > 1 else 1
    first = Conv2D(
        channels,
        draw(few),
        kernel,
        draw(few),
        padding,
        dilation,
        draw(activations),
    )
    least = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
    start = (channels, *(least + draw(st.integers(0, 2)) for _ in range(2)))
    links, shape = [first], first.output_shape(start)
    if draw(yes):
        kernel, padding = draw(st.integers(1, min(2, *shape[1:]))), draw(st.integers(0, 1))
        links.append(Conv2D(shape[0], 1, kernel, 1, padding, activation=draw(activations)))
        shape = links[-1].output_shape(shape)
    return links, start, shape


# --- sequences ------------------------------------------------------------------------------------


def _recurrent(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    widths = [draw(few) for _ in range(1 + draw(few))]
    links: list[Any] = [
        SimpleRNN(a, b, draw(activations), last=False) for a, b in pairwise(widths[:-1])
    ]
    last = not draw(yes)
    links.append(SimpleRNN(widths[-2], widths[-1], draw(activations), last=last))
    if not last and draw(yes):
        links.append(draw(readouts))
    return links + _head(draw, activations, (widths[-1],)), (draw(some), widths[0])


def _spiking(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    inputs, steps = draw(few), draw(some)
    constant = not draw(yes)
    links: list[Any] = []
    width = inputs
    for units in [draw(few) for _ in range(draw(few))]:
        links.append(
            LIF(
                width,
                units,
                steps if constant and not links else None,
                draw(decays),
                draw(thresholds),
                draw(resets),
                draw(yes),
            )
        )
        width = units
    if draw(yes):
        links.append(draw(readouts))
    shape = (inputs,) if constant else (steps, inputs)
    return links + _head(draw, activations, (width,)), shape


def _embedding(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    units = draw(few)
    links: list[Any] = [Embedding(draw(some), units)]
    reader = draw(readers)
    if reader == "readout":
        links.append(draw(readouts))
    elif reader == "recurrence":
        links.append(SimpleRNN(units, units, draw(activations)))
    return links + _head(draw, activations, (units,)), (draw(some),)


# --- graphs ---------------------------------------------------------------------------------------


def _graph(draw: Draw, activations: st.SearchStrategy[Activation]) -> Chain:
    operator, inputs = _operator(draw), draw(some)
    links: list[Any] = []
    width = inputs
    for units in [draw(few) for _ in range(draw(few))]:
        links.append(GraphConv(width, units, operator, draw(activations)))
        width = units
    if draw(yes):
        links.append(Residual(GraphConv(width, width, operator, draw(activations))))
    return links + _head(draw, activations, (width,)), (operator.nodes, inputs)


def _operator(draw: Draw) -> GraphOperator:
    """The averaging over neighbours of a graph, or any matrix: one that is not symmetric, too."""
    nodes = draw(some)
    if draw(yes):
        rows = draw(st.lists(quarters, min_size=nodes**2, max_size=nodes**2))
        return GraphOperator(csr_array(np.array(rows).reshape(nodes, nodes)))
    edges = np.zeros((nodes, nodes))
    for pair in combinations(range(nodes), 2):
        edges[pair] = edges[pair[::-1]] = draw(yes)
    return normalized_adjacency(csr_array(edges))


FAMILIES: dict[str, Callable[[Draw, st.SearchStrategy[Activation]], Chain]] = {
    "dense": _dense,
    "residual": _residual,
    "convolution": _convolution,
    "pooling": _pooling,
    "recurrent": _recurrent,
    "spiking": _spiking,
    "graph": _graph,
    "embedding": _embedding,
}
"""By name; `draw` is that of a composite strategy."""
