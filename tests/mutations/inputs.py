"""Faults of what a copy saw: its inputs, its past, its tail."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from mutations.estimators import LOUD, LOUD_JOINT, PAIRS
from mutations.table import planted
from nolr import tails
from nolr.copies import split_copies, tile
from nolr.estimation import perturbation
from nolr.estimation.stage import StageStep
from nolr.layers import MaxPool2D
from nolr.tails import Local


@planted(StageStep, "weigh_apart", "linear", LOUD_JOINT)
def clean_inputs_in_every_copy(right, step, local, score, weights, signs):
    """Stale: in joint mode the input of a later stage is noisy, in every copy differently."""
    clean = tile(step.visit.state[0], len(signs) * score.shape[0])
    right(step, Local(clean, local.past), score, weights, signs)


@planted(StageStep, "weigh_apart", "linear", LOUD_JOINT)
def inputs_of_the_first_in_both_of_a_pair(right, step, local, score, weights, signs):
    """The shortcut of pairs, ½(ℓ⁺ - ℓ⁻) s x⁺, where x⁻ is not x⁺."""
    half = local.x.shape[0] // 2
    right(step, Local(tile(local.x[:half], 2), local.past), score, weights, signs)


@planted(StageStep, "weigh_apart", "last state", LOUD)
def one_past_for_all_copies(right, step, local, score, weights, signs):
    """The states of the clean run: a recurrent stage has others in every copy."""
    past = tile(step.visit.past, len(signs) * score.shape[0])
    right(step, Local(local.x, past), score, weights, signs)


@planted(tails, "_stack", "dense", PAIRS)
def tails_change_places(right, states):
    """A stage is credited with the losses that another stage's noise caused."""
    return right(states[::-1])


class _Frozen(NamedTuple):
    """A max pool whose winners are those of the clean run."""

    route: Any
    samples: int
    trainable = False

    def __call__(self, x):
        pooled = self.route.push(split_copies(x, self.samples))
        return pooled.reshape(-1, *pooled.shape[2:])


@planted(perturbation, "run_tails", "max pool", PAIRS)
def winners_of_the_clean_run(right, network, params, trace, noises, behind):
    """Noise makes other pixels win; frozen, the loss is another function."""
    frozen = copy.copy(network)
    nodes = [
        _Frozen(node.route(x), x.shape[0]) if isinstance(node, MaxPool2D) else node
        for node, x in zip(network.nodes, trace.inputs, strict=True)
    ]
    object.__setattr__(frozen, "nodes", tuple(nodes))
    return right(frozen, params, trace, noises, behind)
