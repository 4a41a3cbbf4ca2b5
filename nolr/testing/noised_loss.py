"""The noised loss itself, by running the network with noise: what every estimand is made of.

    J(θ) = E[ mean over samples of loss(network(x; θ, ε)) ],  ε in some stages, none in the others

Nothing here knows of scores or likelihood ratios: noise is coloured, added, and the loss is looked
at. References are built on this, so they share no formula with what they judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from nolr.copies import split_copies, tile
from nolr.network import Sequential
from nolr.nodes import Fork, Join, advance
from nolr.types import Loss, Noise, Params, Shape

__all__ = ["NoisedLoss"]

BLOCK_BYTES = 1 << 24  # of the largest layer's output; inside a convolution it is ten times that


@dataclass(frozen=True)
class NoisedLoss:
    """A batch in float64 on the host, a network and a loss, and the noise in some of its stages.

    Args:
        noises: stage -> its noise.
    """

    network: Sequential
    inputs: np.ndarray
    target: np.ndarray
    loss: Loss
    noises: Mapping[int, Noise]

    @property
    def shapes(self) -> dict[int, Shape]:
        """Stage -> shape of one sample's noise."""
        return {stage: self.network.noise_shapes[stage] for stage in sorted(self.noises)}

    @property
    def dimensions(self) -> int:
        """Number of units that are noised, of one sample."""
        return sum(prod(shape) for shape in self.shapes.values())

    def split(self, white: np.ndarray) -> dict[int, np.ndarray]:
        """White noise (C, N, dimensions) -> stage -> (C·N, *shape)."""
        found, start = {}, 0
        for stage, shape in self.shapes.items():
            part = white[..., start : start + prod(shape)]
            found[stage] = part.reshape(-1, *shape)
            start += prod(shape)
        return found

    def losses(self, params: Sequence[Params], white: np.ndarray) -> np.ndarray:
        """The loss of every copy of every sample: white noise (C, N, dimensions) -> (C, N).

        Up to the first noised stage all copies are one; from there on they run in blocks, so that
        memory does not grow with their number.
        """
        stages = [self.network.stages[stage] for stage in self.noises]
        start = min(stages, default=len(self.network.nodes))
        state: tuple = (self.inputs,)
        for node, theta in zip(self.network.nodes[:start], params, strict=False):
            state = advance(node, theta, state)
        size = max(1, self._block_rows() // len(self.inputs))
        return np.concatenate(
            [
                self._tail(params, start, state, white[first : first + size])
                for first in range(0, len(white), size)
            ]
        )

    def _tail(
        self, params: Sequence[Params], start: int, state: tuple, white: np.ndarray
    ) -> np.ndarray:
        """The losses of some copies, from the node on where they part."""
        copies = white.shape[0]
        noise = {
            self.network.stages[stage]: self.noises[stage].colour(part)
            for stage, part in self.split(white).items()
        }
        for index in range(start, len(self.network.nodes)):
            node, theta = self.network.nodes[index], params[index]
            if isinstance(node, Fork | Join) or not node.trainable:
                state = advance(node, theta, state)
                continue
            y, _ = node.respond(theta, node.drive(theta, state[0]), noise.get(index))
            skips = state[1:]
            if index == start:
                skips = tuple(tile(skip, copies) for skip in skips)
            state = (y, *skips)
        output = state[0] if noise else tile(state[0], copies)
        losses = np.asarray(self.loss(output, tile(self.target, copies)))
        losses = losses.reshape(len(losses), -1).sum(axis=1)  # over positions
        return split_copies(losses, len(self.inputs))

    def _block_rows(self) -> int:
        """How many rows may run at once, so that the largest layer's output has its bytes."""
        largest = max(map(prod, (*self.network.shapes, *self.network.noise_shapes)))
        return BLOCK_BYTES // (8 * largest)
