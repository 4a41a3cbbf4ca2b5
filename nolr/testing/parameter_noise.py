"""The loss with noise in the parameters: what evolution strategies estimate the gradient of.

    J(θ) = E[ mean over samples of loss(network(x; θ + ε)) ],  ε in some stages, none in the others

The interface is that of `noised_loss.NoisedLoss`, so that references take either. An estimator says
by its attribute `noise_in` which is its own: "pre-activations" unless it says "parameters", or
"nothing" where it estimates the gradient of the clean loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TypeAlias

import numpy as np

from nolr.network import Sequential
from nolr.nodes import advance
from nolr.testing.noised_loss import NoisedLoss
from nolr.types import Key, Loss, Noise, Params, Shape

__all__ = ["AnyNoisedLoss", "ParameterNoisedLoss"]


@dataclass(frozen=True)
class ParameterNoisedLoss:
    """A batch in float64 on the host, a network and a loss, and noise in some parameters.

    Args:
        noises: stage -> the noise of its parameters.
    """

    network: Sequential
    inputs: np.ndarray
    target: np.ndarray
    loss: Loss
    noises: Mapping[int, Noise]

    @cached_property
    def shapes(self) -> dict[tuple[int, str], Shape]:
        """Stage and name -> shape of a noised array, in the order of the white noise."""
        return {
            (stage, name): array.shape
            for stage in sorted(self.noises)
            for name, array in sorted(self.network.layer(stage).init(Key(0)).items())
        }

    @property
    def dimensions(self) -> int:
        """Number of parameters that are noised."""
        return sum(map(prod, self.shapes.values()))

    def losses(self, params: Sequence[Params], white: np.ndarray) -> np.ndarray:
        """The loss of every copy of every sample: white noise (C, N, dimensions) -> (C, N).

        All samples of a copy see the same parameters, moved by the noise of its first sample. Their
        mean has the expectation J all the same.
        """
        nodes, first = self.network.nodes, self._first
        before: tuple = (self.inputs,)
        for index in range(first):
            before = advance(nodes[index], params[index], before)
        found = np.empty(white.shape[:2])
        for copy, row in enumerate(white[:, 0]):
            state, moved = before, self._moved(params, row)
            for index in range(first, len(nodes)):
                state = advance(nodes[index], moved[index], state)
            losses = np.asarray(self.loss(state[0], self.target))
            found[copy] = losses.reshape(len(losses), -1).sum(axis=1)  # over positions
        return found

    @property
    def _first(self) -> int:
        """The node from which on copies differ."""
        return self.network.stages[min(self.noises, default=0)]

    def _moved(self, params: Sequence[Params], white: np.ndarray) -> list[Params]:
        """The parameters of one copy, from white noise (dimensions,)."""
        moved, start = [dict(theta) for theta in params], 0
        for (stage, name), shape in self.shapes.items():
            theta, end = moved[self.network.stages[stage]], start + prod(shape)
            theta[name] = theta[name] + self.noises[stage].colour(white[start:end]).reshape(shape)
            start = end
        return moved


AnyNoisedLoss: TypeAlias = NoisedLoss | ParameterNoisedLoss
