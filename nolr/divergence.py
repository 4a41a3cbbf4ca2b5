"""When training diverges: find the stage in which it shows first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nolr.backends import namespace
from nolr.errors import Diverged
from nolr.estimation.estimate import Estimate
from nolr.network import Sequential
from nolr.types import Array, Params

__all__ = ["diagnose"]


def diagnose(
    network: Sequential, params: Sequence[Params], x: Array, estimate: Estimate, step: int
) -> Diverged:
    """Return the error to raise.

    It names the first stage whose pre-activation is not finite, or else whose gradient is not;
    if all are, the last stage's output is too large for the loss.

    Args:
        params: the parameters before the update.
        x: the inputs of the batch (N, *input_shape).
        estimate: what the step came to.
        step: its number.
    """
    with np.errstate(all="ignore"):
        visits = network.run_clean(params, x).visits
    drives = [stage for stage, visit in enumerate(visits) if not _finite(visit.drive)]
    gradients = [
        stage
        for stage, node in enumerate(network.stages)
        if not all(_finite(gradient) for gradient in estimate.grads[node].values())
    ]
    if drives:
        stage, what = drives[0], f"the pre-activation of stage {drives[0]} is not finite"
    elif gradients:
        stage, what = gradients[0], f"the gradient of stage {gradients[0]} is not finite"
    else:
        stage = len(visits) - 1
        what = f"the output of stage {stage}, the last, is too large for the loss or the update"
    return Diverged(
        f"training diverged in step {step} (loss {float(estimate.loss):.4g}): {what}: try a "
        "smaller learning rate, or less noise",
        step,
        stage,
    )


def _finite(array: Array) -> bool:
    xp = namespace(array)
    return bool(xp.all(xp.isfinite(array)))
