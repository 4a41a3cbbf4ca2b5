"""The plan of a step: which tails run, with how many copies, in which blocks.

It is made before any noise is drawn, from the schedule, the allocation and earlier steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from nolr.backends import itemsize
from nolr.estimation.allocation import Equal, Portion, Tail
from nolr.estimation.estimate import EstimatorState
from nolr.estimation.perturbation import CleanRun, Draw
from nolr.estimation.stage import StageStep
from nolr.network import Trace
from nolr.tails import tail_costs
from nolr.types import Allocation, Baseline, Key, Sampler, Stream

__all__ = ["Plan", "Sweep"]


class Sweep(NamedTuple):
    """One run of noised tails."""

    draw: Draw
    passes: tuple[tuple[int, ...], ...]
    """The stages that are noised together, for every tail."""
    learning: bool
    """Whether the predictions collect evidence."""


class Plan(NamedTuple):
    """How copies are drawn and shared: the estimator's part that does not change from step to step.

    Args:
        groups: of copies for every tail, were they shared equally.
        block_bytes: how large the largest array of a tail should be at most.
    """

    sampler: Sampler
    groups: int
    allocation: Allocation
    baseline: Baseline
    block_bytes: int

    def share(
        self,
        clean: CleanRun,
        steps: Sequence[StageStep],
        passes: Sequence[tuple[int, ...]],
        key: Key,
        state: EstimatorState,
    ) -> list[Portion]:
        """Share the copies among the tails, and tell every stage how many it gets.

        Copies that no stage weighs are for the control variate alone, and shared equally.
        """
        allocation = self.allocation if any(step.weighs for step in steps) else Equal()
        costs = tail_costs(clean.network, clean.params)
        tails = [
            Tail(sum(state.spread[stage].variance for stage in stages), costs[stages[0]])
            for stages in passes
        ]
        least = max(1, self.baseline.minimum_groups)
        portions = allocation.share(tails, self.groups, least, key)
        for stages, portion in zip(passes, portions, strict=True):
            weighs = any(steps[stage].weighs for stage in stages)
            for stage in stages:
                step = steps[stage]
                step.copies = portion.groups * len(self.sampler.signs)
                step.importance = portion.importance
                step.apart = weighs and (stage != stages[0] or step.layer.pulls_past)
        return portions

    def sweeps(
        self,
        trace: Trace,
        passes: Sequence[tuple[int, ...]],
        portions: Sequence[Portion],
        key: Key,
        kinds: Sequence[tuple[bool, bool]],
    ) -> Iterator[Sweep]:
        """Yield the runs: tails with as many copies ride together, in blocks that fit the cache.

        Args:
            kinds: what copies are run for: (whether the noise is in blocks of pixels, whether to
                learn from it).
        """
        for pixels, learning in kinds:
            stream, number = Stream.PROBE if pixels else Stream.NOISE, key.block
            for groups in sorted({portion.groups for portion in portions} - {0}):
                together = tuple(
                    stages
                    for stages, portion in zip(passes, portions, strict=True)
                    if portion.groups == groups
                )
                for count in self._blocks(trace, groups):
                    address = key._replace(stream=stream, block=number)
                    yield Sweep(Draw(self.sampler, count, address, pixels), together, learning)
                    number += 1

    def _blocks(self, trace: Trace, groups: int) -> Iterator[int]:
        """Yield the number of groups in every block of copies."""
        largest = max(prod(visit.drive.shape) for visit in trace.visits)
        group_bytes = len(self.sampler.signs) * largest * itemsize(trace.output.dtype)
        size = max(self.baseline.minimum_groups, self.block_bytes // group_bytes)
        blocks = max(1, groups // size)
        for block in range(blocks):
            yield groups // blocks + (block < groups % blocks)
