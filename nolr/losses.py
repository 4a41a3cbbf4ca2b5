"""Losses: one number per sample, never reduced over the batch.

Where the output has positions (time steps, nodes of a graph) there is one loss for each of them,
and a sample's loss is their sum: so noise can be weighed with the losses that it reaches alone.

The gradient is the derivative with respect to the network's output, in closed form. It is the
only derivative that the control variate uses, and nothing is propagated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from nolr.backends import namespace
from nolr.errors import BadInput
from nolr.types import Array, Shape

__all__ = ["UNLABELLED", "CrossEntropy", "MeanSquaredError", "ZeroOne"]

UNLABELLED = -1
"""The label of a position that takes no part in the loss."""


def _check_labels(targets: Any, output_shape: Shape) -> None:
    labels = np.asarray(targets)
    if len(output_shape) not in (1, 2):
        raise BadInput(
            f"class labels need one row of scores per sample, but the network's output has shape "
            f"{output_shape}: end it with Flatten() and a Dense layer"
        )
    *positions, classes = output_shape
    if labels.shape[1:] != tuple(positions) or labels.ndim == 0:
        one, shape = (
            (f"position, shape (N, {positions[0]})" if positions else "sample, shape (N,)"),
            labels.shape,
        )
        raise BadInput(f"labels must be one class index per {one}, got {shape}")
    if labels.dtype.kind not in "iu":
        raise BadInput(
            f"labels must be integers, got {labels.dtype}: convert them to class indices "
            f"0..{classes - 1}"
        )
    lowest = UNLABELLED if positions else 0
    if labels.size and not (labels.min() >= lowest and labels.max() < classes):
        raise BadInput(
            f"labels must lie in {lowest}..{classes - 1} for {classes} outputs, got values from "
            f"{labels.min()} to {labels.max()}"
        )
    if positions and not (labels >= 0).any(axis=1).all():
        raise BadInput("every sample needs a label of 0 or more at one position at least")


def _pick(output: Array, target: Array) -> Array:
    """output[n, target[n]], (N,)."""
    xp = namespace(output)
    samples, classes = output.shape
    rows = xp.arange(0, samples * classes, classes, dtype=xp.int64)
    return xp.take(xp.reshape(output, (-1,)), rows + target)


def _shares(target: Array, dtype: Any) -> Array:
    """What the loss of every position counts in its sample's: labelled ones alike, others not.

    (N, P) -> (N, P), rows of sum 1.
    """
    xp = namespace(target)
    labelled = xp.astype(target >= 0, dtype)
    return labelled / xp.sum(labelled, axis=1, keepdims=True)


def _row_sums(rows: Array) -> Array:
    """(N, m) -> (N,): for a few classes a product with ones is faster than a sum along rows."""
    return rows @ namespace(rows).ones(rows.shape[1], dtype=rows.dtype)


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(output)[target]; output (N, m) are logits, target (N,) class indices.

    With positions, output (N, P, m) and target (N, P): the losses are (N, P), divided by the number
    of labelled positions of their sample; positions with the label -1 take no part.
    """

    differentiable = True

    def check(self, targets: Any, output_shape: Shape) -> None:
        _check_labels(targets, output_shape)

    def __call__(self, output: Array, target: Array) -> Array:
        xp = namespace(output)
        if output.ndim == 3:
            return self.value_and_gradient(output, target)[0]
        shifted = output - xp.max(output, axis=1, keepdims=True)
        return xp.log(_row_sums(xp.exp(shifted))) - _pick(shifted, target)

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, Array]:
        """The gradient is softmax(output) - onehot(target)."""
        xp = namespace(output)
        if output.ndim == 3:
            share = _shares(target, output.dtype)
            rows = xp.reshape(output, (-1, output.shape[2]))
            losses, gradient = self.value_and_gradient(rows, xp.reshape(target, (-1,)))
            gradient = xp.reshape(gradient, output.shape) * share[..., None]
            return xp.reshape(losses, target.shape) * share, gradient
        shifted = output - xp.max(output, axis=1, keepdims=True)
        probability = xp.exp(shifted)
        total = _row_sums(probability)
        probability /= total[:, None]
        classes = xp.arange(output.shape[1], dtype=xp.int64)
        onehot = xp.astype(target[:, None] == classes, output.dtype)
        return xp.log(total) - xp.vecdot(shifted, onehot), probability - onehot


@dataclass(frozen=True)
class ZeroOne:
    """1 where the largest output is not the target's, else 0: the error rate itself.

    It has no useful derivative; likelihood ratios need none. Positions are counted as those of
    `CrossEntropy` are.
    """

    differentiable = False

    def check(self, targets: Any, output_shape: Shape) -> None:
        _check_labels(targets, output_shape)

    def __call__(self, output: Array, target: Array) -> Array:
        xp = namespace(output)
        guess = xp.astype(xp.argmax(output, axis=-1), target.dtype)
        wrong = xp.astype(guess != target, output.dtype)
        return wrong * _shares(target, output.dtype) if target.ndim == 2 else wrong

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, None]:
        return self(output, target), None


@dataclass(frozen=True)
class MeanSquaredError:
    """Mean over the outputs of (output - target)²; target (N, m), or class indices (N,).

    With positions, output and target (N, P, m), there is one loss for each, (N, P).

    Class indices stand for one-hot rows, so that any classifier can be trained with this loss.
    """

    differentiable = True
    degree = 2  # as a polynomial of the output

    def check(self, targets: Any, output_shape: Shape) -> None:
        values = np.asarray(targets)
        if values.ndim == 1 and values.dtype.kind in "iu":
            _check_labels(values, output_shape)
        elif values.shape[1:] != output_shape:
            raise BadInput(
                f"targets must have shape (N, {', '.join(map(str, output_shape))}) like the "
                f"network's output, or be class indices (N,), got {values.shape}"
            )
        elif not np.isfinite(values).all():
            raise BadInput("targets contain NaN or infinity: remove or replace them")

    def _difference(self, output: Array, target: Array) -> Array:
        xp = namespace(output)
        if target.ndim == 1:
            target = target[:, None] == xp.arange(output.shape[1], dtype=xp.int64)
        return output - xp.astype(target, output.dtype)

    def __call__(self, output: Array, target: Array) -> Array:
        return self.value_and_gradient(output, target)[0]

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, Array]:
        difference = self._difference(output, target)
        outputs = prod(output.shape[1:])
        losses = namespace(output).vecdot(difference, difference) / outputs
        return losses, (2.0 / outputs) * difference
