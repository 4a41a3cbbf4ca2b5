"""The batches that CIFAR-10 is published in: rows of bytes, or pickles of Python 2.

    binary version    rows of 3073 bytes: the label, then 1024 red, 1024 green and 1024 blue values
    python version    a dictionary: `data`, uint8 (N, 3072), the values in the same order; `labels`,
                      a list of N integers; and names, which are not needed

Both have images of 32 × 32 pixels row by row.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Dataset layout".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nolr.data.python2_pickle import ARRAYS, PickleFormat
from nolr.errors import BadInput

__all__ = ["CIFAR10_CLASSES", "IMAGE", "ROW", "check_labels", "read_pickle", "read_rows"]

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
IMAGE = (3, 32, 32)  # channels red, green, blue; rows; columns
ROW = 1 + 3 * 32 * 32  # bytes

PICKLES = PickleFormat("CIFAR-10", ARRAYS)


def read_rows(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 3, 32, 32), and labels, int64 (N,), of a batch of the binary version.

    The number of rows is taken from the size: a batch need not have 10,000.

    Args:
        name: of the file, for errors.

    Raises:
        BadInput: the size is not that of whole rows, or a label is none of the ten.
    """
    count, rest = divmod(len(content), ROW)
    if rest or not count:
        raise _unusable(name, f"rows of {ROW} bytes", f"{len(content)} bytes")
    rows = np.frombuffer(content, np.uint8).reshape(count, ROW)
    return rows[:, 1:].reshape(count, *IMAGE), check_labels(rows[:, 0], name)


def read_pickle(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 3, 32, 32), and labels, int64 (N,), of a batch of the python version.

    Args:
        content: compared with a checksum before, because it is a pickle.
        name: of the file, for errors.

    Raises:
        BadInput: it is not such a pickle, or a label is none of the ten.
    """
    batch = PICKLES.load(content, name)
    if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
        raise _unusable(name, "a dictionary with data and labels", type(batch).__name__)
    images, labels = batch["data"], batch["labels"]
    if not (
        isinstance(images, np.ndarray)
        and images.dtype == np.uint8
        and images.ndim == 2
        and images.shape[0] > 0
        and images.shape[1] == ROW - 1
    ):
        raise _unusable(name, f"data of uint8 (N, {ROW - 1})", _in_words(images))
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise _unusable(name, "labels as a list of integers", _in_words(labels))
    if len(labels) != len(images):
        raise _unusable(name, f"{len(images)} labels, as data has rows", str(len(labels)))
    return images.reshape(-1, *IMAGE), check_labels(np.array(labels), name)


def check_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """The labels as int64.

    Raises:
        BadInput: one is none of the ten.
    """
    wrong = labels[(labels < 0) | (labels >= len(CIFAR10_CLASSES))]
    if len(wrong):
        raise _unusable(name, f"labels from 0 to {len(CIFAR10_CLASSES) - 1}", str(wrong[0]))
    return labels.astype(np.int64)


def _in_words(stored: Any) -> str:
    """What came, on one line."""
    if isinstance(stored, np.ndarray):
        return f"{stored.dtype} {stored.shape}"
    if isinstance(stored, list):
        return f"a list of {', '.join(sorted({type(entry).__name__ for entry in stored}))}"
    return type(stored).__name__


def _unusable(name: str, expected: str, got: str) -> BadInput:
    return BadInput(
        f"cannot use {name!r}: it is not a batch of CIFAR-10: expected {expected}, got {got}; get "
        "the file anew from where it is from"
    )
