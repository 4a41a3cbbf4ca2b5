"""Exact gradients of a loss, clean or smoothed by noise, in float64 and by forward runs alone.

A smoothed gradient is a mean over draws of the noise, in pairs of opposite sign, of the derivative
of the losses as they are in that draw. No score enters it, so it shares no formula with what it
judges; its own standard error is measured and reported.

Where a loss jumps, as behind a spike, it has no useful derivative: the clean gradient is not
defined, and a draw's derivative is a difference over a step as wide as the noise allows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import nan, prod, sqrt

import numpy as np

from nolr.laboratory.noised_runs import Problem, losses_behind, visit_stage
from nolr.laboratory.probes import flatten, probe_coordinates, probe_units
from nolr.laboratory.smoothing import PARAMETERS, Smoothing, as_copies
from nolr.types import Noise

__all__ = ["Exact", "StageGradient"]

MOST_UNITS = 512  # of a stage that is probed unit by unit
MOST_COORDINATES = 128
SMALL_STEP = 1e-5
JUMP_ROWS = 2048  # samples and copies that are looked at for jumps
JUMP_NUMBERS = 1 << 21  # in the noise of all of them
ROUNDING = 1e-12  # differences of losses below it are none
JUMP_STEP = 0.2  # of the noise level, where the loss jumps
# Pairs of draws: so many at first, and at most. Between, drawing ends once the expected squared
# error is so small a fraction of the gradient's squared norm. From few draws it is hardly known.
PAIRS = {"units": (16, 32), "coordinates": (8, 16)}
ENOUGH = {"units": 1e-3, "coordinates": 1e-2}


@dataclass(frozen=True)
class StageGradient:
    """The exact gradient of one stage's loss, as far as it is known."""

    values: np.ndarray
    """The coordinates that were looked at; NaN where there is no derivative."""
    error: float
    """Expected squared error, summed over them: of the mean over draws of the noise."""
    method: str
    """"units" or "coordinates"."""
    draws: int
    step: float
    """h, of the pre-activation or the parameter."""

    def unknown(self) -> StageGradient:
        """The same coordinates without values."""
        return replace(self, values=np.full(len(self.values), nan), error=nan, draws=0)

    @property
    def squared_norm(self) -> float:
        """‖gradient‖² without what the error adds to it."""
        return max(float(self.values @ self.values) - self.error, 0.0)

    @property
    def ceiling(self) -> float:
        """The largest cosine that can be found with it: below 1 because of its own error."""
        power = float(self.values @ self.values)
        return sqrt(self.squared_norm / power) if power > 0 else nan


@dataclass(frozen=True)
class Exact:
    """Exact gradients at one place, each computed once.

    Args:
        problem: network, parameters, batch and loss.
        noises: of every stage, as the estimators have it: the scale on which a jump matters.
        seed: of the noise and the choice of coordinates.
        most_units, most_coordinates: beyond so many units a stage's parameters are moved instead,
            and beyond so many parameters a random part of those that the batch can move.
    """

    problem: Problem
    noises: tuple[Noise, ...]
    seed: int = 0
    most_units: int = MOST_UNITS
    most_coordinates: int = MOST_COORDINATES
    _found: dict[tuple[int, Smoothing], StageGradient] = field(default_factory=dict)
    _plans: dict[int, _Plan] = field(default_factory=dict)

    def coordinates(self, stage: int) -> np.ndarray | None:
        """Which entries of the stage's flat parameters are compared; None for all of them."""
        return self._plan(stage).coordinates

    def stage(self, stage: int, smoothing: Smoothing) -> StageGradient:
        """The gradient of a stage's parameters."""
        if (stage, smoothing) not in self._found:
            self._found[stage, smoothing] = self._compute(stage, smoothing)
        return self._found[stage, smoothing]

    def _compute(self, stage: int, smoothing: Smoothing) -> StageGradient:
        plan = self._plan(stage)
        method = "units" if plan.coordinates is None else "coordinates"
        useless = not smoothing.stages or smoothing.place == PARAMETERS
        if plan.jumps and useless:  # no derivative, or too few draws of it ever
            count = plan.parameters if plan.coordinates is None else len(plan.coordinates)
            return StageGradient(np.full(count, nan), nan, method, 0, nan)
        rng = np.random.default_rng([self.seed, stage, 1])
        found: list[np.ndarray] = []
        pairs, most = PAIRS[method]
        while True:
            found += self._draws(stage, smoothing, pairs, rng)
            values = np.mean(found, axis=0)
            if len(found) == 1:  # nothing is random
                return StageGradient(values, 0.0, method, 0, plan.step)
            means = np.array(found).reshape(len(found) // 2, 2, -1).mean(axis=1)
            error = float(means.var(axis=0, ddof=1).sum()) / len(means)
            if error <= ENOUGH[method] * float(values @ values) or len(means) >= most:
                return StageGradient(values, error, method, len(found), plan.step)
            pairs = min(len(means), most - len(means))

    def _draws(
        self, stage: int, smoothing: Smoothing, pairs: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """The gradient in every draw."""
        plan = self._plan(stage)
        draws = smoothing.draw(self.problem, pairs, rng)
        if plan.coordinates is None:
            return [probe_units(draw.problem, stage, draw.noises, plan.step) for draw in draws]
        found: list[np.ndarray] = []
        for draw in as_copies(draws):
            found += list(
                probe_coordinates(draw.problem, stage, draw.noises, plan.coordinates, plan.step)
            )
        return found

    def _plan(self, stage: int) -> _Plan:
        if stage not in self._plans:
            self._plans[stage] = self._make_plan(stage)
        return self._plans[stage]

    def _make_plan(self, stage: int) -> _Plan:
        network = self.problem.network
        layer, theta = network.layer(stage), self.problem.params[network.stages[stage]]
        rng = np.random.default_rng([self.seed, stage, 0])
        jumps = _jumps(self.problem, stage, self.noises[stage], rng)
        visit = visit_stage(self.problem, stage, {})
        step = JUMP_STEP * self.noises[stage].scale if jumps else SMALL_STEP
        count = sum(array.size for array in theta.values())
        if not jumps and prod(network.noise_shapes[stage]) <= self.most_units:
            return _Plan(None, jumps, step, count)
        # A parameter that no sample of the batch meets, such as the vector of a word that is not
        # in it, has no gradient: its pullback of anything is 0.
        score = rng.standard_normal(visit.drive.shape)
        moved = np.flatnonzero(flatten(layer.pullback(visit.state[0], visit.past, score)))
        chosen = rng.permutation(moved)[: self.most_coordinates]
        return _Plan(np.sort(chosen), jumps, step, count)


@dataclass(frozen=True)
class _Plan:
    """How the gradient of a stage is found."""

    coordinates: np.ndarray | None
    jumps: bool
    step: float
    parameters: int


def _jumps(problem: Problem, stage: int, noise: Noise, rng: np.random.Generator) -> bool:
    """Whether the loss jumps somewhere as the stage's pre-activation moves.

    Measured: difference quotients of a smooth function stay as they are when h gets smaller, of one
    that jumps they are rarer and larger, so that their mean square grows as 1/h.
    """
    if not problem.loss.differentiable:
        return True
    network = problem.network
    numbers = problem.samples * max(prod(shape) for shape in network.noise_shapes)
    copies = max(1, min(JUMP_ROWS // problem.samples, JUMP_NUMBERS // numbers))
    layer, theta = network.layer(stage), problem.params[network.stages[stage]]
    visit, shape = visit_stage(problem, stage, {}), network.noise_shapes[stage]
    noises = noise.colour(rng.standard_normal((copies * problem.samples, *shape)))
    direction = rng.choice([-1.0, 1.0], size=shape) * rng.uniform(0.5, 1.5, size=shape)
    squares = []
    for h in (0.2 * noise.scale, 0.02 * noise.scale):
        above, below = (
            losses_behind(
                problem,
                stage,
                (
                    layer.respond(theta, visit.drive, noises + sign * h * direction)[0],
                    *(np.concatenate([skip] * copies) for skip in visit.state[1:]),
                ),
                {},
            )
            for sign in (1, -1)
        )
        squares.append(float(np.mean(((above - below) / (2.0 * h)) ** 2)))
    seen = (2.0 * h) ** 2 * squares[1] > ROUNDING**2
    return seen and squares[1] > 2.0 * squares[0]
