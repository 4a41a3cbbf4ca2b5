"""Every stage before any noise is drawn: what it predicts, and whether it needs noise at all."""

from __future__ import annotations

from collections.abc import Sequence

from nolr.estimation.control_variates import JacobianControlVariate
from nolr.estimation.estimand import is_exact, residual_weight
from nolr.estimation.estimate import EstimatorState
from nolr.estimation.perturbation import CleanRun
from nolr.estimation.prediction import predict
from nolr.estimation.probes import make_probe
from nolr.estimation.stage import StageStep
from nolr.types import Noise

__all__ = ["prepare"]


def prepare(
    clean: CleanRun,
    noises: Sequence[Noise],
    control_variate: JacobianControlVariate | None,
    state: EstimatorState,
    copies: int,
    total: int,
    monitor: bool,
) -> list[StageStep]:
    """The working memory of every stage, with its prediction and λ, if there is a control variate.

    Args:
        clean: a part of the batch, without noise.
        noises: of every stage.
        state: what the predictions and an adaptive λ rest on: earlier steps alone, so that this
            step's noise is independent of them.
        copies: noisy copies of every sample, in a stage that needs any.
        total: samples of the whole batch.
        monitor: whether this step measures signal and noise.
    """
    network, trace = clean.network, clean.trace
    steps = [
        StageStep(
            network.layer(stage), visit, network.reaches[stage], noise, total, monitor, copies
        )
        for stage, (visit, noise) in enumerate(zip(trace.visits, noises, strict=True))
    ]
    if control_variate is None:
        return steps
    residual = residual_weight(control_variate, clean.loss)
    gates = [step.layer.gate(step.visit.drive, step.visit.past, step.noise.scale) for step in steps]
    for stage, (step, gate, after) in enumerate(zip(steps, gates, [*gates[1:], None], strict=True)):
        pathway = network.pathways[stage].within(control_variate.context)
        exact = is_exact(pathway, clean.loss)
        step.noised = not (exact and step.layer.affine and residual in (0, "adaptive"))
        step.copies *= step.noised
        route = pathway.route(gate, trace.inputs)
        step.prediction = predict(
            control_variate,
            state.evidence[stage],
            pathway,
            step.reach,
            route,
            pathway.condition(after),
            clean.error,
            exact,
            step.noised,
            total,
            make_probe(pathway, gate, route, control_variate),
        )
        if step.noised:
            step.measures_residual = isinstance(residual, str)
            step.weight = (
                state.residual[stage].best_weight() if isinstance(residual, str) else residual
            )
        else:
            step.weight = 0.0
    return steps
