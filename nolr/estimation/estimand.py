"""The estimand: which loss's gradient is estimated, and whether without bias.

The clean loss, the loss with noise in one stage and the loss with noise in all of them are three
different functions. Every estimate says which one it is about.
"""

from __future__ import annotations

from nolr.estimation.control_variates import JacobianControlVariate
from nolr.network import Sequential
from nolr.pathways import Pathway
from nolr.types import Loss, Schedule

__all__ = ["describe", "is_exact", "noised_together", "residual_weight"]


def describe(
    schedule: Schedule,
    control_variate: JacobianControlVariate | None,
    network: Sequential,
    loss: Loss,
) -> str:
    """Say it in words."""
    exact = is_last_exact(control_variate, network, loss)
    if exact and len(network.stages) == 1:
        return "exact gradient of the clean loss: a single stage, and no noise"
    estimand = f"gradient of {schedule.estimand}"
    residual = residual_weight(control_variate, loss)
    if residual == 1:
        return f"{estimand}; unbiased"
    if residual == 0:
        estimand = f"learned feedback (residual 0), a biased estimate of the {estimand}"
    else:
        estimand += ", shrunk towards learned feedback (residual below 1: biased)"
    if exact:
        estimand += "; the last stage has no noise, its gradient is exact for the clean loss"
    return estimand


def noised_together(
    schedule: Schedule,
    control_variate: JacobianControlVariate | None,
    network: Sequential,
    loss: Loss,
) -> tuple[tuple[int, ...], ...]:
    """For every stage, the stages that have noise in the loss whose gradient is estimated."""
    stages = list(range(len(network.stages)))
    if is_last_exact(control_variate, network, loss):
        stages.pop()
    found = {stage: together for together in schedule.passes(stages) for stage in together}
    return tuple(found.get(stage, ()) for stage in range(len(network.stages)))


def residual_weight(control_variate: JacobianControlVariate | None, loss: Loss) -> float | str:
    """λ, or "adaptive". Without a derivative of the loss there is only one answer: 1.

    What the control variate then learns is the mean change of the loss itself. That takes variance
    off the residual, but it is the same for every sample: no feedback to learn from alone.
    """
    if control_variate is None:
        return 1.0
    if control_variate.residual == "adaptive" and not loss.differentiable:
        return 1.0
    return control_variate.residual


def is_exact(pathway: Pathway, loss: Loss) -> bool:
    """Whether nothing lies between the stage and the loss's own derivative: J̄ = I."""
    return loss.differentiable and pathway.complete


def is_last_exact(
    control_variate: JacobianControlVariate | None, network: Sequential, loss: Loss
) -> bool:
    """Whether the last stage goes without noise: its credit is known exactly."""
    return (
        control_variate is not None
        and residual_weight(control_variate, loss) in (0, "adaptive")
        and is_exact(network.pathways[-1], loss)
        and network.layer(len(network.stages) - 1).affine
    )
