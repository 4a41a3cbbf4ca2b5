"""Convolutional classifiers, their Jacobians learned from noise in blocks of pixels."""

from __future__ import annotations

from dataclasses import replace

from nolr.activations import identity
from nolr.data import Dataset, load_cifar10
from nolr.errors import BadInput
from nolr.layers import AvgPool2D, Conv2D, Dense, Flatten, MaxPool2D
from nolr.network import Residual, Sequential
from nolr.recipes.images import Images, Standardised, fashion_mnist, mnist
from nolr.recipes.recipe import Recipe
from nolr.recipes.settings import Settings, keep_default
from nolr.recipes.variants import first_at_hand

__all__ = ["CIFAR10_CONV", "FASHION_CONV", "MNIST_CONV"]


def _channels(settings: Settings) -> tuple[int, ...]:
    keep_default(settings, "activation", "on these convolutions, which are ReLU throughout")
    if len(settings.hidden) != 3:
        raise BadInput(
            f"a convolutional recipe has three numbers of channels, got hidden={settings.hidden}"
        )
    return settings.hidden


def _three_convolutions(settings: Settings) -> Sequential:
    first, second, third = _channels(settings)
    return Sequential(
        Conv2D(1, first, padding=1),
        MaxPool2D(2),
        Conv2D(first, second, padding=1),
        MaxPool2D(2),
        Conv2D(second, third, padding=1),
        Flatten(),
        Dense(third * 7 * 7, 10, identity),
        input_shape=(1, 28, 28),
    )


def _resnet5(settings: Settings) -> Sequential:
    """Four convolutions, the last with a skip connection, and a dense layer."""
    first, second, third = _channels(settings)
    return Sequential(
        Conv2D(3, first, padding=1),
        Conv2D(first, second, padding=1),
        MaxPool2D(2),
        Conv2D(second, third, padding=1),
        Residual(Conv2D(third, third, padding=1)),
        AvgPool2D(4),
        Flatten(),
        Dense(third * 4 * 4, 10, identity),
        input_shape=(3, 32, 32),
    )


def _cifar10(settings: Settings) -> tuple[Dataset, Dataset]:
    return load_cifar10(settings.data_dir or None, settings.variant)


# Means and deviations over the official training sets, in grey values 0..1.
MNIST = Standardised((1, 28, 28), (0.1307,), (0.3081,))
FASHION = Standardised((1, 28, 28), (0.2860,), (0.3530,))
CIFAR10 = Standardised((3, 32, 32), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

MNIST_CONV = Recipe(
    name="mnist-conv",
    summary="MNIST, three convolutions 1-8-16-32 and a dense layer: 99.0 % in four minutes",
    settings=Settings(
        hidden=(8, 16, 32),
        threads=1,
        workers=2,
        sigma=0.3,
        residual=0.0,
        forgetting=0.95,
        ridge=0.05,
        probe="block",
        probe_every=4,
        learning_rate=2e-3,
        learning_rate_schedule="cosine",
        batch_size=128,
        validation_fraction=0.05,
        epochs=8,
    ),
    data=Images(mnist, MNIST),
    prepare=MNIST,
    build=_three_convolutions,
)

FASHION_CONV = replace(
    MNIST_CONV,
    name="fashion-conv",
    summary="Fashion-MNIST, three convolutions 1-8-16-32, dense: 89.7 % in two minutes",
    data=Images(fashion_mnist, FASHION),
    prepare=FASHION,
)

CIFAR10_CONV = replace(
    MNIST_CONV,
    name="cifar10-conv",
    settings=replace(
        MNIST_CONV.settings,
        sampler="independent",  # two copies, not a pair: each is compared with the clean run
        probe_sigma=0.03,  # hardly any curvature is left for a pair to cancel
        leak=0.3,  # something stays known of units that close early on
        forgets="by-evidence",
        forgetting=0.92,
        forgetting_last=0.995,
        context=5120,
        probe_every=1,
        learning_rate=3e-3,
        batch_size=64,
        epochs=12,
    ),
    summary="CIFAR-10, or the copy at hand, ResNet-5: 70.5 % on the JPEG copy in 21 minutes",
    data=Images(_cifar10, CIFAR10),
    prepare=CIFAR10,
    build=_resnet5,
    settle=first_at_hand("cifar-10", "cifar-10-jpeg", "cifar-10-subset"),
)
