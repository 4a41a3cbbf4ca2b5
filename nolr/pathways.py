"""Pathways: what lies between the noise of a stage and the units whose Jacobian is learned.

    ε ── gate a ── own pooling ── blocks, or the mixing of nodes ── context ──> u     Δo ≈ J̄ u
    ĝ <──────────── the same way, transposed ──────────────────────────────── J̄ᵀe

A pathway is known for every sample before any noise is drawn and has no weights in it: the gate
says which units respond, the pooling behind a stage who won, blocks what the later pooling cannot
tell apart, and the mixing how far a change spreads over a graph. What is left to learn, J̄, is then
small, and nearly the same for all samples; where it is not, it may depend on their context
(`nolr.context`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from nolr.context import Condition, Context
from nolr.nodes import Fork, Join, Node
from nolr.routes import Chain, Gate, WindowSum
from nolr.types import Array, Fixed, Route, Shape

__all__ = ["Pathway", "find_pathways"]


@dataclass(frozen=True)
class Pathway:
    """The pathway of one stage, as far as the network alone decides it."""

    followers: tuple[tuple[int, Fixed], ...]
    """The links without parameters behind the stage, each with its index in the network."""
    source: Shape
    """Shape of the noise."""
    pooled: Shape
    """Shape behind the followers."""
    probe: int
    """Side of the blocks of pixels in `source` that all pooling behind the stage takes together;
    1: every unit for itself."""
    tie: int
    """The same of the pixels in `pooled` and the pooling behind the followers."""
    mixing: Route | None
    """How later links mix positions that are all alike, as the nodes of a graph are: then one J̄
    serves every position. None where every unit has a Jacobian of its own."""
    complete: bool
    """Whether it leads to the output itself, so that J̄ = I."""
    watched: Shape | None = None
    """Shape of the next stage's gate, where that is an image whose blocks are the places of u."""
    context: Context | None = None
    """What J̄ depends on."""

    def within(self, units: int) -> Pathway:
        """The same with a context of as many features as keep u within so many units, if any."""
        if self.watched is None or (count := units // prod(self.places) - 1) < 1:
            return self
        channels, side = self.watched[0], self.watched[1] // self.places[1]
        whole = all(length % self.tie == 0 for length in self.pooled[1:])
        parts = 2 if whole and side % 2 == self.tie % 2 == 0 else 1
        context = Context(self.watched, side // parts, parts, min(count, channels))
        return replace(self, context=context)

    @property
    def places(self) -> Shape:
        """Shape of u without its context."""
        return WindowSum(self.tie, self.pooled).target if self.tie > 1 else self.pooled

    @property
    def target(self) -> Shape:
        """Shape of u."""
        if self.context is None:
            return self.places
        return (*self.places, 1 + self.context.count)

    @property
    def dependent(self) -> int:
        """How many units u are of one place, and move together."""
        return 1 if self.context is None else 1 + self.context.count

    @property
    def units(self) -> int:
        """Number of units whose Jacobian is learned: of a position where positions are alike."""
        return prod(self.target) if self.mixing is None else self.target[-1]

    @property
    def blocks(self) -> WindowSum | None:
        """Noise that is the same all over a block is the `pull` of one number a block."""
        return WindowSum(self.probe, self.source) if self.probe > 1 else None

    def route(self, gate: Array, inputs: Sequence[Array]) -> Chain:
        """The pathway of every sample of a batch, to its places, or their parts in a context.

        Args:
            gate: a (N, *source).
            inputs: what entered every node of the network.
        """
        links: list[Route] = [Gate(gate)]
        links += [node.route(inputs[index]) for index, node in self.followers]
        side = self.tie if self.context is None else self.tie // self.context.parts
        if side > 1:
            links.append(WindowSum(side, self.pooled))
        if self.mixing is not None:
            links.append(self.mixing)
        return Chain(links)

    def condition(self, watched: Array | None) -> Condition | None:
        """What J̄ depends on in a batch, if anything.

        Args:
            watched: the next stage's gate, (N, *watched); a context needs it.
        """
        return None if self.context is None else self.context.condition(watched)


def find_pathways(
    nodes: Sequence[Node],
    shapes: Sequence[Shape],
    noise_shapes: Sequence[Shape],
    mixings: Sequence[Route | None],
) -> tuple[Pathway, ...]:
    """The pathway of every stage of a network.

    A stage's own pooling are the fixed links right behind it, up to the next stage or fork; what
    joins in between does not depend on the stage. The noise of a recurrent stage is felt in later
    steps too: its Jacobian is learned at the noise itself.

    Args:
        nodes: of the network, in order.
        shapes: of what leaves every node, without the sample axis.
        noise_shapes: of every stage's noise, without the sample axis.
        mixings: of every stage, as in `Pathway`.
    """
    sides = _block_sides(nodes)
    found: list[Pathway] = []
    for start, node in enumerate(nodes):
        if isinstance(node, Fork | Join) or not node.trainable:
            continue
        stage = len(found)
        source = noise_shapes[stage]
        followers, end = ([], start) if node.recurrent else _follow(nodes, start)
        pooled = source if node.recurrent else shapes[end]
        found.append(
            Pathway(
                followers=tuple(followers),
                source=source,
                pooled=pooled,
                probe=_fitting(sides[start], source),
                tie=_fitting(sides[end], pooled),
                mixing=mixings[stage],
                complete=end == len(nodes) - 1 and not node.recurrent,
            )
        )
    return tuple(
        replace(pathway, watched=_watched(pathway, after))
        for pathway, after in zip(found, [*noise_shapes[1:], None], strict=True)
    )


def _watched(pathway: Pathway, after: Shape | None) -> Shape | None:
    """The shape of the next stage's noise, if a whole number of its lines is one of the places'."""
    places = pathway.places
    if after is None or pathway.complete or len(places) != 3 or len(after) != 3:
        return None
    sides = [divmod(lines, length) for lines, length in zip(after[1:], places[1:], strict=True)]
    return after if sides[0] == sides[1] and sides[0][0] >= 1 and sides[0][1] == 0 else None


def _follow(nodes: Sequence[Node], start: int) -> tuple[list[tuple[int, Fixed]], int]:
    """The links without parameters behind a stage, and the index of the last node of all."""
    followers: list[tuple[int, Fixed]] = []
    end = start
    for index, node in enumerate(nodes[start + 1 :], start + 1):
        if isinstance(node, Fork) or node.trainable:
            break
        if not isinstance(node, Join):
            followers.append((index, node))
        end = index
    return followers, end


def _block_sides(nodes: Sequence[Node]) -> list[int]:
    """For every node, how many lines of the image that it returns pooling makes one."""
    sides, side = [], 1
    for node in reversed(nodes):
        sides.append(side)
        if not isinstance(node, Fork | Join) and not node.trainable:
            side *= node.lines
    return sides[::-1]


def _fitting(side: int, shape: Shape) -> int:
    """The side of a block, or 1 where the image is smaller: padding may make it grow later on."""
    return side if side == 1 or min(shape[1:]) >= side else 1
