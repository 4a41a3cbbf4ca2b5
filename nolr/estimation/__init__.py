"""Gradient estimation: the heart of nolr."""

from nolr.estimation.baselines import CleanLoss, LeaveGroupOut, NoBaseline
from nolr.estimation.control_variates import JacobianControlVariate
from nolr.estimation.likelihood_ratio import Estimate, LikelihoodRatio
from nolr.estimation.schedules import Joint, LayerWise

__all__ = [
    "CleanLoss",
    "Estimate",
    "JacobianControlVariate",
    "Joint",
    "LayerWise",
    "LeaveGroupOut",
    "LikelihoodRatio",
    "NoBaseline",
]
