"""Hypothesis draws losses, batches and parameters: arrays on the host."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nolr.backends import get_backend
from nolr.layers import LIF, Embedding
from nolr.losses import UNLABELLED, CrossEntropy, MeanSquaredError, ZeroOne
from nolr.network import Sequential
from nolr.testing.strategies.family import Draw, quarters
from nolr.types import Loss, Params, Shape

__all__ = ["batches", "losses", "parameters"]

yes = st.booleans()
any_numbers = st.floats(-2, 2, allow_subnormal=False)
SMOOTH: list[Loss] = [MeanSquaredError(), CrossEntropy()]
smooth_losses, all_losses = st.sampled_from(SMOOTH), st.sampled_from([*SMOOTH, ZeroOne()])


def losses(*, differentiable: bool = False) -> st.SearchStrategy[Loss]:
    """Mean squared error and cross-entropy; and the error rate, unless the loss must be
    differentiable."""
    return smooth_losses if differentiable else all_losses


def batches(
    network: Sequential, loss: Loss | None = None, *, max_samples: int = 4
) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Inputs (N, *input_shape) and targets on the host, in float64 and int64.

    Args:
        network: what they are for; behind an `Embedding` the inputs are token numbers.
        loss: targets are class indices for `CrossEntropy` and `ZeroOne`, and for any other loss
            numbers (N, *output_shape).
        max_samples: the largest N.
    """
    return _draw_batch(network, isinstance(loss, CrossEntropy | ZeroOne), max_samples)


@st.composite
def _draw_batch(
    draw: Draw, network: Sequential, labels: bool, max_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    samples, numbers = draw(st.integers(1, max_samples)), _numbers(draw)
    first = network.nodes[0]
    entries = st.integers(0, first.tokens - 1) if isinstance(first, Embedding) else numbers
    x = _array(draw, entries, (samples, *network.input_shape))
    if labels:
        return x, np.array([_labels(draw, network.output_shape) for _ in range(samples)])
    return x, _array(draw, numbers, (samples, *network.output_shape))


def parameters(network: Sequential) -> st.SearchStrategy[tuple[Params, ...]]:
    """Parameters of all nodes on the host, of any values: no bias need be 0.

    A learned decay stays within [0, 1].
    """
    return _draw_parameters(network)


@st.composite
def _draw_parameters(draw: Draw, network: Sequential) -> tuple[Params, ...]:
    found, numbers = [], _numbers(draw)
    initial = network.init(0, get_backend("numpy"), "float64")
    for node, theta in zip(network.nodes, initial, strict=True):
        found.append({name: _array(draw, numbers, array.shape) for name, array in theta.items()})
        if isinstance(node, LIF) and node.learn_decay:
            found[-1]["decay"] = np.abs(found[-1]["decay"]) / 2
    return tuple(found)


def _numbers(draw: Draw) -> st.SearchStrategy[float]:
    """Quarters, whose sums and products are exact; or any numbers."""
    return any_numbers if draw(yes) else quarters


def _array(draw: Draw, entries: st.SearchStrategy[float], shape: Shape) -> np.ndarray:
    values = [draw(entries) for _ in range(prod(shape))]
    return np.array(values, dtype=np.float64).reshape(shape)


def _labels(draw: Draw, output_shape: Shape) -> Any:
    """The target of one sample: a class, or one for every position, not all of them unlabelled."""
    *positions, classes = output_shape
    if not positions:
        return draw(st.integers(0, classes - 1))
    first, others = st.integers(0, classes - 1), st.integers(UNLABELLED, classes - 1)
    return [draw(first), *(draw(others) for _ in range(positions[0] - 1))]
