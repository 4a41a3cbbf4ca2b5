"""Pickles of Python 2 that hold arrays and plain objects, read without running code.

A pickle calls what it names. So every format lists the names that its files need, and any other is
refused: a file can then make arrays, lists and numbers and nothing else.

Source: https://docs.python.org/3/library/pickle.html, "Restricting Globals".
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nolr.errors import BadInput

__all__ = ["ARRAYS", "PickleFormat"]


def _dtype(name: str, align: object, copy: object) -> np.dtype:
    """numpy.dtype, which no longer takes the 0 and 1 that Python 2 stored; numbers only."""
    dtype = np.dtype(name)
    if dtype.kind not in "iufb":
        raise pickle.UnpicklingError(f"an array of {dtype} is not allowed")
    return dtype


# What an array of numbers names, under the paths of its time. (`_reconstruct` makes an empty array;
# an array itself says what it is called in this version of NumPy.)
ARRAYS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],  # type: ignore[dict-item]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
}


@dataclass(frozen=True)
class PickleFormat:
    """The pickles of one publisher.

    Attributes:
        publisher: as errors name it.
        allowed: the names, (module, name), that they may use, and what stands for each.
    """

    publisher: str
    allowed: Mapping[tuple[str, str], Callable[..., Any]]

    def load(self, content: bytes, name: str) -> Any:
        """The object in a pickle.

        Args:
            name: of the file, for errors.

        Raises:
            BadInput: it is damaged, or names anything that is not allowed.
        """
        try:
            return _Unpickler(content, self.allowed).load()
        except (
            pickle.UnpicklingError,
            ArithmeticError,
            AttributeError,
            EOFError,
            LookupError,
            MemoryError,
            TypeError,
            ValueError,
        ) as error:
            raise BadInput(
                f"cannot use {name!r}: it is not a pickle of {self.publisher} ({error}); get the "
                "file anew from where it is from"
            ) from None


class _Unpickler(pickle.Unpickler):
    """Knows the names it is given and no other."""

    def __init__(
        self, content: bytes, allowed: Mapping[tuple[str, str], Callable[..., Any]]
    ) -> None:
        super().__init__(io.BytesIO(content), fix_imports=False, encoding="latin1")
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it") from None
