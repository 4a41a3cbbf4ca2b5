"""Losses: one number per sample, never reduced over the batch.

The gradient is the derivative with respect to the network's output, in closed form. It is the
only derivative that the control variate uses, and nothing is propagated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nolr.backends import namespace
from nolr.errors import BadInput
from nolr.types import Array, Shape

__all__ = ["CrossEntropy", "MeanSquaredError", "ZeroOne"]


def _check_labels(targets: Any, output_shape: Shape) -> None:
    labels = np.asarray(targets)
    if len(output_shape) != 1:
        raise BadInput(
            f"class labels need one row of scores per sample, but the network's output has shape "
            f"{output_shape}: end it with Flatten() and a Dense layer"
        )
    (classes,) = output_shape
    if labels.ndim != 1:
        raise BadInput(f"labels must be one class index per sample, shape (N,), got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise BadInput(
            f"labels must be integers, got {labels.dtype}: convert them to class indices "
            f"0..{classes - 1}"
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise BadInput(
            f"labels must lie in 0..{classes - 1} for {classes} outputs, got values from "
            f"{labels.min()} to {labels.max()}"
        )


def _pick(output: Array, target: Array) -> Array:
    """output[n, target[n]], (N,)."""
    xp = namespace(output)
    samples, classes = output.shape
    rows = xp.arange(0, samples * classes, classes, dtype=xp.int64)
    return xp.take(xp.reshape(output, (-1,)), rows + target)


def _row_sums(rows: Array) -> Array:
    """(N, m) -> (N,): for a few classes a product with ones is faster than a sum along rows."""
    return rows @ namespace(rows).ones(rows.shape[1], dtype=rows.dtype)


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(output)[target]; output (N, m) are logits, target (N,) class indices."""

    differentiable = True

    def check(self, targets: Any, output_shape: Shape) -> None:
        _check_labels(targets, output_shape)

    def __call__(self, output: Array, target: Array) -> Array:
        xp = namespace(output)
        shifted = output - xp.max(output, axis=1, keepdims=True)
        return xp.log(_row_sums(xp.exp(shifted))) - _pick(shifted, target)

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, Array]:
        """The gradient is softmax(output) - onehot(target)."""
        xp = namespace(output)
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

    It has no useful derivative; likelihood ratios need none.
    """

    differentiable = False

    def check(self, targets: Any, output_shape: Shape) -> None:
        _check_labels(targets, output_shape)

    def __call__(self, output: Array, target: Array) -> Array:
        xp = namespace(output)
        guess = xp.astype(xp.argmax(output, axis=1), target.dtype)
        return xp.astype(guess != target, output.dtype)

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, None]:
        return self(output, target), None


@dataclass(frozen=True)
class MeanSquaredError:
    """Mean over the outputs of (output - target)²; target (N, m), or class indices (N,).

    Class indices stand for one-hot rows, so that any classifier can be trained with this loss.
    """

    differentiable = True

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
        outputs = output.shape[1]
        return namespace(output).vecdot(difference, difference) / outputs, (
            2.0 / outputs
        ) * difference
