"""Losses that jump, as they do behind a spike: how to know them, and on which scale noise smooths.

Difference quotients of a smooth function stay as they are when h gets smaller. Of one that jumps
they are rarer and larger, so that their mean square grows as 1/h. Its expectation is smooth on the
scale of the noise: differences of it want an h that is a fair share of that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nolr.nodes import advance
from nolr.testing.directions import Direction, moved
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.parameter_noise import AnyNoisedLoss
from nolr.types import Params

__all__ = ["has_jumps", "scale_along"]

STEPS = 0.3, 0.03  # two h, as fractions of the scale of the noise
RATIO = 3.0  # of mean squares: 10 of a function that jumps, 1 of one that does not
MOST_NUMBERS = 1 << 20  # of white noise at once


def has_jumps(loss: AnyNoisedLoss, params: Sequence[Params], rows: int) -> bool:
    """Whether the loss of a copy jumps somewhere in the parameters of its noised stages.

    Args:
        rows: samples and copies to look at.
    """
    if not loss.noises or not loss.loss.differentiable:
        return not loss.loss.differentiable
    rng = np.random.default_rng(0)
    copies = max(1, min(rows, MOST_NUMBERS // max(loss.dimensions, 1)) // len(loss.inputs))
    white = rng.standard_normal((copies, len(loss.inputs), loss.dimensions))
    for stage in loss.noises:
        node = loss.network.stages[stage]
        for name, array in params[node].items():
            values = rng.standard_normal(array.shape)
            direction = Direction(stage, node, name, values / np.linalg.norm(values))
            scale = scale_along(loss, params, direction)
            coarse, fine = (
                np.mean(_quotients(loss, params, direction, h * scale, white) ** 2) for h in STEPS
            )
            if fine > RATIO * coarse:
                return True
    return False


def scale_along(loss: AnyNoisedLoss, params: Sequence[Params], direction: Direction) -> float:
    """How far to go along a direction for a change as large as the noise.

    The smallest σ; less far where that would move the pre-activations of some sample by more. 1 for
    a loss without noise.
    """
    level = min((noise.scale for noise in loss.noises.values()), default=1.0)
    if not isinstance(loss, NoisedLoss):  # its noise is in the parameters themselves
        return level
    state: tuple = (loss.inputs,)
    for node, theta in zip(loss.network.nodes[: direction.node], params, strict=False):
        state = advance(node, theta, state)
    layer = loss.network.layer(direction.stage)
    theta, there = params[direction.node], moved(params, direction, 1.0)[direction.node]
    change = np.asarray(layer.drive(there, state[0])) - np.asarray(layer.drive(theta, state[0]))
    return level / max(1.0, float(np.linalg.norm(change.reshape(len(change), -1), axis=1).max()))


def _quotients(
    loss: AnyNoisedLoss,
    params: Sequence[Params],
    direction: Direction,
    step: float,
    white: np.ndarray,
) -> np.ndarray:
    """The difference quotient of every copy."""
    above, below = (loss.losses(moved(params, direction, sign * step), white) for sign in (1, -1))
    return (above - below) / (2.0 * step)
