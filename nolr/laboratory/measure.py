"""Measure an estimator: fixed parameters, batch and memory, and many independent draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from math import lcm
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from nolr.backends import backend_of
from nolr.estimation import LikelihoodRatio
from nolr.laboratory.exact import Exact
from nolr.laboratory.roster import Entry
from nolr.laboratory.scores import judge, variance
from nolr.laboratory.smoothing import CLEAN, smoothings
from nolr.laboratory.subject import Checkpoint, Subject
from nolr.testing.directions import to_host
from nolr.types import Key, Params

__all__ = ["Memories", "Row", "measure", "memories_of"]

Memories = Callable[[int], Any]
"""Number of a draw -> what the estimator remembers in it."""

FIRST = 1 << 30  # step of the first draw: its noise is not any that a memory has learned from


@dataclass(frozen=True)
class Row:
    """One estimator with one number of copies, at one stage of the network.

    Cosines and biases are those against the exact gradient of the clean loss, and against that of
    the loss with the estimator's own noise; NaN where a gradient does not exist.
    """

    checkpoint: str
    estimator: str
    copies: int
    stage: int
    cosine_clean: float
    cosine_clean_error: float
    squared_bias_clean: float
    squared_bias_clean_error: float
    squared_norm_clean: float
    cosine_noised: float
    cosine_noised_error: float
    squared_bias_noised: float
    squared_bias_noised_error: float
    squared_norm_noised: float
    variance: float
    """Total, of one estimate; like the biases, over the coordinates that are compared."""
    squared_smoothing: float
    """Of the difference between the two exact gradients: what the noise itself changes."""
    forward_passes: float
    """Of a sample in an average step, every noisy tail counted as a whole pass."""
    seconds: float
    """Of an average step."""


def measure(
    subject: Subject,
    checkpoint: Checkpoint,
    exact: Exact,
    entry: Entry,
    copies: int,
    draws: int,
    memories: Memories,
    noised: bool = True,
) -> list[Row]:
    """Draw an estimator again and again, and hold it against the exact gradients.

    Args:
        exact: the gradients at the checkpoint, for the subject's batch.
        draws: independent estimates; at least 3.
        memories: of the estimator.
        noised: whether to compare with the gradient of its own loss, too.

    Returns:
        A row for every stage; none if the estimator cannot have so many copies.
    """
    estimator = entry.build(subject.own, copies)
    if estimator is None:
        return []
    network, loss = subject.network, subject.loss
    runner = _Runner(subject, checkpoint, estimator)
    stages = range(len(network.stages))
    estimates: list[list[np.ndarray]] = [[] for _ in stages]
    for number in range(draws):
        memory = memories(number)
        grads = runner.run(number, memory)
        for stage in stages:
            values = _flat(grads[network.stages[stage]])
            chosen = exact.coordinates(stage)
            estimates[stage].append(values if chosen is None else values[chosen])
    passes, seconds = runner.cost(memory)
    rows = []
    for stage, smoothing in enumerate(smoothings(estimator, network, loss)):
        found = np.stack(estimates[stage])
        clean = exact.stage(stage, CLEAN)
        own = exact.stage(stage, smoothing) if noised else clean.unknown()
        rows.append(
            Row(
                checkpoint.name,
                entry.name,
                copies,
                stage,
                *judge(found, clean.values, clean.error),
                *judge(found, own.values, own.error),
                variance(found),
                float(((own.values - clean.values) ** 2).sum()) - own.error,
                passes,
                seconds,
            )
        )
    return rows


def memories_of(subject: Subject, checkpoint: Checkpoint, entry: Entry) -> Memories:
    """What an estimator of the roster remembers at a checkpoint, whatever its copies."""
    params = checkpoint.params
    estimator = entry.example(subject.own)
    if estimator is None:  # and so it is never run
        return lambda draw: None
    fresh = estimator.init(subject.network, params, subject.loss)
    if entry.memory == "many":
        return lambda draw: subject.learn(estimator, params, fresh, course=1 + draw)
    if entry.memory == "taught":
        fresh = subject.learn(estimator, params, fresh)
    memory = checkpoint.memory if entry.memory == "trained" else fresh
    return lambda draw: memory


class _Cost(NamedTuple):
    passes: float
    seconds: float


class _Runner:
    """Runs an estimator, and keeps the books.

    Not all steps cost the same: copies that only a control variate learns from are run in some of
    them. So costs are kept by the kind of step, and averaged as the kinds follow in training.
    """

    def __init__(self, subject: Subject, checkpoint: Checkpoint, estimator: Any) -> None:
        self.subject, self.checkpoint, self.estimator = subject, checkpoint, estimator
        self.books: dict[tuple[bool, bool], list[_Cost]] = {}

    def run(self, number: int, memory: Any) -> Sequence[Params]:
        """The estimate in one step; what it would remember is thrown away."""
        subject, step = self.subject, FIRST + number
        task = subject.network, self.checkpoint.params, subject.batch, subject.loss
        clock = perf_counter()
        estimate, _ = self.estimator(*task, Key(subject.trainer.seed, step=step), memory)
        backend_of(subject.batch[0]).synchronize()
        cost = _Cost(float(estimate.info.forward_passes), perf_counter() - clock)
        self.books.setdefault(self._kind(step), []).append(cost)
        return estimate.grads

    def cost(self, memory: Any) -> _Cost:
        """Mean passes and seconds of a step, over a whole period of steps."""
        kinds = [self._kind(FIRST + number) for number in range(self._period())]
        for kind in dict.fromkeys(kinds):
            numbers = (n for n in count() if self._kind(FIRST + n) == kind)
            while len(self.books.get(kind, ())) < 3:
                self.run(next(numbers), memory)
        passes = [np.mean([cost.passes for cost in self.books[kind]]) for kind in kinds]
        seconds = [median(cost.seconds for cost in self.books[kind]) for kind in kinds]
        return _Cost(float(np.mean(passes)), float(np.mean(seconds)))

    def _period(self) -> int:
        if isinstance(self.estimator, LikelihoodRatio):
            return lcm(self.estimator.probe_every, self.estimator.monitor_every)
        return 1

    def _kind(self, step: int) -> tuple[bool, bool]:
        """Whether a step may probe, and whether it measures its signal and noise."""
        if not isinstance(self.estimator, LikelihoodRatio):
            return True, True
        probe, monitor = self.estimator.probe_every, self.estimator.monitor_every
        return step % probe == 0, step % monitor == 0


def _flat(theta: Params) -> np.ndarray:
    """All entries of one stage on the host, name by name, (P,)."""
    return np.concatenate([to_host(theta[name]).reshape(-1) for name in sorted(theta)])
