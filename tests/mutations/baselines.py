"""Faults of baselines."""

from __future__ import annotations

from mutations.estimators import OTHER_PAIRS, PAIRS, SINGLES
from mutations.table import planted
from nolr.estimation import CleanLoss, LeaveGroupOut
from nolr.testing import constant_loss_residue


@planted(LeaveGroupOut, "__call__", "dense", SINGLES)
def mean_that_includes_the_copy(right, baseline, losses, clean):
    """It depends on the copy's own noise: the gradient shrinks by (K - 1)/K."""
    return losses.mean(axis=(-3, -2), keepdims=True)


@planted(CleanLoss, "__call__", "dense", PAIRS)
def pair_mate_as_baseline(right, baseline, losses, clean):
    """It depends on the copy's own noise: every difference counts twice."""
    return losses[..., ::-1, :, :]


@planted(LeaveGroupOut, "__call__", "dense", OTHER_PAIRS)
def pair_mate_among_the_others(right, baseline, losses, clean):
    """The copy is left out, but not the one with the opposite noise."""
    total = losses.sum(axis=(-3, -2), keepdims=True)
    return (total - losses) / (losses.shape[-3] * losses.shape[-2] - 1)


@planted(LeaveGroupOut, "__call__", "dense", SINGLES, check=constant_loss_residue)
def others_divided_by_all(right, baseline, losses, clean):
    """No bias, but half of the loss is left in: of a constant loss something remains."""
    groups = losses.shape[-2]
    return right(baseline, losses, clean) * (groups - 1) / groups
