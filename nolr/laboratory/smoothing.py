"""Smoothing: which loss an estimator is about, as noise that can be drawn.

The clean loss, the loss with noise in one stage, the loss with noise in several and the loss with
noise in the parameters are different functions, each with a gradient of its own. An estimator is
judged against the gradient of its own loss as well as against that of the clean one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nolr.estimation import LikelihoodRatio
from nolr.estimation.estimand import noised_together
from nolr.laboratory.noised_runs import Noises, Problem
from nolr.network import Sequential
from nolr.types import Loss, Noise

__all__ = ["CLEAN", "PARAMETERS", "PRE_ACTIVATIONS", "Draw", "Smoothing", "as_copies", "smoothings"]

PRE_ACTIVATIONS, PARAMETERS, NOTHING = "pre-activations", "parameters", "nothing"
SIGNS = (1.0, -1.0)


class Draw(NamedTuple):
    """One draw of a smoothed loss: parameters, noised or not, and given noise."""

    problem: Problem
    noises: Noises


@dataclass(frozen=True)
class Smoothing:
    """The noise in the loss of one stage's gradient.

    Args:
        place: PRE_ACTIVATIONS or PARAMETERS.
        stages: that have noise; none for the clean loss.
        noises: their distributions, in the same order.
    """

    place: str = PRE_ACTIVATIONS
    stages: tuple[int, ...] = ()
    noises: tuple[Noise, ...] = ()

    def __str__(self) -> str:
        if not self.stages:
            return "clean"
        levels = " and ".join(f"{level:g}" for level in sorted({n.scale for n in self.noises}))
        kinds = " and ".join(sorted({type(n).__name__ for n in self.noises}))
        where = ", ".join(map(str, self.stages))
        return f"{kinds} noise {levels} in the {self.place} of stage {where}"

    def draw(self, problem: Problem, pairs: int, rng: np.random.Generator) -> list[Draw]:
        """Draw noise in pairs of opposite sign; a clean loss has one draw."""
        if not self.stages:
            return [Draw(problem, {})]
        pair = self._activations if self.place == PRE_ACTIVATIONS else self._parameters
        return [draw for _ in range(pairs) for draw in pair(problem, rng)]

    def _activations(self, problem: Problem, rng: np.random.Generator) -> list[Draw]:
        shapes = problem.network.noise_shapes
        white = [rng.standard_normal((problem.samples, *shapes[stage])) for stage in self.stages]
        found = []
        for sign in SIGNS:
            each = zip(self.stages, self.noises, white, strict=True)
            found.append(Draw(problem, {s: noise.colour(sign * eta) for s, noise, eta in each}))
        return found

    def _parameters(self, problem: Problem, rng: np.random.Generator) -> list[Draw]:
        nodes = [problem.network.stages[stage] for stage in self.stages]
        white = [
            {name: rng.standard_normal(a.shape) for name, a in sorted(problem.params[node].items())}
            for node in nodes
        ]
        found = []
        for sign in SIGNS:
            params = list(problem.params)
            for node, noise, etas in zip(nodes, self.noises, white, strict=True):
                params[node] = {
                    name: params[node][name] + noise.colour(sign * eta)
                    for name, eta in etas.items()
                }
            found.append(Draw(problem._replace(params=tuple(params)), {}))
        return found


CLEAN = Smoothing()


def as_copies(draws: Sequence[Draw]) -> list[Draw]:
    """Draws of pre-activation noise as copies of one run; draws of parameters stay apart."""
    first = draws[0]
    if not first.noises:
        return list(draws)
    noises = {s: np.concatenate([draw.noises[s] for draw in draws]) for s in first.noises}
    return [Draw(first.problem, noises)]


def smoothings(estimator: Any, network: Sequential, loss: Loss) -> tuple[Smoothing, ...]:
    """The loss that an estimator is about, for every stage."""
    count = len(network.stages)
    if isinstance(estimator, LikelihoodRatio):
        noise = estimator.noise
        noises = noise if isinstance(noise, tuple) else (noise,) * count
        together = noised_together(estimator.schedule, estimator.control_variate, network, loss)
        return tuple(
            Smoothing(PRE_ACTIVATIONS, stages, tuple(noises[stage] for stage in stages))
            for stages in together
        )
    if estimator.noise_in == NOTHING:
        return (CLEAN,) * count
    passes = estimator.schedule.passes(tuple(range(count)))
    own = {stage: stages for stages in passes for stage in stages}
    return tuple(
        Smoothing(PARAMETERS, own[stage], (estimator.noise,) * len(own[stage]))
        for stage in range(count)
    )
