"""Nodes: the instructions of the flat program that a network is.

The state is a tuple of arrays (x, *skips) that share axis 0. A layer replaces x. A residual block
is three instructions: Fork pushes a copy of x, the body runs, Join pops it and adds. So the tail of
a network from any stage (`nolr.tails`) is one loop everywhere, inside a residual block or not.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from nolr.types import Array, Fixed, Layer, Params

__all__ = ["Fork", "Join", "Node", "State", "advance"]

State: TypeAlias = tuple[Array, ...]


class Fork:
    """Push a copy of x for a later Join."""

    trainable: ClassVar[Literal[False]] = False


class Join:
    """Pop the copy and add it to x."""

    trainable: ClassVar[Literal[False]] = False


Node: TypeAlias = Layer | Fixed | Fork | Join


def advance(node: Node, theta: Params, state: State) -> State:
    """Run one node without noise."""
    x, *skips = state
    if isinstance(node, Fork):
        return (x, x, *skips)
    if isinstance(node, Join):
        return (x + skips[0], *skips[1:])
    if node.trainable:
        return (node.respond(theta, node.drive(theta, x), None)[0], *skips)
    return (node(x), *skips)
