"""What costs variance and no bias: no check of a mean can tell."""

from __future__ import annotations

import numpy as np

from mutations.estimators import PAIRS, PREDICTED
from mutations.table import unseen
from nolr.estimation import perturbation
from nolr.layers import Dense
from nolr.reach import Later


@unseen(perturbation.Draw, "white", "one", PAIRS)
def samples_share_their_noise(right, draw, clean, stage):
    """One draw for the whole batch: every estimate is as noisy as that of a single sample."""
    white = right(draw, clean, stage)
    return np.broadcast_to(white[:, :1], white.shape)


@unseen(Later, "gather", "rnn", PAIRS)
def credit_starts_a_step_early(right, reach, losses):
    """The loss of the step before is independent of the noise: variance, no bias."""
    earlier = np.concatenate([0 * losses[..., :1], losses[..., :-1]], axis=-1)
    return right(reach, losses) + earlier


@unseen(Dense, "gate", "dense", PREDICTED)
def gate_of_another_function(right, layer, drive, past, scale):
    """The prediction is bad, but fixed before the draw: λ = 1 is unbiased for any."""
    return np.cos(drive)
