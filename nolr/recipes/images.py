"""The image data of the recipes: which set, which part of it, and in which units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nolr.data import Dataset, Split, load_fashion_mnist, load_mnist, split_off
from nolr.errors import BadInput
from nolr.recipes.settings import Settings
from nolr.types import Shape

__all__ = ["Images", "Standardised", "fashion_mnist", "grey", "mnist"]

Load = Callable[[Settings], tuple[Dataset, Dataset]]
"""Train and test set, as the files have them."""


@dataclass(frozen=True)
class Images:
    """A source of images and what is done to them.

    Args:
        load: reads the set.
        prepare: turns values 0..255 into what a network reads.
    """

    load: Load
    prepare: Callable[[np.ndarray], np.ndarray]

    def __call__(self, settings: Settings) -> Split:
        """The official test set; validation samples are split off the official training set."""
        train, test = (
            Dataset(self.prepare(part.inputs), part.targets) for part in self.load(settings)
        )
        train, validation = split_off(train, settings.validation_fraction, settings.seed)
        return Split(train, validation, test)


def grey(inputs: np.ndarray) -> np.ndarray:
    """Grey values 0..255 to 0..1."""
    return np.asarray(inputs, dtype=np.float32) / np.float32(255)


@dataclass(frozen=True)
class Standardised:
    """Values 0..255 to mean 0 and standard deviation 1, with an axis for the channel.

    Args:
        shape: (channels, height, width).
        mean: of every channel over the official training set, in values 0..1.
        deviation: likewise the standard deviation.
    """

    shape: Shape
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        shape = inputs.shape[1:]
        if shape != self.shape and (self.shape[0] > 1 or shape != self.shape[1:]):
            raise BadInput(
                f"expected images of shape {self.shape}, channels first, got {shape}: transpose or "
                "resize them"
            )
        images = grey(inputs).reshape(len(inputs), *self.shape)
        mean, deviation = (
            np.array(values, np.float32)[:, None, None] for values in (self.mean, self.deviation)
        )
        return (images - mean) / deviation


def mnist(settings: Settings) -> tuple[Dataset, Dataset]:
    """MNIST from the folder that the settings name."""
    return load_mnist(settings.data_dir or None)


def fashion_mnist(settings: Settings) -> tuple[Dataset, Dataset]:
    """Fashion-MNIST from the folder that the settings name."""
    return load_fashion_mnist(settings.data_dir or None)
