"""Pooling: the largest or the mean value of windows that do not overlap. Nothing to train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from nolr.backends import namespace
from nolr.checks import check_sizes
from nolr.errors import BadInput
from nolr.reach import Everywhere
from nolr.routes import Chain, Gate, WindowSum, Winners
from nolr.types import Array, Route, Shape

__all__ = ["AvgPool2D", "MaxPool2D"]


@dataclass(frozen=True)
class _Pool2D(ABC):
    """(N, C, H, W) -> (N, C, H // size, W // size): one number for every window.

    Windows lie side by side; rows and columns that do not fill one are left out.

    Args:
        size: height and width of a window, in pixels.

    Raises:
        BadInput: a size below 1, or larger than the image.
    """

    size: int = 2

    trainable: ClassVar[Literal[False]] = False
    reach = Everywhere()

    @property
    def lines(self) -> int:
        return self.size

    def __post_init__(self) -> None:
        check_sizes(self, "size")

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 3 or min(input_shape[1:]) < self.size:
            raise BadInput(
                f"{type(self).__name__}({self.size}) expected samples of shape (channels, height, "
                f"width) of at least {self.size} × {self.size} pixels, got {input_shape}: put it "
                "behind a convolution"
            )
        channels, height, width = input_shape
        return (channels, height // self.size, width // self.size)

    @abstractmethod
    def __call__(self, x: Array) -> Array: ...

    @abstractmethod
    def route(self, x: Array) -> Route: ...


class AvgPool2D(_Pool2D):
    """The mean of every window of `size` × `size` pixels.

    (N, C, H, W) -> (N, C, H // size, W // size). Windows lie side by side; rows and columns that do
    not fill one are left out. BadInput: a size below 1, or larger than the image.
    """

    def __call__(self, x: Array) -> Array:
        return self.route(x).push(x)

    def route(self, x: Array) -> Chain:
        return Chain((WindowSum(self.size, tuple(x.shape[1:])), Gate(1.0 / self.size**2)))


class MaxPool2D(_Pool2D):
    """The largest value of every window of `size` × `size` pixels.

    (N, C, H, W) -> (N, C, H // size, W // size). Windows lie side by side; rows and columns that do
    not fill one are left out. BadInput: a size below 1, or larger than the image.
    """

    def __call__(self, x: Array) -> Array:
        xp, size = namespace(x), self.size
        height, width = (size * (length // size) for length in x.shape[2:])
        largest = x[:, :, :height, :width:size]
        for offset in range(1, size):
            largest = xp.maximum(largest, x[:, :, :height, offset:width:size])
        lines, largest = largest, largest[:, :, ::size, :]
        for offset in range(1, size):
            largest = xp.maximum(largest, lines[:, :, offset::size, :])
        return largest

    def route(self, x: Array) -> Winners:
        """Through the winner of every window; winners of equal value share."""
        xp, largest = namespace(x), self(x)
        route = Winners(self.size, tuple(x.shape[1:]), ())
        winners = [xp.astype(pixels == largest, x.dtype) for pixels in route.windows(x)]
        count = sum(winners[1:], winners[0])
        return replace(route, shares=[winner / count for winner in winners])
