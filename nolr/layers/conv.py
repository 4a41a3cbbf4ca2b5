"""The convolution by im2col: v = W · im2col(x) + b, y = f(v + ε).

im2col writes the taps of every window into a column, so that the convolution is one matrix
product; a position is a column, as a sample is a row of a dense layer. Chellapilla, Puri, Simard:
High performance convolutional neural networks for document processing (IWFHR 2006).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nolr.activations import Identity, relu
from nolr.backends import backend_of, itemsize, namespace
from nolr.checks import check_activation, check_sizes
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.initializers import Initializer, he_normal
from nolr.reach import Everywhere
from nolr.types import Activation, Array, Key, Params, Shape, Window

__all__ = ["Conv2D"]


@dataclass(frozen=True)
class Conv2D:
    """Images x (N, C, H, W) to v and y (N, O, H', W'); W is (O, C, kernel, kernel), b is (O).

    H' = (H + 2·padding - dilation·(kernel - 1) - 1) // stride + 1, and likewise W'.

    Args:
        inputs: number of channels C of the image.
        outputs: number of channels O of the result.
        kernel: height and width of the kernel, in pixels.
        stride: distance of neighbouring windows, in pixels.
        padding: rows and columns of zeros around the image; kernel // 2 keeps the size of the
            image for odd kernels and a stride of 1.
        dilation: distance of neighbouring taps, in pixels.
        activation: the function f; ReLU unless given.
        initializer: draws W; b starts at 0.

    Raises:
        BadInput: a size that is no whole number or out of its range, or an activation that is no
            function.
    """

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    activation: Activation = relu
    initializer: Initializer = he_normal

    trainable: ClassVar[Literal[True]] = True
    recurrent = False
    pulls_past = False
    reach = Everywhere()
    noise_reach = Everywhere()

    def __post_init__(self) -> None:
        check_sizes(self, "inputs", "outputs", "kernel", "stride", "dilation")
        check_sizes(self, "padding", minimum=0)
        check_activation(self, self.activation)

    @property
    def affine(self) -> bool:
        return isinstance(self.activation, Identity)

    @property
    def window(self) -> Window:
        pairs = (self.kernel, self.stride, self.padding, self.dilation)
        return Window(*((size, size) for size in pairs))

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 3 or input_shape[0] != self.inputs:
            raise BadInput(
                f"Conv2D({self.inputs}, {self.outputs}) expected samples of shape "
                f"({self.inputs}, height, width), got {input_shape}: channels come first"
            )
        height, width = self.window.positions((input_shape[1], input_shape[2]))
        if min(height, width) < 1:
            raise BadInput(
                f"Conv2D({self.inputs}, {self.outputs}, kernel={self.kernel}) expected samples of "
                f"shape (channels, height, width) larger than its kernel, got {input_shape}: add "
                "padding, or use a smaller kernel"
            )
        return (self.outputs, height, width)

    def noise_shape(self, input_shape: Shape) -> Shape:
        return self.output_shape(input_shape)

    def init(self, key: Key) -> Params:
        shape = (self.outputs, self.inputs, self.kernel, self.kernel)
        return {"W": self.initializer(key, shape), "b": np.zeros(self.outputs)}

    def drive(self, params: Params, x: Array) -> Array:
        xp = namespace(x)
        weight = xp.reshape(params["W"], (self.outputs, -1))
        height, width = self.window.positions(x.shape[2:])
        parts = []
        for rows, columns in self._columns(x):
            product = weight @ xp.reshape(columns, (*columns.shape[:2], -1))
            product += params["b"][:, None]
            shape = (rows.stop - rows.start, self.outputs, height, -1)
            parts.append(xp.reshape(product, shape)[..., :width])
        return xp.concat(parts)

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, None]:
        return self.activation(add_noise(drive, noise)), None

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        xp = namespace(score)
        shape = (self.outputs, self.inputs, self.kernel, self.kernel)
        total = xp.zeros((self.outputs, shape[1] * shape[2] * shape[3]), dtype=score.dtype)
        for rows, columns in self._columns(x):
            weighed = _widen(score[rows, ...], columns.shape[3])
            flat = xp.reshape(columns, (*columns.shape[:2], -1))
            weighed = xp.reshape(weighed, (*weighed.shape[:2], -1))
            total += xp.sum(weighed @ xp.matrix_transpose(flat), axis=0)
        return {"W": xp.reshape(total, shape), "b": xp.sum(score, axis=(0, 2, 3))}

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return self.activation.smoothed_derivative(drive, scale)

    def _columns(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """im2col of a few samples at a time, so that the columns stay in the cache."""
        backend, window = backend_of(x), self.window
        samples, channels = x.shape[:2]
        positions = window.positions(x.shape[2:])
        entries = channels * self.kernel**2 * positions[0] * positions[1]
        block = max(1, backend.cache_bytes // (itemsize(x.dtype) * entries))
        for start in range(0, samples, block):
            rows = slice(start, min(start + block, samples))
            yield rows, backend.im2col(x[rows, ...], window)


def _widen(score: Array, run: int) -> Array:
    """Weigh the junk behind every line with 0: (N, O, H', W') -> (N, O, H', run)."""
    if score.shape[3] == run:
        return score
    xp = namespace(score)
    zeros = xp.zeros((*score.shape[:3], run - score.shape[3]), dtype=score.dtype)
    return xp.concat([score, zeros], axis=3)
