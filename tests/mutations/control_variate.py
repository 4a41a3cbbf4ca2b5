"""Faults of the control variate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mutations.estimators import PREDICTED, PREDICTED_JOINT, trusting
from mutations.table import planted
from nolr.estimation import LikelihoodRatio, perturbation, prediction, preparation
from nolr.estimation.stage import StageStep
from nolr.routes import Gate


@planted(StageStep, "beta", "dense", PREDICTED)
def prediction_not_taken_out(right, step):
    """βĝ is added, and the residual still holds it."""
    return 0.0


@planted(StageStep, "beta", "lif", PREDICTED)
def beta_on_one_side(right, step):
    """βĝ is added, but ĝ is taken out."""
    return 1.0


@planted(preparation, "predict", "dense", PREDICTED)
def prediction_not_added(right, *args):
    """ĝ is taken out, and never added again."""
    found = right(*args)
    return replace(found, credit=0 * found.credit)


@planted(StageStep, "weigh_apart", "linear", PREDICTED_JOINT)
def prediction_added_by_every_copy(right, step, local, score, weights, signs):
    """βĝ once a copy, instead of once for all copies."""
    shared = step.prediction
    step.prediction = replace(shared, credit=step.copies * shared.credit)
    right(step, local, score, weights, signs)
    step.prediction = shared


@planted(Gate, "pull", "dense", PREDICTED)
def gate_forgotten_on_the_way_back(right, gate, credit):
    """Credit is to be pulled the way that noise is pushed: ĝ·ε is taken out, another ĝ added."""
    return credit


@planted(perturbation, "_signed", "linear", PREDICTED_JOINT)
def foreseen_without_its_sign(right, explained, signs):
    """What is foreseen is odd: without its sign a pair cancels it."""
    return np.stack([explained for _ in signs])


@planted(prediction, "_within_reach", "rnn", PREDICTED)
def foreseen_out_of_reach(right, jacobian, reach, losses):
    """Losses out of reach are foreseen, but not weighed, so that they are not taken out again."""
    return jacobian


@planted(StageStep, "weigh_shared", "dense", PREDICTED)
def gate_on_the_residual(right, step, score, weights):
    """The score of z needs no gate: f is behind the noise."""
    gate = step.layer.gate(step.visit.drive, step.visit.past, step.noise.scale)
    right(step, score * gate, weights)


@planted(preparation, "residual_weight", "dense", PREDICTED)
def residual_at_half_its_weight(right, control_variate, loss):
    """λ = ½ is shrunk towards the prediction."""
    return 0.5


@planted(LikelihoodRatio, "__call__", "over time", PREDICTED, rows=12, state=trusting)
def prediction_fitted_on_its_own_draw(right, estimator, network, params, batch, loss, key, state):
    """J̄ and β must be fixed before the draw; they are learned from it first."""
    _, fitted = right(estimator, network, params, batch, loss, key, state)
    return right(estimator, network, params, batch, loss, key, fitted)
