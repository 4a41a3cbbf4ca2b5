"""Gradient estimation: the heart of nolr."""

from nolr.estimation.allocation import Equal, Neyman, RandomTails
from nolr.estimation.baselines import CleanLoss, LeaveGroupOut, NoBaseline
from nolr.estimation.control_variates import JacobianControlVariate
from nolr.estimation.estimate import Estimate
from nolr.estimation.evolution_strategies import EvolutionStrategies
from nolr.estimation.forgetting import Lengthening
from nolr.estimation.forward_gradient import ForwardGradient
from nolr.estimation.likelihood_ratio import LikelihoodRatio
from nolr.estimation.schedules import Joint, LayerWise

__all__ = [
    "CleanLoss",
    "Equal",
    "Estimate",
    "EvolutionStrategies",
    "ForwardGradient",
    "JacobianControlVariate",
    "Joint",
    "LayerWise",
    "LeaveGroupOut",
    "Lengthening",
    "LikelihoodRatio",
    "Neyman",
    "NoBaseline",
    "RandomTails",
]
