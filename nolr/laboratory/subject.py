"""The subject of a study: a recipe or a saved run, and one batch of its training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nolr.backends.numpy import host_generator
from nolr.data import Dataset
from nolr.errors import BadInput
from nolr.estimation import LikelihoodRatio
from nolr.laboratory.noised_runs import Problem
from nolr.network import Sequential
from nolr.optimizers import unravel
from nolr.recipes import Recipe, Settings, build_trainer, get_recipe
from nolr.runs import reopen
from nolr.testing.directions import to_host
from nolr.training import Trainer
from nolr.training_state import TrainState
from nolr.types import Array, Key, Loss, Params, Stream

__all__ = ["Checkpoint", "Subject", "make_subject", "open_subject"]

FIRST = 1 << 29  # step of the first lesson: noise of its own, unlike any in training
LESSONS = 100  # after which a memory that forgets 2 % in each is nearly as good as it gets


class Checkpoint(NamedTuple):
    """A place in training: parameters, and what the recipe's estimator remembers there."""

    name: str
    """"start", "early", "late" or "saved"."""
    step: int
    params: tuple[Params, ...]
    memory: Any


@dataclass(frozen=True)
class Subject:
    """What estimators are compared on.

    Args:
        target: as it was named.
        recipe, settings, trainer: what it is.
        batch: inputs, as the network reads them, and targets, on the trainer's backend.
        saved: how far a saved run had come; None for a recipe.
    """

    target: str
    recipe: Recipe
    settings: Settings
    trainer: Trainer
    batch: tuple[Array, Array]
    saved: TrainState | None = None

    @property
    def network(self) -> Sequential:
        return self.trainer.network

    @property
    def loss(self) -> Loss:
        return self.trainer.loss

    @property
    def own(self) -> LikelihoodRatio:
        """The recipe's own estimator."""
        return self.trainer.estimator

    def params(self, state: TrainState) -> tuple[Params, ...]:
        """The last parameters, which are those that the estimator's memory belongs to."""
        trainer = self.trainer
        like = trainer.network.init(trainer.seed, trainer.backend, trainer.dtype)
        return unravel(state.vector, like)

    def problem(self, params: tuple[Params, ...]) -> Problem:
        """The batch and the parameters in float64 on the host."""
        inputs, target = self.batch
        labels = np.asarray(self.trainer.backend.to_host(target))
        return Problem(
            self.network,
            tuple({name: to_host(array) for name, array in theta.items()} for theta in params),
            to_host(inputs),
            labels if labels.dtype.kind in "iu" else to_host(target),
            self.loss,
        )

    def learn(
        self,
        estimator: Any,
        params: tuple[Params, ...],
        memory: Any,
        steps: int | None = None,
        course: int = 0,
    ) -> Any:
        """What an estimator remembers after some steps on training batches, parameters fixed.

        Args:
            memory: that it starts from.
            steps: how many; LESSONS unless given.
            course: number of the lessons; each has batches and noise of its own.
        """
        trainer, steps = self.trainer, LESSONS if steps is None else steps
        if isinstance(estimator, LikelihoodRatio):  # a memory that is to be had in so few steps
            estimator = replace(estimator, probe_every=1, monitor_every=1)
        inputs, targets = trainer.move(trainer.data.train)
        take, samples = trainer.backend.xp.take, inputs.shape[0]
        for step in range(FIRST + course * steps, FIRST + (course + 1) * steps):
            order = host_generator(Key(trainer.seed, Stream.SHUFFLE, step=step))
            rows = trainer.backend.asarray(order.permutation(samples)[: trainer.batch_size])
            x = trainer.encode(take(inputs, rows, axis=0))
            batch, key = (x, take(targets, rows, axis=0)), Key(trainer.seed, step=step)
            _, memory = estimator(self.network, params, batch, self.loss, key, memory)
        return memory


def open_subject(
    target: str, settings: Mapping[str, Any], samples: int, epochs: str | None = None
) -> Subject:
    """Open a recipe by name, or a saved run by the name of its file.

    Args:
        settings: any field of `nolr.recipes.Settings`, in place of the recipe's or run's own.
        samples: of the training data, the first of which are the batch.
        epochs: to train a recipe for; None for its own number.

    Raises:
        BadInput: no such recipe, an unreadable file, or an argument that cannot be used.
    """
    if samples < 1:
        raise BadInput(f"samples must be at least 1, got {samples}: 64 are a good batch")
    if Path(target).is_file():
        if epochs is not None:
            raise BadInput("epochs are of a training: leave them out for a saved run")
        run = reopen(target, settings)
        return make_subject(target, run.recipe, run.settings, run.trainer, samples, run.state)
    recipe = get_recipe(target)
    wishes = dict(settings) if epochs is None else {**settings, "epochs": epochs}
    chosen = recipe.settle(recipe.settings.with_values(wishes))
    trainer = build_trainer(chosen, recipe.build(chosen), recipe.data(chosen))
    return make_subject(target, recipe, chosen, trainer, samples)


def make_subject(
    target: str,
    recipe: Recipe,
    settings: Settings,
    trainer: Trainer,
    samples: int,
    saved: TrainState | None = None,
) -> Subject:
    """Put a subject together, with the first samples of the training data as its batch."""
    part = trainer.data.train
    inputs, targets = trainer.move(Dataset(part.inputs[:samples], part.targets[:samples]))
    return Subject(target, recipe, settings, trainer, (trainer.encode(inputs), targets), saved)
