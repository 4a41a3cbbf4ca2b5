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
from nolr.network import Fork, Join
from nolr.testing.directions import Direction, moved
from nolr.testing.noised_loss import NoisedLoss
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
    step: float = 1e-4
    """h."""
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
            above, below = (loss(moved(params, direction, sign * self.step)) for sign in (1, -1))
            found.append((above - below) / (2.0 * self.step))
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
    noised_losses: Sequence[NoisedLoss], params: Sequence[Params], wish: str, rows: int
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
    jumps = [_jumps(loss, params, 2 * rows) for loss in noised_losses]
    if _all_by_patterns(noised_losses, jumps):
        found.append(Reference("spike patterns", by_patterns))
    if not any(jumps) and all(loss.dimensions <= max(POINTS) for loss in noised_losses):
        found.append(replace(on_grid(0), coarser=on_grid(1)))  # which would not see a jump
    levels = [_level(loss) for loss in noised_losses if loss.noises]
    if any(jumps):
        step = JUMP * min(levels, default=1.0)
        found.append(Reference("differences", by_samples, step=step, inaccuracy=JUMP**2))
    else:
        found.append(Reference("differences", by_samples, step=1e-3))
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


def _is_quadratic(loss: NoisedLoss) -> bool:
    """Whether the loss is at most quadratic in the noise."""
    links = all(
        isinstance(node, (Fork, Join, *LINEAR)) or getattr(node, "affine", False)
        for node in loss.network.nodes
    )
    return links and getattr(loss.loss, "degree", 3) <= 2


def _cubature(loss: NoisedLoss) -> Expectation:
    d = max(loss.dimensions, 1)
    axes = np.sqrt(d) * np.eye(d)[:, None, : loss.dimensions]
    white = np.repeat(np.concatenate([axes, -axes]), len(loss.inputs), axis=1)
    return lambda theta: float(loss.losses(theta, white).mean())


# --- quadrature -----------------------------------------------------------------------------------


def _on_grid(loss: NoisedLoss, fewer: int) -> Expectation:
    d = loss.dimensions  # 0 without noise: a grid of one point
    nodes, weights = np.polynomial.hermite_e.hermegauss(POINTS[d] - fewer)
    grid = np.array(list(product(nodes, repeat=d))).reshape(len(nodes) ** d, d)
    weight = np.ones(1)
    for _ in range(d):
        weight = np.outer(weight, weights / weights.sum()).reshape(-1)
    white = np.repeat(grid[:, None, :], len(loss.inputs), axis=1)
    return lambda theta: float(weight @ loss.losses(theta, white).mean(axis=1))


# --- patterns and differences ---------------------------------------------------------------------


def _all_by_patterns(noised_losses: Sequence[NoisedLoss], jumps: Sequence[bool]) -> bool:
    """Whether some stage has few spike patterns, and every other one is a matter for a grid."""
    found = [has_few_patterns(loss) for loss in noised_losses]
    return any(found) and all(
        few or (loss.dimensions <= max(POINTS) and not jump)
        for few, loss, jump in zip(found, noised_losses, jumps, strict=True)
    )


def _on_samples(loss: NoisedLoss, rows: int, rng: np.random.Generator) -> Expectation:
    pairs = max(1, rows // (2 * len(loss.inputs)))
    white = rng.standard_normal((pairs, len(loss.inputs), loss.dimensions))
    white = np.concatenate([white, -white])
    return lambda theta: float(loss.losses(theta, white).mean())


def _jumps(loss: NoisedLoss, params: Sequence[Params], rows: int) -> bool:
    """Whether the loss of a copy jumps somewhere, as it does behind a spike.

    Measured: difference quotients of a smooth function stay as they are when h gets smaller, of one
    that jumps they are rarer and larger, so that their mean square grows as 1/h.
    """
    if not loss.noises or not loss.loss.differentiable:
        return not loss.loss.differentiable
    rng = np.random.default_rng(0)
    copies = max(1, rows // len(loss.inputs))
    white = rng.standard_normal((copies, len(loss.inputs), loss.dimensions))
    for stage in loss.noises:
        node = loss.network.stages[stage]
        for name, array in params[node].items():
            values = rng.standard_normal(array.shape)
            direction = Direction(stage, node, name, values / np.linalg.norm(values))
            coarse, fine = (
                np.mean(_quotients(loss, params, direction, h * _level(loss), white) ** 2)
                for h in (0.04, 0.01)
            )
            if fine > 2.0 * coarse:
                return True
    return False


def _quotients(
    loss: NoisedLoss, params: Sequence[Params], direction: Direction, step: float, white: np.ndarray
) -> np.ndarray:
    """The difference quotient of every copy."""
    above, below = (loss.losses(moved(params, direction, sign * step), white) for sign in (1, -1))
    return (above - below) / (2.0 * step)


def _level(loss: NoisedLoss) -> float:
    """The smallest σ: the scale on which the expectation bends where the loss itself jumps."""
    return min(noise.scale for noise in loss.noises.values())
