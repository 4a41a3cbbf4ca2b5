"""Faults of copies, pairs and groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mutations.estimators import JOINT, PAIRS, TWO_PAIRS
from mutations.table import planted
from nolr import tails
from nolr.estimation import perturbation
from nolr.estimation.stage import StageStep
from nolr.testing import even_loss_residue


@planted(perturbation, "_copies", "dense", PAIRS)
def copies_interleaved(right, noise, signs):
    """Rows in the order sample, sign: what comes back is split as sign, sample."""
    rows = right(noise, signs)
    return np.swapaxes(rows.reshape(len(signs), -1, *rows.shape[1:]), 0, 1).reshape(rows.shape)


@planted(perturbation, "tile", "dense", PAIRS)
def targets_interleaved(right, array, copies):
    """Every copy of a sample meets the target of another one."""
    return np.repeat(array, copies, axis=0)


@planted(tails, "tile", "residual", PAIRS)
def skips_interleaved(right, array, copies):
    """The skip connection brings another sample's copy."""
    return np.repeat(array, copies, axis=0)


@planted(perturbation, "odd_part", "linear", PAIRS, check=even_loss_residue)
def odd_part_with_a_plus(right, values, signs):
    """Half the sum of a pair is its even part."""
    return values.mean(axis=1)


@planted(perturbation, "odd_part", "dense", PAIRS)
def odd_part_not_halved(right, values, signs):
    """A pair's whole difference: twice the gradient."""
    return 2 * right(values, signs)


@planted(StageStep, "weigh_apart", "linear", JOINT)
def score_without_the_sign_of_its_noise(right, step, local, score, weights, signs):
    """The copy with -ε is weighed with the score of +ε."""
    right(step, local, score, weights, [1.0 for _ in signs])


@planted(StageStep, "weigh_shared", "dense", TWO_PAIRS)
def groups_added_up(right, step, score, weights):
    """1/copies is missing: the sum over groups instead of their mean."""
    right(step, score.shape[0] * score, weights)


@planted(StageStep, "weigh_apart", "linear", JOINT)
def copies_averaged_twice(right, step, local, score, weights, signs):
    """1/copies², where every copy has a product of its own."""
    right(step, local, score / step.copies, weights, signs)


@planted(StageStep, "absorb", "dense", replace(PAIRS, workers=2))
def second_worker_forgotten(right, step, other):
    """The gradient of a part of the batch, divided by the whole of it."""
