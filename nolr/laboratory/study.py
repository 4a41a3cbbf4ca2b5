"""A study of variance: checkpoints, exact gradients, every estimator, and the sweeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from nolr.environment import limit_threads
from nolr.errors import BadInput
from nolr.estimation import LikelihoodRatio
from nolr.laboratory.exact import Exact
from nolr.laboratory.measure import Row, measure, memories_of
from nolr.laboratory.roster import Entry, choose_entries
from nolr.laboratory.smoothing import CLEAN, Smoothing, smoothings
from nolr.laboratory.subject import Checkpoint, Subject
from nolr.laboratory.sweeps import Point, exact_at, sweep_depth, sweep_noise, sweep_stages

__all__ = ["ExactRow", "Study", "check_numbers", "run_study", "usable_entries"]

SWEPT = {  # entries that a sweep compares
    "noise": ("default", "λ = 1", "plain antithetic"),
    "depth": (
        "default",
        "λ = 1",
        "plain antithetic",
        "joint",
        "evolution strategies",
        "forward gradient",
    ),
    "stages": ("λ = 1", "plain antithetic"),
}


@dataclass(frozen=True)
class ExactRow:
    """One exact gradient: of which loss, how it was found, how good it is."""

    checkpoint: str
    stage: int
    loss: str
    """"clean", or where it has noise."""
    method: str
    coordinates: int
    parameters: int
    """Of the stage, of which the coordinates are some."""
    draws: int
    step: float
    squared_norm: float
    squared_error: float
    ceiling: float
    """The largest cosine that can be found with it."""


@dataclass(frozen=True)
class Study:
    """What a study found."""

    subject: Subject
    entries: tuple[Entry, ...]
    checkpoints: tuple[Checkpoint, ...]
    rows: tuple[Row, ...]
    exact: tuple[ExactRow, ...]
    sweeps: dict[str, tuple[Point, ...]]
    sweep_copies: int
    remarks: tuple[str, ...]
    """What was left out, and why."""


def run_study(
    subject: Subject,
    checkpoints: Sequence[Checkpoint],
    *,
    estimators: Sequence[str] = (),
    copies: Sequence[int] = (2, 8, 32, 128),
    draws: int = 16,
    sweeps: bool = True,
    say: Callable[[str], None] = lambda words: None,
) -> Study:
    """Measure every estimator at every checkpoint and number of copies.

    Args:
        subject: a recipe or run with a batch.
        checkpoints: where to look; see `find_checkpoints`.
        estimators: names of the roster; none for all.
        copies: noisy copies of every sample; those that an estimator cannot have are left out.
        draws: independent estimates of each.
        sweeps: whether to vary σ, the depth and the stages noised at once, at the last checkpoint.
        say: told what comes next.

    Raises:
        BadInput: an argument that cannot be used.
    """
    check_numbers(copies, draws)
    copies = tuple(sorted(set(copies)))
    entries = usable_entries(estimators, subject.own, copies)
    with limit_threads(subject.settings.threads):
        return _run(subject, tuple(checkpoints), entries, copies, draws, sweeps, say)


def _run(
    subject: Subject,
    checkpoints: tuple[Checkpoint, ...],
    entries: tuple[Entry, ...],
    copies: tuple[int, ...],
    draws: int,
    sweeps: bool,
    say: Callable[[str], None],
) -> Study:
    rows: list[Row] = []
    exact_rows: list[ExactRow] = []
    for checkpoint in checkpoints:
        exact = exact_at(subject, checkpoint)
        for entry in entries:
            memories = memories_of(subject, checkpoint, entry)
            for count in copies:
                say(f"{checkpoint.name}: {entry.name}, {count} copies")
                rows += measure(subject, checkpoint, exact, entry, count, draws, memories)
        exact_rows += _exact_rows(checkpoint, exact, entries, subject)
    found: dict[str, tuple[Point, ...]] = {}
    remarks: list[str] = []
    few = copies[min(1, len(copies) - 1)]
    if sweeps:
        last = checkpoints[-1]
        runs: dict[str, Callable[[list[Entry]], Iterator[Point]]] = {
            "noise": lambda some: sweep_noise(subject, last, some, few, draws, say),
            "depth": lambda some: sweep_depth(subject, some, few, draws, say),
            "stages": lambda some: sweep_stages(subject, last, exact, some, few, draws, say),
        }
        for name, run in runs.items():
            try:
                points = tuple(run([entry for entry in entries if entry.name in SWEPT[name]]))
            except BadInput as error:
                remarks.append(f"{name} is not swept: {error}")
                continue
            if any(point.rows for point in points):
                found[name] = points
    return Study(
        subject,
        entries,
        checkpoints,
        tuple(rows),
        tuple(exact_rows),
        found,
        few,
        tuple(remarks),
    )


def check_numbers(copies: Sequence[int], draws: int) -> None:
    """Raise BadInput unless the arguments of `run_study` can be used."""
    if not copies or any(count < 1 for count in copies):
        raise BadInput(
            f"copies must be whole numbers from 1 on, got {list(copies)}: try 2,8,32,128"
        )
    if draws < 3:
        raise BadInput(f"draws must be at least 3, got {draws}: a variance and its error need them")


def usable_entries(
    names: Sequence[str], own: LikelihoodRatio, copies: Sequence[int]
) -> tuple[Entry, ...]:
    """The entries of these names, or all, some of which can have some of the numbers of copies.

    Args:
        own: the recipe's own estimator; nothing else of a subject is needed.

    Raises:
        BadInput: there is no entry of a name, nothing to compare, or nobody can have the copies.
    """
    entries = choose_entries(names, own)
    if not entries:
        raise BadInput(
            f"{' and '.join(map(repr, names))}: of this recipe that is its own estimator once "
            "more, or needs a control variate, which it has not; choose others, such as 'default'"
        )

    def possible(count: int) -> bool:
        return any(entry.build(own, count) is not None for entry in entries)

    if not any(map(possible, copies)):
        counts = " or ".join(map(str, copies))
        other = next(filter(possible, (2, own.copies, 4, 1)), None)
        advice = "choose other estimators" if other is None else f"try {other}"
        raise BadInput(f"none of the estimators can have {counts} copies: {advice}")
    return entries


def _exact_rows(
    checkpoint: Checkpoint, exact: Exact, entries: Sequence[Entry], subject: Subject
) -> Iterator[ExactRow]:
    """What is known of every exact gradient that was used."""
    network, own = subject.network, subject.own
    used: dict[tuple[int, Smoothing], None] = {}
    for stage in range(len(network.stages)):
        used[stage, CLEAN] = None
    for entry in entries:
        if (estimator := entry.example(own)) is not None:
            used |= dict.fromkeys(enumerate(smoothings(estimator, network, subject.loss)))
    for stage, smoothing in used:
        found = exact.stage(stage, smoothing)
        parameters = checkpoint.params[network.stages[stage]].values()
        yield ExactRow(
            checkpoint.name,
            stage,
            str(smoothing),
            found.method,
            len(found.values),
            sum(prod(array.shape) for array in parameters),
            found.draws,
            found.step,
            found.squared_norm,
            found.error,
            found.ceiling,
        )
