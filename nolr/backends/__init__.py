"""Backends: where arrays live. The array says which one; there is no global switch.

`get_backend(name)` is for the boundary, where a user names a backend. Library code asks the
array itself, through `namespace(array)` or `backend_of(array)`.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from nolr.errors import BadInput, nearest
from nolr.types import Array, Backend

__all__ = [
    "NAMES",
    "backend_of",
    "find_backends",
    "get_backend",
    "itemsize",
    "namespace",
    "same_backend",
]

LIBRARIES = {
    "numpy": "numpy",
    "cupy": "cupy",
    "torch": "torch",
    "array-api-strict": "array_api_strict",
}
NAMES = tuple(LIBRARIES)


@cache
def get_backend(name: str) -> Backend:
    """Look a backend up by name, importing its library only now.

    Raises:
        BadInput: unknown name, library not installed, or no usable GPU.

    >>> get_backend("numpy").name
    'numpy'
    """
    if name not in NAMES:
        raise BadInput(f"there is no backend {name!r}{nearest(name, NAMES)}")
    if name == "numpy":
        from nolr.backends.numpy import NumpyBackend

        return NumpyBackend()
    if name == "cupy":
        from nolr.backends.cupy import open_cupy

        return open_cupy()
    from nolr.backends.array_api import ArrayApiBackend

    library = LIBRARIES[name]
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise BadInput(
            f"backend {name!r} needs the package {library!r}, which cannot be imported "
            f"({error}): run 'pip install {name}' or choose --backend numpy"
        ) from None
    return ArrayApiBackend(name)


_namespaces: dict[type, Any] = {}


def namespace(array: Array) -> Any:
    """Return the array-API namespace of an array.

    The same as array_api_compat's `array_namespace`, remembered by type: a training step on a
    small network asks some fifty times, which would take a tenth of its time.

    Raises:
        BadInput: the object is not an array of a known backend.
    """
    kind = type(array)
    if kind not in _namespaces:
        _namespaces[kind] = _find_namespace(array)
    return _namespaces[kind]


def _find_namespace(array: Array) -> Any:
    try:
        return array_namespace(array)
    except TypeError:
        raise BadInput(
            f"expected an array of one of the backends {', '.join(NAMES)}, got "
            f"{type(array).__name__}: convert it with get_backend(...).asarray(...)"
        ) from None


def backend_of(array: Array) -> Backend:
    """Return the backend an array lives on.

    Raises:
        BadInput: the object is not an array of a known backend.
    """
    return _by_module(namespace(array).__name__)


@cache
def _by_module(module: str) -> Backend:
    library = module.removeprefix("array_api_compat.").split(".")[0]
    return get_backend(library.replace("_", "-"))


def itemsize(dtype: Any) -> int:
    """How many bytes an entry of an array takes, on any backend.

    By name: every library spells its dtypes as NumPy does, torch.float32 for one, but not all of
    them tell the size.

    >>> itemsize(np.dtype("float32"))
    4
    """
    return np.dtype(str(dtype).rpartition(".")[2]).itemsize


def same_backend(**arrays: Array) -> Backend:
    """Return the one backend that all named arrays share.

    Raises:
        BadInput: they do not share one; the message names the odd array and the fix.
    """
    (first, reference), *others = arrays.items()
    backend = backend_of(reference)
    for name, array in others:
        if namespace(array) is not namespace(reference):
            raise BadInput(
                f"{name} is an array of {backend_of(array).name!r} but {first} is one of "
                f"{backend.name!r}: move it with "
                f"get_backend({backend.name!r}).asarray(get_backend("
                f"{backend_of(array).name!r}).to_host({name}))"
            )
    return backend


def find_backends() -> dict[str, str]:
    """Say of every backend whether it can be used here: its version, or why not."""
    found = {}
    for name in NAMES:
        try:
            backend = get_backend(name)
        except BadInput as error:
            found[name] = f"not available: {error}"
        else:
            library = importlib.import_module(LIBRARIES[backend.name])
            found[name] = f"available, version {library.__version__}"
            if backend.device != "host":
                found[name] += f", on {backend.device}"
    return found
