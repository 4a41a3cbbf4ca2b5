"""Sweeps: what the noise level, the depth, and the number of stages noised at once do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nolr.errors import BadInput
from nolr.estimation import Joint, LikelihoodRatio
from nolr.laboratory.exact import Exact
from nolr.laboratory.measure import Row, measure, memories_of
from nolr.laboratory.roster import Entry
from nolr.laboratory.smoothing import CLEAN
from nolr.laboratory.subject import Checkpoint, Subject, make_subject
from nolr.recipes import build_trainer

__all__ = ["DEPTHS", "LEVELS", "Point", "exact_at", "sweep_depth", "sweep_noise", "sweep_stages"]

LEVELS = (0.01, 0.03, 0.1, 0.3, 1.0)
DEPTHS = (1, 2, 3, 4, 5)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One value of what is swept, and what was measured there."""

    value: float
    rows: tuple[Row, ...]


def exact_at(subject: Subject, checkpoint: Checkpoint) -> Exact:
    """Exact gradients of a subject at a checkpoint."""
    noise = subject.own.noise
    stages = len(subject.network.stages)
    noises = noise if isinstance(noise, tuple) else (noise,) * stages
    return Exact(subject.problem(checkpoint.params), noises, subject.trainer.seed)


def sweep_noise(
    subject: Subject,
    checkpoint: Checkpoint,
    entries: Sequence[Entry],
    copies: int,
    draws: int,
    say: Say,
) -> Iterator[Point]:
    """The noise level σ, from LEVELS, of all stages.

    What the recipe's estimator remembers belongs to its own level, so at every level it learns anew
    for some lessons.
    """
    for level in LEVELS:
        say(f"noise level {level:g}")
        there = _at_level(subject, level)
        memory = there.learn(there.own, checkpoint.params, checkpoint.memory)
        place = checkpoint._replace(memory=memory)
        yield Point(level, _rows(there, place, exact_at(there, place), entries, copies, draws))


def sweep_depth(
    subject: Subject, entries: Sequence[Entry], copies: int, draws: int, say: Say
) -> Iterator[Point]:
    """The number of hidden layers, from DEPTHS, at the initial parameters.

    All are as wide as the recipe's first. Compared with the clean gradient alone.

    Raises:
        BadInput: the recipe has a fixed number of layers, or its loss no clean gradient.
    """
    subjects = [_with_depth(subject, depth) for depth in DEPTHS]
    counts = [len(each.network.stages) for each in subjects]
    if sorted(set(counts)) != counts:
        raise BadInput("its number of layers does not depend on the setting hidden")
    for depth, there in zip(DEPTHS, subjects, strict=True):
        say(f"{depth} hidden layers")
        state = there.trainer.init()
        params = there.params(state)
        place = Checkpoint("start", 0, params, there.learn(there.own, params, state.estimator))
        exact = exact_at(there, place)
        if np.isnan(exact.stage(0, CLEAN).values).all():
            raise BadInput("its loss jumps, so it has no clean gradient to compare with")
        rows = _rows(there, place, exact, entries, copies, draws, noised=False)
        yield Point(depth, rows)


def sweep_stages(
    subject: Subject,
    checkpoint: Checkpoint,
    exact: Exact,
    entries: Sequence[Entry],
    copies: int,
    draws: int,
    say: Say,
) -> Iterator[Point]:
    """How many neighbouring stages have noise at once, from one to all of them."""
    for together in range(1, len(subject.network.stages) + 1):
        say(f"{together} stages at once")
        changed = [replace(entry, make=_with_stages(entry, together)) for entry in entries]
        yield Point(together, _rows(subject, checkpoint, exact, changed, copies, draws))


def _rows(
    subject: Subject,
    checkpoint: Checkpoint,
    exact: Exact,
    entries: Sequence[Entry],
    copies: int,
    draws: int,
    noised: bool = True,
) -> tuple[Row, ...]:
    return tuple(
        row
        for entry in entries
        for row in measure(
            subject,
            checkpoint,
            exact,
            entry,
            copies,
            draws,
            memories_of(subject, checkpoint, entry),
            noised,
        )
    )


def _at_level(subject: Subject, sigma: float) -> Subject:
    """The same subject with noise of another level in its estimator."""
    noise: Any = subject.own.noise
    if isinstance(noise, tuple):
        changed: Any = tuple(replace(one, sigma=sigma) for one in noise)
    else:
        changed = replace(noise, sigma=sigma)
    estimator = replace(subject.own, noise=changed)
    return replace(subject, trainer=replace(subject.trainer, estimator=estimator))


def _with_depth(subject: Subject, depth: int) -> Subject:
    """The same recipe and data with so many hidden layers."""
    hidden = subject.settings.hidden[:1] * depth
    settings = subject.settings.with_values({"hidden": hidden})
    network = subject.recipe.build(settings)
    trainer = build_trainer(settings, network, subject.trainer.data)
    samples = subject.batch[0].shape[0]
    return make_subject(subject.target, subject.recipe, settings, trainer, samples)


def _with_stages(entry: Entry, together: int) -> Callable[[LikelihoodRatio, int], Any]:
    return lambda own, copies: replace(entry.make(own, copies), schedule=Joint(together))
