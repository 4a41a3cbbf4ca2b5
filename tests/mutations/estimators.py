"""The estimators with which faults show."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nolr.estimation import JacobianControlVariate, Joint, LeaveGroupOut, LikelihoodRatio
from nolr.noise import Gaussian
from nolr.sampling import Independent


@dataclass(frozen=True)
class AutoRegressive:
    """Noise that is correlated from unit to unit, with covariance σ² r^|i-j|; s = C⁻ᵀ η."""

    sigma: float
    correlation: float

    @property
    def scale(self) -> float:
        return self.sigma

    def root(self, units: int) -> np.ndarray:
        """C, lower triangular."""
        distance = np.abs(np.subtract.outer(np.arange(units), np.arange(units)))
        return self.sigma * np.linalg.cholesky(self.correlation**distance)

    def colour(self, white: np.ndarray) -> np.ndarray:
        return white @ self.root(white.shape[-1]).T

    def score(self, white: np.ndarray) -> np.ndarray:
        return white @ np.linalg.inv(self.root(white.shape[-1]))


PAIRS = LikelihoodRatio(Gaussian(0.5), control_variate=None)
TWO_PAIRS = replace(PAIRS, copies=4)
LOUD = replace(PAIRS, noise=Gaussian(2.0))
JOINT = replace(TWO_PAIRS, schedule=Joint())
LOUD_JOINT = replace(JOINT, noise=Gaussian(2.0))
SINGLES = replace(PAIRS, sampler=Independent(), baseline=LeaveGroupOut())
OTHER_PAIRS = replace(TWO_PAIRS, baseline=LeaveGroupOut())
PREDICTED = replace(PAIRS, control_variate=JacobianControlVariate(1.0))
PREDICTED_JOINT = replace(JOINT, control_variate=JacobianControlVariate(1.0))
CORRELATED = replace(PAIRS, noise=AutoRegressive(0.5, 0.8))


def trusting(estimator, network, params, loss):
    """A state with β = 1 and no Jacobian yet: what the next draw teaches is believed at once."""
    state, sure = estimator.init(network, params, loss), np.array(1e9)
    evidence = (old._replace(covariance=sure, power=sure) for old in state.evidence)
    return state._replace(evidence=tuple(evidence))
