"""Allocation: how the copies of a step are shared among the tails.

A schedule says which stages are noised together, each set in a tail of its own; an allocation says
how many groups of copies every tail gets in this step, and what an estimate then counts for. It
may look at earlier steps and at a key, never at this step's noise, so no estimate becomes biased.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nolr.backends.numpy import host_generator
from nolr.errors import BadInput
from nolr.types import Key, Stream

__all__ = ["Equal", "Neyman", "Portion", "RandomTails", "Tail"]


class Tail(NamedTuple):
    """What is known of a tail before its copies are run."""

    variance: float
    """That one copy's noise gives the estimate of its stages; NaN before the first measurement."""
    cost: float
    """Of one copy, in multiplications."""


class Portion(NamedTuple):
    """What a tail gets."""

    groups: int
    """Groups of copies; 0 leaves it out."""
    importance: float = 1.0
    """What its estimate counts for: 1 / probability of being run, or 0 where it is not."""


@dataclass(frozen=True)
class Equal:
    """As many copies for every tail."""

    def share(self, tails: Sequence[Tail], groups: int, least: int, key: Key) -> list[Portion]:
        """Portion out `groups` groups a tail, or work of that cost.

        Args:
            least: groups that a tail must have if it has any.
            key: of the step.
        """
        return [Portion(groups) for _ in tails]


@dataclass(frozen=True)
class Neyman:
    """More copies where they take off more variance: as Neyman (1934) samples from strata.

    Σ V/K is least at a given Σ c·K for K ∝ sqrt(V / c), with the variance V and the cost c of a
    copy. In whole groups: each next group goes where it takes off most per cost, V / (K (K + 1) c),
    as long as all copies together cost no more than equal ones would. With one group a tail there
    is nothing to share. V is measured in monitored steps, from the difference of groups; where
    there is but one, its whole power stands in for it.

    On the two different aspects of the representative method (Journal of the Royal Statistical
    Society 97, 1934).
    """

    def share(self, tails: Sequence[Tail], groups: int, least: int, key: Key) -> list[Portion]:
        measured = all(tail.variance >= 0 for tail in tails)  # and not NaN
        if not measured or not any(tail.variance > 0 for tail in tails):
            return [Portion(groups) for _ in tails]
        count = [least] * len(tails)
        left = (groups - least) * sum(tail.cost for tail in tails)
        heap = [(_gain(tail, least), number) for number, tail in enumerate(tails)]
        heapq.heapify(heap)
        while heap:
            _, number = heapq.heappop(heap)
            if tails[number].cost > left * (1 + 1e-12):
                continue  # too dear: others may still fit
            left -= tails[number].cost
            count[number] += 1
            heapq.heappush(heap, (_gain(tails[number], count[number]), number))
        return [Portion(number) for number in count]


def _gain(tail: Tail, groups: int) -> float:
    """What one more group takes off the variance per cost, as a negative number: heaps pop the
    smallest."""
    return -tail.variance / (groups * (groups + 1) * tail.cost)


@dataclass(frozen=True)
class RandomTails:
    """A random few of the tails in every step, all with the same probability.

    An estimate counts 1 / probability in the steps that make it. Where copies share the stage's
    local array, a control variate's prediction is there in every step: only the residual waits for
    its turn. Elsewhere the prediction waits, too.

    Args:
        per_step: how many tails; of a layer-wise schedule that many stages.

    Raises:
        BadInput: per_step is below 1.
    """

    per_step: int = 1

    def __post_init__(self) -> None:
        if self.per_step < 1:
            raise BadInput(f"per_step must be at least 1 tail, got {self.per_step}")

    def share(self, tails: Sequence[Tail], groups: int, least: int, key: Key) -> list[Portion]:
        if self.per_step >= len(tails):
            return [Portion(groups) for _ in tails]
        generator = host_generator(key._replace(stream=Stream.CHOICE, stage=0, block=0))
        chosen = generator.permutation(len(tails))[: self.per_step]
        importance = len(tails) / self.per_step
        return [
            Portion(groups, importance) if number in chosen else Portion(0, 0.0)
            for number in range(len(tails))
        ]
