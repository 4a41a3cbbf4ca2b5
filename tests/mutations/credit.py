"""Faults of credit: which losses noise is weighed with."""

from __future__ import annotations

from mutations.estimators import PAIRS
from mutations.table import planted
from nolr.estimation.stage import StageStep
from nolr.reach import Later, Neighbours


@planted(Later, "gather", "rnn", PAIRS)
def credit_starts_a_step_late(right, reach, losses):
    """The loss of the step itself is not counted."""
    return right(reach, losses) - losses


@planted(Later, "gather", "rnn", PAIRS)
def credit_for_one_step_alone(right, reach, losses):
    """The losses of later steps are not counted."""
    return losses


@planted(Neighbours, "gather", "graph", PAIRS)
def credit_for_one_node_alone(right, reach, losses):
    """The losses of the nodes that an arrow leads to are not counted."""
    return losses


@planted(Neighbours, "gather", "graph", PAIRS)
def credit_against_the_arrows(right, reach, losses):
    """The pattern has to be transposed, as the operator itself."""
    return reach.pattern.push(losses[..., None])[..., 0]


@planted(StageStep, "_weigh", "over time", PAIRS)
def loss_divided_by_positions(right, step, score, weights):
    """Batch × time where batch belongs: the gradient shrinks with the number of steps."""
    return right(step, score, weights) / score.shape[2]
