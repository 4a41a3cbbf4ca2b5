"""The command line of the data sets: nolr data list, fetch, verify."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nolr.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from nolr.data.catalogue import SourceFile, SourceSet

__all__ = ["data"]

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder with one sub-folder a set; else NOLR_DATA, else datasets/ here.",
)


@click.group()
def data() -> None:
    """List, download and check the data sets."""


@data.command("list")
@data_dir_option
def list_sets(data_dir: Path | None) -> None:
    """List the data sets: what is there, what is missing, what is altered."""
    from rich.markup import escape
    from rich.table import Column, Table

    from nolr.data.catalogue import CATALOGUE
    from nolr.data.store import data_folder, inspect

    console = _console()
    folder = data_folder(data_dir)
    table = Table("name", "state", "files", "size", Column("folder", overflow="fold"))
    for source in CATALOGUE.values():
        states = [inspect(file, folder).state for file in source.files]
        table.add_row(
            source.name,
            next((state for state in ("altered", "missing") if state in states), "complete"),
            f"{states.count('complete')}/{len(states)}",
            _megabytes(source.size),
            escape(str(folder / source.name)),
        )
    console.print(table)


@data.command()
@click.argument("name")
@data_dir_option
def fetch(name: str, data_dir: Path | None) -> None:
    """Download the data set NAME; what is there already is kept, what broke off goes on."""
    from nolr.data.catalogue import find_set
    from nolr.data.download import fetch as download

    source = find_set(name)
    console = _console()
    with _show_download(console, source) as on_bytes:
        paths = download(source, data_dir, on_bytes)
    _say(console, f"{name} is complete in {paths[0].parent}")
    _say(console, f"licence: {source.licence}")
    _say(console, f"please cite: {source.citation}")


@data.command()
@click.argument("name")
@data_dir_option
def verify(name: str, data_dir: Path | None) -> None:
    """Compare every file of the data set NAME with its official size and sha256."""
    from nolr.data.catalogue import find_set
    from nolr.data.store import inspect

    source = find_set(name)
    console = _console()
    findings = [inspect(file, data_dir) for file in source.files]
    for finding in findings:
        problem = f": {finding.problem}" if finding.problem else ""
        _say(console, f"{finding.state:8}  {finding.path}{problem}")
    bad = sum(finding.state != "complete" for finding in findings)
    if bad:
        raise BadInput(
            f"{bad} of the {len(findings)} files of {name} are missing or altered: download them "
            f"with 'nolr data fetch {name}', or name the data folder with --data-dir or NOLR_DATA"
        )


@contextmanager
def _show_download(
    console: Console, source: SourceSet
) -> Iterator[Callable[[SourceFile, int], None]]:
    """Yield a callback for the bytes that are here: live bars, or a line a file."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    if not console.is_terminal:

        def say(file: SourceFile, count: int) -> None:
            if count == file.size:
                _say(console, f"{file.name}  {_megabytes(file.size)}")

        yield say
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with progress:
        tasks = {file: progress.add_task(file.name, total=file.size) for file in source.files}
        yield lambda file, count: progress.update(tasks[file], completed=count)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _say(console: Console, text: str) -> None:
    """Print a line as it is: a path is neither markup nor broken at the terminal's edge."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    return Console()
