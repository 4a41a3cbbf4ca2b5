"""The copies of one step: draw their noise, run them, and compare their losses.

All noised tails ride in one sweep (`nolr.tails`). What comes back is split by tail, sign, group and
loss, (tails, signs, groups, losses), and handed to the stages that were noised. A sample has one
loss, or where the output has positions (time steps, nodes) one of every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nolr.backends import backend_of, namespace
from nolr.copies import tile
from nolr.estimation.probes import Probe
from nolr.estimation.stage import StageStep, odd_part
from nolr.network import Sequential, Trace
from nolr.tails import run_tails
from nolr.types import Array, Baseline, Key, Loss, Params, Sampler, Shape

__all__ = ["CleanRun", "Draw", "run_copies"]


class CleanRun(NamedTuple):
    """A batch and what the network and the loss make of it without noise."""

    network: Sequential
    params: tuple[Params, ...]
    loss: Loss
    target: Array
    trace: Trace
    losses: Array
    """(N,) or (N, positions)."""
    error: Array
    """e, the derivative of the losses with respect to the features, (N, positions, m)."""

    def features(self, output: Array, losses: Array) -> Array:
        """What the control variate regresses: the output, or a loss without derivative itself."""
        return output if self.loss.differentiable else losses


class Draw(NamedTuple):
    """One block of noise by key."""

    sampler: Sampler
    groups: int
    key: Key
    blocks: bool = False
    """Whether the noise is the same all over the blocks of a stage's pathway: it has no score."""

    def moves_blocks(self, clean: CleanRun, stage: int) -> bool:
        """Whether the noise of a stage is the same all over its blocks."""
        return self.blocks and clean.network.pathways[stage].blocks is not None

    def white(self, clean: CleanRun, stage: int) -> Array:
        """η of a stage, (groups, N, *shape): one number a unit, or one a block."""
        shape: Shape = clean.network.noise_shapes[stage]
        if self.blocks and (blocks := clean.network.pathways[stage].blocks):
            shape = blocks.target
        return self.sampler.draw(
            backend_of(clean.losses),
            self.key._replace(stage=stage),
            self.groups,
            (clean.losses.shape[0], *shape),
            clean.losses.dtype,
        )

    def noise(self, clean: CleanRun, step: StageStep, stage: int, white: Array) -> Array:
        """ε of a stage, (groups, N, *noise_shape)."""
        probe = self.probe(step)
        noise = step.noise.colour(white) if probe is None else probe.scale * white
        if self.blocks and (blocks := clean.network.pathways[stage].blocks):
            return blocks.pull(noise)
        return noise

    def probe(self, step: StageStep) -> Probe | None:
        """What the noise enters a stage through, if it does so behind the activation."""
        return step.prediction.probe if self.blocks and step.prediction is not None else None


def run_copies(
    clean: CleanRun,
    steps: Sequence[StageStep],
    draw: Draw,
    passes: Sequence[Sequence[int]],
    learning: bool,
    baseline: Baseline,
) -> None:
    """Run one block of noisy copies and let every stage weigh its scores by the losses.

    Args:
        clean: the batch without noise.
        steps: the working memory of every stage; this fills it.
        draw: where the noise of this block comes from.
        passes: the stages that are noised together, for every tail.
        learning: whether the predictions collect evidence from the copies' outputs.
        baseline: what a copy's loss is compared with.
    """
    xp, signs, samples = namespace(clean.losses), draw.sampler.signs, clean.losses.shape[0]
    white = {stage: draw.white(clean, stage) for stages in passes for stage in stages}
    noise = {stage: draw.noise(clean, steps[stage], stage, eta) for stage, eta in white.items()}
    probes = {stage: probe for stage in noise if (probe := draw.probe(steps[stage])) is not None}
    entering = noise | {stage: noise[stage] * probe.gate for stage, probe in probes.items()}
    copies = [{stage: _copies(entering[stage], signs) for stage in stages} for stages in passes]
    tails = run_tails(clean.network, clean.params, clean.trace, copies, probes)

    losses = clean.loss(tails.output, tile(clean.target, len(passes) * len(signs) * draw.groups))
    shape = (len(passes), len(signs), draw.groups)
    features = xp.reshape(clean.features(tails.output, losses), (*shape, samples, -1))
    losses = xp.reshape(losses, (*shape, -1))
    centred = losses - baseline(losses, xp.reshape(clean.losses, (-1,)))
    odd_loss = odd_part(centred, signs)
    if learning and len(signs) == 1:  # a pair's own difference is odd
        features = features - xp.reshape(
            clean.features(clean.trace.output, clean.losses), (samples, -1)
        )
    shifts = odd_part(features, signs)
    for index, stages in enumerate(passes):
        foreseen: dict[int, Array | float] = dict.fromkeys(stages, 0.0)
        for stage in stages:
            if (prediction := steps[stage].prediction) is not None:
                foreseen[stage] = prediction.foresee(noise[stage], draw.blocks)
                if learning:
                    scale = probes[stage].scale if stage in probes else steps[stage].noise.scale
                    blocks = draw.moves_blocks(clean, stage)
                    seen = (shifts[index, ...], odd_loss[index, ...], foreseen[stage])
                    prediction.observe(*seen, scale, blocks)
        if draw.blocks or not any(steps[stage].weighs for stage in stages):
            continue
        explained = sum(steps[stage].beta * foreseen[stage] for stage in stages)
        for stage in stages:
            step, local = steps[stage], tails.locals[stage]
            score = step.noise.score(white[stage])
            if stage == stages[0] and not step.layer.pulls_past:
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
    """(groups, losses) -> (signs, groups, losses): what is foreseen is odd in the noise."""
    if isinstance(explained, float | int):  # nothing is foreseen
        return explained
    return namespace(explained).stack([sign * explained for sign in signs])
