"""MNIST and Fashion-MNIST: two sets of one form, 70,000 grey images of 28 × 28 pixels."""

from __future__ import annotations

import os

import numpy as np

from nolr.data.cache import Arrays, cached
from nolr.data.catalogue import CATALOGUE
from nolr.data.dataset import Dataset
from nolr.data.idx import read_idx
from nolr.data.source import SourceSet
from nolr.data.store import locate
from nolr.errors import BadInput

__all__ = ["load_fashion_mnist", "load_mnist", "read_images"]

READER = 1  # another number wherever the same files would give other arrays


def load_mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Handwritten digits: 60,000 to train and 10,000 to test, in the official order.

    Args:
        folder: the data folder, which has a sub-folder mnist/; see nolr.data.store.data_folder.

    Returns:
        Train and test set: grey values 0..255, uint8, (N, 28, 28); labels 0..9, int64, (N,).

    Raises:
        BadInput: a file is missing, truncated or altered.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document
    recognition, Proceedings of the IEEE 86(11), 1998.
    """
    return read_images(CATALOGUE["mnist"], folder)


def load_fashion_mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Articles of clothing: 60,000 to train and 10,000 to test, in the official order.

    Labels: 0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker,
    8 bag, 9 ankle boot.

    Args:
        folder: the data folder, which has a sub-folder fashion-mnist/; see
            nolr.data.store.data_folder.

    Returns:
        Train and test set: grey values 0..255, uint8, (N, 28, 28); labels 0..9, int64, (N,).

    Raises:
        BadInput: a file is missing, truncated or altered.

    Source: H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking
    Machine Learning Algorithms, arXiv:1708.07747, 2017.
    """
    return read_images(CATALOGUE["fashion-mnist"], folder)


def read_images(
    source: SourceSet, folder: str | os.PathLike[str] | None = None
) -> tuple[Dataset, Dataset]:
    """Train and test set of any catalogue entry with the four files of MNIST, through the cache.

    Images stay uint8: as float32 they would fill four times the memory, and whoever scales them
    needs the original units.

    Raises:
        BadInput: a file is missing or altered, or does not hold images, or labels for them.
    """
    parts = cached(source, source.files, folder, READER, lambda: _decode(source, folder))
    return (
        Dataset(parts["train images"], parts["train labels"]),
        Dataset(parts["t10k images"], parts["t10k labels"]),
    )


def _decode(source: SourceSet, folder: str | os.PathLike[str] | None) -> Arrays:
    arrays = {}
    for part in ("train", "t10k"):
        arrays[f"{part} images"] = _read(source, f"{part}-images-idx3-ubyte.gz", 3, folder)
        labels = _read(source, f"{part}-labels-idx1-ubyte.gz", 1, folder)
        arrays[f"{part} labels"] = labels.astype(np.int64)
    return arrays


def _read(
    source: SourceSet, name: str, rank: int, folder: str | os.PathLike[str] | None
) -> np.ndarray:
    path = locate(source, name, folder)
    array = read_idx(path)
    if array.ndim != rank or array.dtype != np.uint8:
        raise BadInput(
            f"{str(path)!r} must hold uint8 of {rank} dimensions, got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array
