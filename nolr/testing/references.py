"""References: directional derivatives of a noised loss that owe nothing to likelihood ratios.

All are central differences in the parameters, (J(θ + hd) - J(θ - hd)) / 2h; they differ in how the
expectation J is taken:

- *closed form*: of a loss that is at most quadratic in the noise, a mean over ±√d along the axes of
  the d noised units is the expectation itself (a cubature of degree 3);
- *spike patterns*: every pattern of a few spiking neurons with its probability (`spikes`);
- *quadrature*: a Gauss-Hermite grid, for few noised units; it knows how far off it may be;
- *differences*: samples, with the same noise on both sides. This one has noise of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from nolr.errors import BadInput
from nolr.layers import AvgPool2D, Flatten, LeakyOverTime, MeanOverTime, SumOverTime
from nolr.nodes import Fork, Join
from nolr.testing.directions import Direction, moved
from nolr.testing.jumps import has_jumps, scale_along
from nolr.testing.parameter_noise import AnyNoisedLoss, ParameterNoisedLoss
from nolr.testing.spikes import expected_loss as expected_over_patterns
from nolr.testing.spikes import has_few_patterns
from nolr.types import Params

__all__ = ["NAMES", "Reference", "find_references"]

NAMES = ("closed form", "spike patterns", "quadrature", "differences")
LINEAR = (AvgPool2D, Flatten, LeakyOverTime, MeanOverTime, SumOverTime)
POINTS = {0: 2, 1: 64, 2: 32, 3: 16, 4: 10, 5: 7, 6: 6}  # of a grid along an axis, by axes
# h of differences where the loss jumps, as a fraction of σ. Differences are off by h² times a third
# derivative, so its square, as a fraction of the gradient's norm, is what they are trusted to.
JUMP = 0.1
KINK = 0.02  # the same where a density may bend, as that of Laplace noise: there h itself counts
SMOOTH = 1e-4  # h elsewhere
MOST_NUMBERS = 1 << 22  # of white noise at once
MOST_RUNS = 32  # of a draw, where every copy has other parameters, and so is a run of its own

Expectation = Callable[[Sequence[Params]], float]


@dataclass(frozen=True)
class Reference:
    """Where the truth comes from."""

    name: str
    """One of NAMES."""
    of_stage: Callable[[int, np.random.Generator], Expectation]
    """The estimand of a stage; one that is sampled draws its noise from the generator."""
    coarser: Reference | None = None
    """The same with less effort: how far they differ says how good it is."""
    step: Callable[[Sequence[Params], Direction], float] = lambda params, direction: SMOOTH
    """h along a direction."""
    inaccuracy: float = 0.0
    """What a large h may cost, as a fraction of the gradient's norm."""

    @property
    def exact(self) -> bool:
        """Whether it has no noise of its own."""
        return self.name != "differences"

    def project(
        self, params: Sequence[Params], directions: Sequence[Direction], rng: np.random.Generator
    ) -> np.ndarray:
        """The derivatives along the directions, (directions,): exact, or one draw."""
        found, stage, loss = [], -1, None
        for direction in directions:
            if direction.stage != stage:
                stage = direction.stage
                loss = self.of_stage(stage, rng)
            assert loss is not None
            step = self.step(params, direction)
            above, below = (loss(moved(params, direction, sign * step)) for sign in (1, -1))
            found.append((above - below) / (2.0 * step))
        return np.array(found)

    def error(
        self, params: Sequence[Params], directions: Sequence[Direction], rng: np.random.Generator
    ) -> np.ndarray:
        """How far off the derivatives may be, (directions,): 0 but for a grid."""
        if self.coarser is None:
            return np.zeros(len(directions))
        fine, coarse = (one.project(params, directions, rng) for one in (self, self.coarser))
        return 2.0 * np.abs(fine - coarse)


def find_references(
    noised_losses: Sequence[AnyNoisedLoss], params: Sequence[Params], wish: str, rows: int
) -> tuple[Reference, ...]:
    """References to try in turn, the best that fits all stages first, or the one asked for.

    Args:
        noised_losses: the estimand of every stage.
        wish: one of NAMES, or "auto".
        rows: how many samples and copies a draw of differences may run at once.

    Raises:
        BadInput: the one asked for does not fit.
    """

    def on_grid(fewer: int) -> Reference:
        def of_stage(stage: int, rng: np.random.Generator) -> Expectation:
            return _on_grid(noised_losses[stage], fewer)

        return Reference("quadrature", of_stage)

    def by_patterns(stage: int, rng: np.random.Generator) -> Expectation:
        loss = noised_losses[stage]
        if has_few_patterns(loss):
            return lambda theta: expected_over_patterns(loss, theta)
        return _on_grid(loss, 0)

    def by_samples(stage: int, rng: np.random.Generator) -> Expectation:
        return _on_samples(noised_losses[stage], rows, rng)

    found = []
    if all(map(_is_quadratic, noised_losses)):
        found.append(Reference("closed form", lambda s, rng: _cubature(noised_losses[s])))
    jumps = [has_jumps(loss, params, 2 * rows) for loss in noised_losses]
    if _all_by_patterns(noised_losses, jumps):
        found.append(Reference("spike patterns", by_patterns))
    if not any(jumps) and all(map(_fits_grid, noised_losses)):
        found.append(replace(on_grid(0), coarser=on_grid(1)))  # which would not see a jump
    if any(jumps):
        share, trust = (JUMP, JUMP**2) if all(map(_is_linear, noised_losses)) else (KINK, KINK)

        def wide(params: Sequence[Params], direction: Direction) -> float:
            stage = direction.stage
            if not jumps[stage]:
                return SMOOTH
            return share * scale_along(noised_losses[stage], params, direction)

        found.append(Reference("differences", by_samples, step=wide, inaccuracy=trust))
    else:
        found.append(Reference("differences", by_samples))
    if wish == "auto":
        return tuple(found)
    fitting = [one for one in found if one.name == wish]
    if not fitting:
        raise BadInput(
            f"the reference {wish!r} does not fit this network, loss and schedule: choose one of "
            f"{', '.join(one.name for one in found)}, or auto"
        )
    return tuple(fitting)


# --- closed form ----------------------------------------------------------------------------------


def _is_quadratic(loss: AnyNoisedLoss) -> bool:
    """Whether the loss is at most quadratic in the white noise.

    Affine layers are affine in their own parameters, but two of them one after another are not.
    """
    if isinstance(loss, ParameterNoisedLoss) and len(loss.noises) > 1:
        return False
    links = all(
        isinstance(node, (Fork, Join, *LINEAR)) or getattr(node, "affine", False)
        for node in loss.network.nodes
    )
    return links and getattr(loss.loss, "degree", 3) <= 2 and _is_linear(loss)


def _is_linear(loss: AnyNoisedLoss) -> bool:
    """Whether every noise is linear in the white noise, and says so."""
    return all(getattr(noise, "linear", False) for noise in loss.noises.values())


def _cubature(loss: AnyNoisedLoss) -> Expectation:
    d = max(loss.dimensions, 1)
    axes = np.sqrt(d) * np.eye(d)[:, None, : loss.dimensions]
    white = np.repeat(np.concatenate([axes, -axes]), len(loss.inputs), axis=1)
    return lambda theta: float(loss.losses(theta, white).mean())


# --- quadrature -----------------------------------------------------------------------------------


def _fits_grid(loss: AnyNoisedLoss) -> bool:
    """Whether few enough numbers are noised; other parameters are a run of their own."""
    return loss.dimensions <= (4 if isinstance(loss, ParameterNoisedLoss) else max(POINTS))


def _on_grid(loss: AnyNoisedLoss, fewer: int) -> Expectation:
    d = loss.dimensions  # 0 without noise: a grid of one point
    nodes, weights = np.polynomial.hermite_e.hermegauss(POINTS[d] - fewer)
    grid = np.array(list(product(nodes, repeat=d))).reshape(len(nodes) ** d, d)
    weight = np.ones(1)
    for _ in range(d):
        weight = np.outer(weight, weights / weights.sum()).reshape(-1)
    white = np.repeat(grid[:, None, :], len(loss.inputs), axis=1)
    return lambda theta: float(weight @ loss.losses(theta, white).mean(axis=1))


# --- patterns and differences ---------------------------------------------------------------------


def _all_by_patterns(noised_losses: Sequence[AnyNoisedLoss], jumps: Sequence[bool]) -> bool:
    """Whether some stage has few spike patterns, and every other one is a matter for a grid.

    For one that need not say how far off it is: functions of another noise than a Gaussian one may
    have kinks.
    """
    found = [has_few_patterns(loss) for loss in noised_losses]
    return any(found) and all(
        few or (loss.dimensions <= max(POINTS) and not jump and _is_linear(loss))
        for few, loss, jump in zip(found, noised_losses, jumps, strict=True)
    )


def _on_samples(loss: AnyNoisedLoss, rows: int, rng: np.random.Generator) -> Expectation:
    rows = min(rows, MOST_NUMBERS // max(loss.dimensions, 1))
    if isinstance(loss, ParameterNoisedLoss):
        rows = min(rows, MOST_RUNS * len(loss.inputs))
    pairs = max(1, rows // (2 * len(loss.inputs)))
    white = rng.standard_normal((pairs, len(loss.inputs), loss.dimensions))
    white = np.concatenate([white, -white])
    return lambda theta: float(loss.losses(theta, white).mean())
