"""A run is one HDF5 file: configuration, state, history.

    /                attributes: format, version, configuration (JSON), versions (JSON)
    /state/...       a dataset for every array or number of the training state, by its path
    /history/...     a column per figure, a row per epoch; stages/... have a column per stage

The file is replaced atomically, so whatever happens, the last saved state is readable.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from nolr.errors import BadInput
from nolr.estimation.figures import StageFigures
from nolr.files import write_atomically
from nolr.training_state import EpochRecord, TrainState
from nolr.types import Backend

__all__ = ["RunFile", "read_run", "write_run"]

FORMAT, VERSION = "nolr-run", 3


class RunFile(NamedTuple):
    """What a run file holds, all on the host."""

    configuration: dict[str, Any]
    arrays: dict[str, np.ndarray]
    """The state by path; `restore` puts it back in shape."""
    history: tuple[EpochRecord, ...]

    def restore(self, template: TrainState, backend: Backend) -> TrainState:
        """Return the saved state, in the structure of `template` and on `backend`.

        Raises:
            BadInput: the file lacks something, or a shape differs.
        """
        state = _fill(template._replace(history=()), self.arrays, "state", backend)
        return state._replace(history=self.history)


def write_run(
    path: Path,
    configuration: Mapping[str, Any],
    versions: Mapping[str, str],
    state: TrainState,
    backend: Backend,
) -> None:
    """Write a run file, replacing the one that is there."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs.update(
            format=FORMAT,
            version=VERSION,
            configuration=json.dumps(configuration),
            versions=json.dumps(versions),
        )
        for name, leaf in _leaves(state._replace(history=()), "state"):
            number = isinstance(leaf, int | float)
            file[name] = np.asarray(leaf if number else backend.to_host(leaf))
        for name, column in _columns(state.history):
            file[f"history/{name}"] = column
    write_atomically(path, memory.getvalue())


def read_run(path: Path) -> RunFile:
    """Read a run file.

    Raises:
        BadInput: there is no such file, or it is not one of ours, or it is damaged.
    """
    try:
        if not path.is_file():
            raise BadInput(f"there is no run file {str(path)!r}: train one with 'nolr train'")
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise BadInput(
                    f"{str(path)!r} is an HDF5 file, but not a run of nolr: give a file that "
                    "'nolr train' has written"
                )
            if file.attrs["version"] != VERSION:
                raise BadInput(
                    f"{str(path)!r} has version {file.attrs['version']} of the run format, this "
                    f"nolr reads version {VERSION}: use the nolr that wrote it"
                )
            found: dict[str, np.ndarray] = {}
            file.visititems(
                lambda name, item: (
                    found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
                )
            )
            return RunFile(
                json.loads(file.attrs["configuration"]),
                {name: array for name, array in found.items() if name.startswith("state/")},
                _records(found),
            )
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{str(path)!r} cannot be read as a run file ({error}): it is damaged, or not HDF5"
        ) from None


def _children(tree: Any) -> Iterator[tuple[str, Any]] | None:
    """Name the parts of a tuple, named tuple or dict; None for a leaf."""
    if isinstance(tree, dict):
        return iter(sorted(tree.items()))
    if isinstance(tree, tuple):
        names = getattr(tree, "_fields", range(len(tree)))
        return ((str(name), part) for name, part in zip(names, tree, strict=True))
    return None


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = _children(tree)
    if children is None:
        yield path, tree
    else:
        for name, part in children:
            yield from _leaves(part, f"{path}/{name}")


def _fill(template: Any, arrays: Mapping[str, np.ndarray], path: str, backend: Backend) -> Any:
    children = _children(template)
    if children is not None:
        parts = {name: _fill(part, arrays, f"{path}/{name}", backend) for name, part in children}
        if isinstance(template, dict):
            return parts
        fields = getattr(template, "_fields", None)
        return type(template)(**parts) if fields else tuple(parts.values())
    if path not in arrays:
        raise BadInput(f"the run file lacks {path!r}: it is damaged, or was edited")
    array = np.asarray(arrays[path])
    if isinstance(template, int | float):
        return type(template)(array)
    if array.dtype.kind != "f":
        raise BadInput(f"the run file holds {path!r} as {array.dtype}, not as numbers")
    if array.shape != tuple(template.shape):
        raise BadInput(
            f"the run file holds {path!r} with shape {array.shape}, but the network needs "
            f"{tuple(template.shape)}: it was saved with other settings"
        )
    return backend.asarray(array)


def _columns(history: tuple[EpochRecord, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for name in EpochRecord._fields:
        if name != "stages":
            yield name, np.array([getattr(record, name) for record in history], dtype=float)
    for name in StageFigures._fields:
        rows = [[getattr(stage, name) for stage in record.stages] for record in history]
        yield f"stages/{name}", np.array(rows, dtype=float)


def _records(found: Mapping[str, np.ndarray]) -> tuple[EpochRecord, ...]:
    epochs = found["history/epoch"]
    records = []
    for row in range(len(epochs)):
        figures = {
            name: found[f"history/stages/{name}"][row].tolist() for name in StageFigures._fields
        }
        stages = tuple(
            StageFigures(**dict(zip(figures, values, strict=True)))
            for values in zip(*figures.values(), strict=True)
        )
        numbers = {
            name: float(found[f"history/{name}"][row])
            for name in EpochRecord._fields
            if name not in ("epoch", "stages")
        }
        records.append(EpochRecord(epoch=int(epochs[row]), stages=stages, **numbers))
    return tuple(
        record._replace(
            stages=tuple(stage._replace(copies=int(stage.copies)) for stage in record.stages)
        )
        for record in records
    )
