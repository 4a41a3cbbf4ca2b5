"""The layout of parameters: one dict of arrays for every node, as `network.init` gives it.

Gradients have it too, whether an estimator makes them or they are known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.network import Sequential
from nolr.types import Params, Shape

__all__ = ["Layout", "check_layout", "layout_of"]

Layout = tuple[dict[str, Shape], ...]
"""Node by node, the shape of every array by name."""


def layout_of(network: Sequential) -> Layout:
    """What the parameters of a network must be."""
    params: Sequence[Params] = network.init(0, get_backend("numpy"), "float64")
    return tuple({name: tuple(a.shape) for name, a in theta.items()} for theta in params)


def check_layout(what: str, found: Any, layout: Layout, fix: str) -> None:
    """Raise BadInput unless `found` has the layout.

    Args:
        what: names it, at the beginning of the sentence.
        fix: what to do about it, at the end of the sentence.
    """
    if not isinstance(found, Sequence) or len(found) != len(layout):
        got = f"{len(found)} of them" if isinstance(found, Sequence) else type(found).__name__
        raise BadInput(
            f"{what} must be {len(layout)} dicts of arrays, one for every node of the network, got "
            f"{got}: {fix}"
        )
    for node, (theta, shapes) in enumerate(zip(found, layout, strict=True)):
        if not isinstance(theta, Mapping) or set(theta) != set(shapes):
            names = isinstance(theta, Mapping)
            got = str(sorted(map(str, theta))) if names else type(theta).__name__
            raise BadInput(
                f"{what} must have the arrays {sorted(shapes)} in node {node}, got {got}: {fix}"
            )
        for name, shape in shapes.items():
            its = getattr(theta[name], "shape", None)
            if its is None or tuple(its) != shape:
                got = type(theta[name]).__name__ if its is None else f"shape {tuple(its)}"
                raise BadInput(
                    f"{what} must have {name!r} of shape {shape} in node {node}, got {got}: {fix}"
                )
