"""CIFAR-10: 60,000 colour images of 32 × 32 pixels in ten classes; two sets that stand in for it.

The official set comes as a binary and as a python version; either will do, in its archive or
unpacked. The other two are sets of their own: no result on them may be taken for one on CIFAR-10.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from nolr.data.archive import members
from nolr.data.cache import Arrays, cached
from nolr.data.catalogue import CATALOGUE
from nolr.data.cifar10_batches import ROW, read_pickle, read_rows
from nolr.data.cifar10_jpeg import decode_jpeg
from nolr.data.dataset import Dataset
from nolr.data.source import SourceSet
from nolr.data.store import available, locate, read_checked
from nolr.errors import BadInput, nearest

__all__ = ["load_cifar10", "read_cifar10"]

READER = 1  # another number wherever the same files would give other arrays
VARIANTS = ("cifar-10", "cifar-10-subset", "cifar-10-jpeg")
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
BATCHES = (*TRAIN, TEST)


def load_cifar10(
    folder: str | os.PathLike[str] | None = None, variant: str = "cifar-10"
) -> tuple[Dataset, Dataset]:
    """Photographs of animals and vehicles: 50,000 to train and 10,000 to test, in official order.

    The classes are nolr.data.CIFAR10_CLASSES.

    Args:
        folder: the data folder; see nolr.data.store.data_folder. The files lie in its sub-folder
            cifar-10/, or in cifar-10-batches-bin/ or cifar-10-batches-py/, in that or beside it.
        variant: "cifar-10"; or "cifar-10-subset", the first 8068 and 1017 of its images, exact; or
            "cifar-10-jpeg", all of them after lossy compression. Their files lie in folders of
            these names. Results on these two are not results on CIFAR-10.

    Returns:
        Train and test set: values 0..255, uint8, (N, 3, 32, 32); labels 0..9, int64, (N,).

    Raises:
        BadInput: there is no such variant, or a file of it is missing, truncated or altered.

    Source: A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report,
    University of Toronto, 2009.
    """
    if variant not in VARIANTS:
        raise BadInput(f"CIFAR-10 has no variant {variant!r}{nearest(variant, VARIANTS)}")
    return read_cifar10(CATALOGUE[variant], folder)


def read_cifar10(
    source: SourceSet, folder: str | os.PathLike[str] | None = None
) -> tuple[Dataset, Dataset]:
    """Train and test set of any catalogue entry in a form of CIFAR-10, through the cache.

    Raises:
        BadInput: a file is missing or altered, or not of its form.
    """
    files = available(source, folder)
    form = FORMS[files[0].name]
    if form.kept:
        arrays = cached(source, files, folder, READER, lambda: form.decode(source, folder))
    else:
        arrays = form.decode(source, folder)
    return (
        Dataset(arrays["train images"], arrays["train labels"]),
        Dataset(arrays["test images"], arrays["test labels"]),
    )


Batch = tuple[np.ndarray, np.ndarray]  # images (N, 3, 32, 32), labels (N,)


def _decode_binary_archive(source: SourceSet, folder: str | os.PathLike[str] | None) -> Arrays:
    names = {f"cifar-10-batches-bin/{batch}.bin": batch for batch in BATCHES}
    return _unpack(source, folder, "cifar-10-binary.tar.gz", names, 10_000 * ROW, read_rows)


def _decode_python_archive(source: SourceSet, folder: str | os.PathLike[str] | None) -> Arrays:
    names = {f"cifar-10-batches-py/{batch}": batch for batch in BATCHES}
    return _unpack(source, folder, "cifar-10-python.tar.gz", names, 32_000_000, read_pickle)


def _unpack(
    source: SourceSet,
    folder: str | os.PathLike[str] | None,
    archive: str,
    names: Mapping[str, str],
    longest: int,
    read: Callable[[bytes, str], Batch],
) -> Arrays:
    """All batches out of an archive, which is checked as a whole before it is opened.

    Args:
        names: the batch that each member is, by the member's name.
        longest: bytes that a member may have.
    """
    content = read_checked(source, archive, folder)
    limits = dict.fromkeys(names, longest)
    return _together(
        {
            names[member]: read(batch, f"{archive}: {member}")
            for member, batch in members(content, archive, limits)
        }
    )


def _decode_rows(source: SourceSet, folder: str | os.PathLike[str] | None) -> Arrays:
    """All batches of the binary version, unpacked."""
    batches = {}
    for batch in BATCHES:
        path = locate(source, f"{batch}.bin", folder)
        try:
            batches[batch] = read_rows(path.read_bytes(), str(path))
        except OSError as error:
            raise BadInput(
                f"cannot read {str(path)!r}: {error.strerror}: check its permissions"
            ) from None
    return _together(batches)


def _decode_pickles(source: SourceSet, folder: str | os.PathLike[str] | None) -> Arrays:
    """All batches of the python version, unpacked."""
    return _together(
        {batch: read_pickle(read_checked(source, batch, folder), batch) for batch in BATCHES}
    )


def _together(batches: Mapping[str, Batch]) -> Arrays:
    images, labels = zip(*(batches[batch] for batch in TRAIN), strict=True)
    return {
        "train images": np.concatenate(images),
        "train labels": np.concatenate(labels),
        "test images": batches[TEST][0].copy(),
        "test labels": batches[TEST][1],
    }


class Form(NamedTuple):
    """How a version of the set is decoded, and whether it is worth keeping in the cache."""

    decode: Callable[[SourceSet, str | os.PathLike[str] | None], Arrays]
    kept: bool


# By the first file of a version. Rows of bytes lie on the disk as they would in the cache.
FORMS = {
    "cifar-10-binary.tar.gz": Form(_decode_binary_archive, kept=True),
    "cifar-10-python.tar.gz": Form(_decode_python_archive, kept=True),
    "data_batch_1.bin": Form(_decode_rows, kept=False),
    "data_batch_1": Form(_decode_pickles, kept=True),
    "cifar-10-images-jpeg.tar.xz": Form(decode_jpeg, kept=True),
}
