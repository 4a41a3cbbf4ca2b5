"""The copies of one step: draw their noise, run them, and compare their losses.

All noised tails ride in one sweep (`nolr.tails`). What comes back is split by tail, sign, group
and sample, (tails, signs, groups, N), and handed to the stages that were noised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nolr.backends import backend_of, namespace
from nolr.copies import flatten_units, tile
from nolr.estimation.control_variates import JacobianControlVariate
from nolr.estimation.stage import StageStep, odd_part
from nolr.network import Sequential, Trace
from nolr.tails import run_tails
from nolr.types import Array, Baseline, Key, Loss, Params, Sampler

__all__ = ["CleanRun", "Draw", "run_copies"]


class CleanRun(NamedTuple):
    """A batch and what the network and the loss make of it without noise."""

    network: Sequential
    params: tuple[Params, ...]
    loss: Loss
    target: Array
    trace: Trace
    losses: Array
    """(N,)."""
    error: Array
    """e, the derivative of the losses with respect to the features, (N, m)."""

    def features(self, output: Array, losses: Array) -> Array:
        """What the control variate regresses: the output, or a loss without derivative itself."""
        return output if self.loss.differentiable else losses[..., None]


class Draw(NamedTuple):
    """One block of noise: white η (groups, N, *noise_shape) for any stage, by key."""

    sampler: Sampler
    groups: int
    key: Key

    def __call__(self, clean: CleanRun, stage: int) -> Array:
        return self.sampler.draw(
            backend_of(clean.losses),
            self.key._replace(stage=stage),
            self.groups,
            (clean.losses.shape[0], *clean.network.noise_shapes[stage]),
            clean.losses.dtype,
        )


def run_copies(
    clean: CleanRun,
    steps: Sequence[StageStep],
    passes: Sequence[Sequence[int]],
    draw: Draw,
    baseline: Baseline,
    control_variate: JacobianControlVariate | None,
) -> None:
    """Run one block of noisy copies and let every stage weigh its scores by the losses.

    Args:
        clean: the batch without noise.
        steps: the working memory of every stage; this fills it.
        passes: the stages that are noised together, for every tail.
        draw: where the noise of this block comes from.
        baseline: what a copy's loss is compared with.
        control_variate: collects evidence from the copies' outputs.
    """
    xp, signs, samples = namespace(clean.losses), draw.sampler.signs, clean.losses.shape[0]
    white = {stage: draw(clean, stage) for stages in passes for stage in stages}
    noise = {stage: steps[stage].noise.colour(eta) for stage, eta in white.items()}
    copies = [{stage: _copies(noise[stage], signs) for stage in stages} for stages in passes]
    tails = run_tails(clean.network, clean.params, clean.trace, copies)

    losses = clean.loss(tails.output, tile(clean.target, len(passes) * len(signs) * draw.groups))
    shape = (len(passes), len(signs), draw.groups, samples)
    features = xp.reshape(clean.features(tails.output, losses), (*shape, -1))
    losses = xp.reshape(losses, shape)
    centred = losses - baseline(losses, clean.losses)
    odd_loss = odd_part(centred, signs)
    if control_variate is not None and len(signs) == 1:  # a pair's own difference is odd
        features = features - clean.features(flatten_units(clean.trace.output, 1), clean.losses)
    shifts = odd_part(features, signs)
    for index, stages in enumerate(passes):
        flat = {stage: flatten_units(noise[stage], 2) for stage in stages}
        foreseen = {stage: steps[stage].foresee(flat[stage]) for stage in stages}
        if control_variate is not None:
            seen = (control_variate, shifts[index, ...])
            for stage in stages:
                steps[stage].observe(*seen, flat[stage], odd_loss[index, ...], foreseen[stage])
        if not any(steps[stage].weighs for stage in stages):
            continue
        explained = sum(steps[stage].beta * foreseen[stage] for stage in stages)
        for stage in stages:
            step, local = steps[stage], tails.locals[stage]
            score = flatten_units(step.noise.score(white[stage]), 2)
            if stage == stages[0] and local.past is None:
                step.weigh_shared(score, odd_loss[index, ...] - explained)
            else:
                surprise = centred[index, ...] - _signed(explained, signs)
                step.weigh_apart(local, score, surprise, signs)


def _copies(noise: Array, signs: tuple[float, ...]) -> Array:
    """(groups, N, *shape) -> (signs·groups·N, *shape): every group's noise with every sign."""
    xp = namespace(noise)
    flat = xp.reshape(noise, (-1, *noise.shape[2:]))
    return flat if len(signs) == 1 else xp.concat([flat, -flat])


def _signed(explained: Array | float, signs: tuple[float, ...]) -> Array | float:
    """(groups, N) -> (signs, groups, N): what is foreseen is odd in the noise."""
    if isinstance(explained, float | int):  # nothing is foreseen
        return explained
    return namespace(explained).stack([sign * explained for sign in signs])
