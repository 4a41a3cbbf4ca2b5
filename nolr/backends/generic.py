"""Bodies in terms of the array-API standard alone, for backends without a faster one."""

from __future__ import annotations

from typing import Any

from nolr.types import Array, Window

__all__ = ["im2col"]


def im2col(xp: Any, x: Array, window: Window) -> Array:
    """The taps of every window, as columns: (N, C, H, W) -> (N, C·kh·kw, H', W')."""
    samples, channels = x.shape[:2]
    height, width = window.positions(x.shape[2:])
    for axis, pad in ((2, window.padding[0]), (3, window.padding[1])):
        if pad:
            shape = tuple(pad if i == axis else length for i, length in enumerate(x.shape))
            zeros = xp.zeros(shape, dtype=x.dtype)
            x = xp.concat([zeros, x, zeros], axis=axis)
    taps = []
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            down, right = i * window.dilation[0], j * window.dilation[1]
            taps.append(
                x[
                    :,
                    :,
                    down : down + window.stride[0] * (height - 1) + 1 : window.stride[0],
                    right : right + window.stride[1] * (width - 1) + 1 : window.stride[1],
                ]
            )
    columns = xp.stack(taps, axis=2)
    return xp.reshape(columns, (samples, channels * len(taps), height, width))
