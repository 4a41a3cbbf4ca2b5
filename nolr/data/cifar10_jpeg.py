"""CIFAR-10 as a collection of JPEG files, which are smaller than the official images and not equal.

    cifar-10-images-jpeg.tar.xz     PART/CLASS/NUMBER.jpg, 32 × 32, numbered from 0000 in a class
    PART-labels-official-order.u8   a byte an image, in the official order

The k-th image of a class in the official order is the file of number k, so the labels give the
official order back.
"""

from __future__ import annotations

import io
import os

import numpy as np

from nolr.data.archive import members
from nolr.data.cache import Arrays
from nolr.data.cifar10_batches import CIFAR10_CLASSES, IMAGE, check_labels
from nolr.data.source import SourceSet
from nolr.data.store import read_checked
from nolr.errors import BadInput

__all__ = ["decode_jpeg"]

ARCHIVE = "cifar-10-images-jpeg.tar.xz"
LARGEST = 8192  # bytes of a file; those of 32 × 32 pixels have about 900
PARTS = ("train", "test")


def decode_jpeg(source: SourceSet, folder: str | os.PathLike[str] | None) -> Arrays:
    """Images, uint8 (N, 3, 32, 32), and labels, int64 (N,), of train and test.

    Raises:
        BadInput: a file is missing, altered, or not of this form.
    """
    arrays, rows = {}, {}
    for part in PARTS:
        name = f"{part}-labels-official-order.u8"
        labels = check_labels(np.frombuffer(read_checked(source, name, folder), np.uint8), name)
        arrays[f"{part} labels"] = labels
        arrays[f"{part} images"] = images = np.empty((len(labels), *IMAGE), np.uint8)
        for label, kind in enumerate(CIFAR10_CLASSES):
            for number, row in enumerate(np.flatnonzero(labels == label)):
                rows[f"{part}/{kind}/{number:04d}.jpg"] = images[row]
    packed = read_checked(source, ARCHIVE, folder)
    for name, content in members(packed, ARCHIVE, dict.fromkeys(rows, LARGEST)):
        rows[name][:] = _pixels(content, name)
    return arrays


def _pixels(content: bytes, name: str) -> np.ndarray:
    """Red, green and blue values (3, 32, 32) of a JPEG file."""
    from PIL import Image

    height, width = IMAGE[1:]
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size == (width, height) and image.mode == "RGB":
                return np.asarray(image).transpose(2, 0, 1)
            found = f"{image.mode} of {image.width} × {image.height}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        found = str(error)
    raise BadInput(
        f"cannot use {name!r} in {ARCHIVE!r}: expected a JPEG file, RGB of {width} × {height}, got "
        f"{found}; get the archive anew from where it is from"
    )
