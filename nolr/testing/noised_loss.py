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
from nolr.network import Fork, Join, Sequential, advance
from nolr.types import Loss, Noise, Params, Shape

__all__ = ["NoisedLoss"]


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
        """The loss of every copy of every sample: white noise (C, N, dimensions) -> (C, N)."""
        copies = white.shape[0]
        noise = {
            stage: self.noises[stage].colour(part) for stage, part in self.split(white).items()
        }
        stages = {node: stage for stage, node in enumerate(self.network.stages)}
        state: tuple = (tile(self.inputs, copies),)
        for index, (node, theta) in enumerate(zip(self.network.nodes, params, strict=True)):
            if isinstance(node, Fork | Join) or not node.trainable:
                state = advance(node, theta, state)
            else:
                drive = node.drive(theta, state[0])
                y, _ = node.respond(theta, drive, noise.get(stages[index]))
                state = (y, *state[1:])
        losses = self.loss(state[0], tile(self.target, copies))
        losses = np.asarray(losses).reshape(len(losses), -1).sum(axis=1)  # over positions
        return split_copies(losses, len(self.inputs))
