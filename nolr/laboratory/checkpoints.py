"""Checkpoints of training: at the start, early and late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from nolr.environment import limit_threads
from nolr.errors import BadInput, nearest
from nolr.laboratory.subject import Checkpoint, Subject
from nolr.training import Trainer
from nolr.training_state import TrainState

__all__ = ["CHECKPOINTS", "check_names", "find_checkpoints"]

CHECKPOINTS = ("start", "early", "late")
EARLY = 0.05  # of all steps


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of training.

    Raises:
        BadInput: none is given, or one that does not exist.
    """
    for name in names:
        if name not in CHECKPOINTS:
            raise BadInput(f"there is no checkpoint {name!r}{nearest(name, CHECKPOINTS)}")
    if not names:
        raise BadInput(f"no checkpoint is given: choose from {', '.join(CHECKPOINTS)}")
    return tuple(name for name in CHECKPOINTS if name in names)


def find_checkpoints(
    subject: Subject,
    names: Sequence[str] = CHECKPOINTS,
    on_state: Callable[[Trainer, TrainState], None] | None = None,
) -> tuple[Checkpoint, ...]:
    """Train a recipe as far as is needed, and keep what there is at the checkpoints.

    At the start the estimator has learned for some steps at the initial parameters: without any
    memory there is nothing to compare. A saved run has one checkpoint, as it is.

    Args:
        names: some of CHECKPOINTS.
        on_state: called after every step of training.

    Raises:
        BadInput: a name that does not exist.
        Diverged: training produced a value that is not finite.
    """
    trainer = subject.trainer
    if subject.saved is not None:
        return (_keep(subject, "saved", subject.saved),)
    names, found, first = check_names(names), [], trainer.init()
    if "start" in names:
        params = subject.params(first)
        memory = subject.learn(subject.own, params, first.estimator)
        found.append(Checkpoint("start", 0, params, memory))
    steps = trainer.epochs * ceil(len(trainer.data.train) / trainer.batch_size)
    early = max(1, round(EARLY * steps))
    if names == ("start",):
        return tuple(found)
    with limit_threads(subject.settings.threads):
        for state in trainer.run(first):
            if on_state is not None:
                on_state(trainer, state)
            if state.step == early and "early" in names:
                found.append(_keep(subject, "early", state))
            if state.step >= early and "late" not in names:
                break
    if "late" in names:
        found.append(_keep(subject, "late", state))
    return tuple(found)


def _keep(subject: Subject, name: str, state: TrainState) -> Checkpoint:
    return Checkpoint(name, state.step, subject.params(state), state.estimator)
