"""Recipes on MNIST: dense, spiking, and a recurrent network that reads an image row by row."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from nolr.activations import identity
from nolr.data import Dataset, Split, load_mnist, split_off
from nolr.errors import BadInput
from nolr.layers import LIF, Dense, Flatten, MeanOverTime, SimpleRNN
from nolr.network import Sequential
from nolr.recipes.dense import dense_layers
from nolr.recipes.recipe import Recipe
from nolr.recipes.settings import Settings

__all__ = ["MNIST_DENSE", "MNIST_ROWS_RECURRENT", "MNIST_SPIKING"]


def _data(settings: Settings) -> Split:
    """The official test set; validation samples are split off the official training set."""
    train, test = (
        Dataset(_prepare(part.inputs), part.targets)
        for part in load_mnist(settings.data_dir or None)
    )
    train, validation = split_off(train, settings.validation_fraction, settings.seed)
    return Split(train, validation, test)


def _prepare(inputs: np.ndarray) -> np.ndarray:
    """Grey values 0..255 to 0..1."""
    return np.asarray(inputs, dtype=np.float32) / np.float32(255)


def _dense(settings: Settings) -> Sequential:
    return Sequential(Flatten(), *dense_layers(784, 10, settings), input_shape=(28, 28))


def _spiking(settings: Settings) -> Sequential:
    """Direct coding: the image is a constant current; the readout is the mean current."""
    sizes = (784, *settings.hidden)
    first, *later = [
        LIF(a, b, steps=settings.time_steps if a == 784 else None) for a, b in pairwise(sizes)
    ]
    return Sequential(
        Flatten(),
        first,
        *later,
        MeanOverTime(),
        Dense(sizes[-1], 10, identity),
        input_shape=(28, 28),
    )


def _recurrent(settings: Settings) -> Sequential:
    if len(settings.hidden) != 1:
        raise BadInput(f"mnist-rows-recurrent has one hidden layer, got hidden={settings.hidden}")
    units = settings.hidden[0]
    return Sequential(SimpleRNN(28, units), Dense(units, 10, identity), input_shape=(28, 28))


COMMON = Settings(
    learning_rate=2e-3,
    learning_rate_schedule="cosine",
    batch_size=128,
    validation_fraction=0.05,
)

MNIST_DENSE = Recipe(
    name="mnist-dense",
    summary="MNIST, dense 784-256-128-10 ReLU: 98.2 % in 7 s",
    settings=replace(
        COMMON,
        hidden=(256, 128),
        probe_every=2,
        epochs=10,
    ),
    data=_data,
    prepare=_prepare,
    build=_dense,
)

MNIST_SPIKING = Recipe(
    name="mnist-spiking",
    summary="MNIST, spiking LIF 784-256-128-10, 6 time steps: 97.8 % in 27 s",
    settings=replace(
        COMMON,
        hidden=(256, 128),
        sigma=0.5,
        residual=0.0,
        probe_every=2,
        epochs=8,
    ),
    data=_data,
    prepare=_prepare,
    build=_spiking,
)

MNIST_ROWS_RECURRENT = Recipe(
    name="mnist-rows-recurrent",
    summary="MNIST row by row, SimpleRNN of 128 units: 94.2 % in 50 s",
    settings=replace(
        COMMON,
        hidden=(128,),
        activation="tanh",
        sigma=0.2,
        residual=0.0,
        forgetting=0.998,
        epochs=10,
    ),
    data=_data,
    prepare=_prepare,
    build=_recurrent,
)
