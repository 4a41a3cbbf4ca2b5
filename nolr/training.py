"""Training: minibatches in an order drawn by key, one estimate and one update a step.

The trainer is a generator of states (`nolr.training_state`). A state holds everything, so whoever
drives the generator decides when to show, save or stop, and a run that starts from a saved state
goes on exactly as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, isnan
from time import perf_counter

import numpy as np

from nolr.backends import namespace
from nolr.backends.numpy import host_generator
from nolr.data.dataset import Dataset, Split
from nolr.divergence import diagnose
from nolr.errors import BadInput
from nolr.estimation.figures import Figures
from nolr.estimation.likelihood_ratio import LikelihoodRatio
from nolr.evaluation import evaluate
from nolr.network import Sequential
from nolr.optimizers import ravel, unravel
from nolr.training_state import EpochRecord, TrainState
from nolr.types import Array, Augmentation, Backend, Coding, Key, Loss, Optimizer, Params, Stream

__all__ = ["Trainer"]


@dataclass(frozen=True)
class Trainer:
    """A network, its data and how it learns; nothing in it changes.

    Args:
        network: what is trained.
        loss: one number per sample.
        estimator: where gradients come from.
        optimizer: what is done with them.
        data: on the host; moved to the backend when training starts.
        backend: where to compute.
        batch_size: samples a step; the last batch of an epoch may be smaller.
        epochs: passes over the training data.
        seed: of the initial parameters, the order of the samples and the noise.
        patience: stop when the validation score has not improved for so many epochs, and use the
            best parameters; 0 trains all epochs and uses the last.
        dtype: "float32" or "float64".
        augmentation: what is done to the inputs of every training batch; None for nothing.
        coding: how inputs become those of the network, in training and elsewhere; None as they are.

    Raises:
        BadInput: sizes below 1, or data that do not fit the network or the loss.
    """

    network: Sequential
    loss: Loss
    estimator: LikelihoodRatio
    optimizer: Optimizer
    data: Split
    backend: Backend
    batch_size: int = 32
    epochs: int = 30
    seed: int = 0
    patience: int = 0
    dtype: str = "float32"
    augmentation: Augmentation | None = None
    coding: Coding | None = None

    def __post_init__(self) -> None:
        for name, minimum in (("batch_size", 1), ("epochs", 1), ("seed", 0), ("patience", 0)):
            if (value := getattr(self, name)) < minimum:
                raise BadInput(f"{name} must be at least {minimum}, got {value}")
        for name in ("train", "validation", "test"):
            part: Dataset = getattr(self.data, name)
            shape = part.inputs.shape[1:]
            coded = shape if self.coding is None else self.coding.output_shape(shape)
            if coded != self.network.input_shape and coded != shape:
                raise BadInput(
                    f"the network expected samples of shape {self.network.input_shape}, but the "
                    f"coding makes {coded} of them: match its time steps, or leave the coding out "
                    "where a network reads numbers"
                )
            if coded != self.network.input_shape:
                raise BadInput(
                    f"the network expected samples of shape {self.network.input_shape}, but the "
                    f"{name} data have shape {shape}: reshape them"
                )
            self.loss.check(part.targets, self.network.output_shape)

    def init(self) -> TrainState:
        """The state before the first step."""
        params = self.network.init(self.seed, self.backend, self.dtype)
        vector = ravel(params)
        return TrainState(
            vector=vector,
            optimizer=self.optimizer.init(vector),
            estimator=self.estimator.init(self.network, params, self.loss),
            best_vector=vector,
        )

    def params(self, state: TrainState) -> tuple[Params, ...]:
        """The parameters to use, layer by layer: with patience the best, else the last."""
        return unravel(state.best_vector if self.patience else state.vector, self._like())

    def _like(self) -> tuple[Params, ...]:
        """Parameters of the right shapes."""
        return self.network.init(self.seed, self.backend, self.dtype)

    def move(self, data: Dataset) -> tuple[Array, Array]:
        """Copy inputs and targets to the backend, in the dtypes that training uses."""
        inputs = self.backend.asarray(data.inputs, self.dtype)
        targets = data.targets
        classes = targets.dtype.kind in "iu"
        return inputs, self.backend.asarray(targets, "int64" if classes else self.dtype)

    def encode(self, inputs: Array, start: int = 0) -> Array:
        """What the network reads of samples that are not trained on, always the same.

        Args:
            start: number of the first of these samples.
        """
        if self.coding is None:
            return inputs
        return self.coding(inputs, Key(self.seed, Stream.CODE, stage=1, block=start))

    def finished(self, state: TrainState) -> bool:
        """Whether there is nothing left to do."""
        waited = state.epoch - state.best_epoch
        return state.epoch >= self.epochs or 0 < self.patience <= waited

    def run(self, state: TrainState) -> Iterator[TrainState]:
        """Train from a state on, yielding the state after every step.

        Raises:
            Diverged: the loss or a parameter is no longer finite. The last state yielded before
                is good.
        """
        like = self._like()
        data = self.data
        inputs, targets = self.move(data.train)
        watched = self.move(data.validation)
        samples = len(data.train)
        while not self.finished(state):
            key = Key(self.seed, Stream.SHUFFLE, step=state.epoch)
            order = self.backend.asarray(host_generator(key).permutation(samples))
            for start in range(state.position, samples, self.batch_size):
                clock = perf_counter()
                rows = order[start : min(start + self.batch_size, samples)]
                take = self.backend.xp.take
                batch = take(inputs, rows, axis=0), take(targets, rows, axis=0)
                state, info = self._step(state, like, batch)
                if state.position == samples:
                    state = self._finish_epoch(state, like, watched, info, clock)
                self.backend.synchronize()
                state = state._replace(train_seconds=state.train_seconds + perf_counter() - clock)
                yield state

    def _step(
        self, state: TrainState, like: tuple[Params, ...], batch: tuple[Array, Array]
    ) -> tuple[TrainState, Figures]:
        """One estimate, one update."""
        key = Key(self.seed, Stream.NOISE, step=state.step)
        params = unravel(state.vector, like)
        if self.augmentation is not None:
            inputs = self.augmentation(batch[0], key._replace(stream=Stream.AUGMENT))
            batch = inputs, batch[1]
        if self.coding is not None:
            batch = self.coding(batch[0], key._replace(stream=Stream.CODE)), batch[1]
        with np.errstate(all="ignore"):  # what is not finite is reported below, with its step
            estimate, estimator = self.estimator(
                self.network, params, batch, self.loss, key, state.estimator
            )
            vector, optimizer = self.optimizer.update(
                ravel(estimate.grads), state.optimizer, state.vector, state.step
            )
            loss = float(estimate.loss)
            finite = isfinite(loss) and _is_finite(vector)
        if not finite:
            raise diagnose(self.network, params, batch[0], estimate, state.step)
        samples = batch[0].shape[0]
        state = state._replace(
            vector=vector,
            optimizer=optimizer,
            estimator=estimator,
            step=state.step + 1,
            position=state.position + samples,
            loss_sum=state.loss_sum + loss * samples,
            forward_passes=state.forward_passes + samples * estimate.info.forward_passes,
        )
        return state, estimate.info

    def _finish_epoch(
        self,
        state: TrainState,
        like: tuple[Params, ...],
        watched: tuple[Array, Array],
        info: Figures,
        clock: float,
    ) -> TrainState:
        """Look at the validation data and write a row of the history."""
        loss, accuracy = evaluate(
            self.network, unravel(state.vector, like), *watched, self.loss, self.encode
        )
        epoch = state.epoch + 1
        record = EpochRecord(
            epoch=epoch,
            loss=state.loss_sum / state.position,
            validation_loss=loss,
            validation_accuracy=accuracy,
            train_seconds=state.train_seconds + perf_counter() - clock,
            stages=info.stages,
        )
        score = -loss if isnan(accuracy) else accuracy
        if score > state.best_score:
            state = state._replace(best_vector=state.vector, best_score=score, best_epoch=epoch)
        return state._replace(
            epoch=epoch, position=0, loss_sum=0.0, history=(*state.history, record)
        )


def _is_finite(vector: Array) -> bool:
    """Whether all entries are, and their sum: a sum of squares says so in less than half the time.

    Squares can be too large where the entries are not.
    """
    xp = namespace(vector)
    return isfinite(float(xp.vecdot(vector, vector))) or isfinite(float(xp.sum(vector)))
