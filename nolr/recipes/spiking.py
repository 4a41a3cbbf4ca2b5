"""Spiking classifiers: leaky integrate-and-fire layers, trained through their noise.

Direct coding: the image is a constant current into the first layer; with --set coding=poisson its
pixels spike at random instead. The answer is the mean current into the output neurons.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from nolr.activations import identity
from nolr.errors import BadInput
from nolr.layers import LIF, Dense, Flatten, MeanOverTime
from nolr.network import Sequential
from nolr.recipes.images import Images, fashion_mnist, grey, mnist
from nolr.recipes.recipe import Recipe
from nolr.recipes.settings import Settings, keep_default

__all__ = ["FASHION_SPIKING", "MNIST_SPIKING"]


def _build(settings: Settings) -> Sequential:
    if not settings.hidden:
        raise BadInput("a spiking recipe needs at least one layer of neurons, got hidden=()")
    keep_default(settings, "activation", "on neurons that spike at a threshold")
    sizes, direct = (784, *settings.hidden), settings.coding == "direct"
    layers = [
        LIF(a, b, steps=settings.time_steps if direct and not index else None)
        for index, (a, b) in enumerate(pairwise(sizes))
    ]
    readout = MeanOverTime(), Dense(sizes[-1], 10, identity)
    if direct:
        return Sequential(Flatten(), *layers, *readout, input_shape=(28, 28))
    return Sequential(*layers, *readout, input_shape=(settings.time_steps, 784))


MNIST_SPIKING = Recipe(
    name="mnist-spiking",
    summary="MNIST, spiking LIF 784-256-128-10, 8 time steps: 98.1 % in 45 s",
    settings=Settings(
        hidden=(256, 128),
        time_steps=8,
        sigma=0.5,
        residual=0.0,
        probe_every=8,
        learning_rate=2e-3,
        learning_rate_schedule="cosine",
        batch_size=128,
        validation_fraction=0.05,
        dropout=0.2,
        epochs=12,
    ),
    data=Images(mnist, grey),
    prepare=grey,
    build=_build,
)

FASHION_SPIKING = replace(
    MNIST_SPIKING,
    name="fashion-spiking",
    summary="Fashion-MNIST, spiking LIF 784-256-128-10, 8 time steps: 88.4 % in 41 s",
    settings=replace(MNIST_SPIKING.settings, dropout=0.0),
    data=Images(fashion_mnist, grey),
)
