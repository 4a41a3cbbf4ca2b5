"""Pickles of Python 2 that hold arrays, sparse matrices and lists, read without running code.

A pickle calls what it names. This reader knows seven names and refuses any other, so that a file
can make arrays, lists and numbers and nothing else.

Source: https://docs.python.org/3/library/pickle.html, "Restricting Globals".
"""

from __future__ import annotations

import collections
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from nolr.errors import BadInput

__all__ = ["StoredCSR", "unpickle"]


class StoredCSR:
    """The attributes of a pickled csr_matrix: data, indices, indptr, _shape, not yet checked.

    Not scipy's own class, because what that makes of the attributes of another age is its affair.
    """


def _dtype(name: str, align: object, copy: object) -> np.dtype:
    """numpy.dtype, which no longer takes the 0 and 1 that Python 2 stored; numbers only."""
    dtype = np.dtype(name)
    if dtype.kind not in "iufb":
        raise pickle.UnpicklingError(f"an array of {dtype} is not allowed")
    return dtype


# Everything the files name, under the paths of their time. (`_reconstruct` makes an empty array; an
# array itself says what it is called in this version of NumPy.)
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("scipy.sparse.csr", "csr_matrix"): StoredCSR,
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],  # type: ignore[dict-item]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("collections", "defaultdict"): collections.defaultdict,
    ("__builtin__", "list"): list,
    ("__builtin__", "int"): int,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names in ALLOWED and no other."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it") from None


def unpickle(content: bytes, name: str) -> Any:
    """The object in a pickle of Python 2.

    Raises:
        BadInput: it is damaged, or names anything that is not allowed.
    """
    try:
        return _Unpickler(io.BytesIO(content), fix_imports=False, encoding="latin1").load()
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
            f"cannot use {name!r}: it is not a pickle of Planetoid ({error}); get the file anew "
            "from where it is from"
        ) from None
