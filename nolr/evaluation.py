"""Evaluation: loss and accuracy of the clean network, in blocks of samples that fit the cache."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

from nolr.backends import namespace
from nolr.network import Sequential
from nolr.types import Array, Loss, Params

__all__ = ["evaluate"]

EVALUATION_ROWS = 512  # more would leave the cache: the taps of a convolution are many


def evaluate(
    network: Sequential,
    params: tuple[Params, ...],
    inputs: Array,
    targets: Array,
    loss: Loss,
    encode: Callable[[Array, int], Array] = lambda inputs, start: inputs,
) -> tuple[float, float]:
    """Mean loss and accuracy of the clean network; accuracy is NaN if targets are not classes.

    Args:
        inputs: (N, *input_shape) on the backend.
        targets: class indices (N,) or (N, positions), -1 for none, or (N, m) values.
        encode: turns inputs, and the number of the first of them, into what the network reads.
    """
    xp, total, right = namespace(inputs), 0.0, 0
    samples = inputs.shape[0]
    classes = xp.isdtype(targets.dtype, "integral") and targets.ndim == len(network.output_shape)
    for start in range(0, samples, EVALUATION_ROWS):
        rows = slice(start, min(start + EVALUATION_ROWS, samples))
        output = network.forward(params, encode(inputs[rows, ...], start))
        target = targets[rows, ...]
        total += float(xp.sum(loss(output, target)))
        if classes:  # an unlabelled position is never right
            right += int(xp.count_nonzero(xp.argmax(output, axis=-1) == target))
    labels = int(xp.count_nonzero(targets >= 0)) if classes else 0
    return total / samples, right / labels if classes else nan
