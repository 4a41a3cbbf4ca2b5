"""What an estimator returns, and what it remembers."""

from __future__ import annotations

from typing import NamedTuple

from nolr.estimation.evidence import Evidence
from nolr.estimation.figures import Figures, Merit
from nolr.types import Array, Params

__all__ = ["Estimate", "EstimatorState"]


class EstimatorState(NamedTuple):
    """What an estimator remembers of earlier steps, one entry per stage."""

    evidence: tuple[Evidence, ...]
    """For the control variate: its running regressions."""
    gradient: tuple[Merit, ...]
    """Signal and power of the gradient estimate, for the report."""
    spread: tuple[Merit, ...]
    """Variance that one copy's noise gives the estimate, for the allocation; it has no signal."""
    residual: tuple[Merit, ...]
    """Signal and power of the residual, for the adaptive λ."""


class Estimate(NamedTuple):
    """The result of one step."""

    loss: Array
    """Mean clean loss of the batch, ()."""
    grads: tuple[Params, ...]
    """Estimated gradient of the mean loss, in the layout of the parameters."""
    info: Figures
