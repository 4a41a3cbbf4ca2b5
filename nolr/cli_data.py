"""The command line of the data sets: nolr data list, fetch, verify."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nolr.cli_console import open_console
from nolr.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from nolr.data.source import SourceFile

__all__ = ["data"]

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder with one sub-folder a set; else NOLR_DATA, else datasets/ here.",
)


@click.group()
def data() -> None:
    """List, download and check the data sets.

    What a reader has decoded is kept in the folder NOLR_CACHE, else in the user's cache folder, and
    is read from there the next time; it may be deleted at any time.
    """


@data.command("list")
@data_dir_option
def list_sets(data_dir: Path | None) -> None:
    """List the data sets: what is there, what is missing, what is altered."""
    from rich.markup import escape
    from rich.table import Column, Table

    from nolr.data.catalogue import CATALOGUE
    from nolr.data.store import survey

    console = open_console()
    table = Table("name", "state", "files", "size", Column("folder", overflow="fold"))
    notes = []
    for source in CATALOGUE.values():
        findings = survey(source, data_dir)
        states = [finding.state for finding in findings]
        state = next((state for state in ("altered", "missing") if state in states), "complete")
        table.add_row(
            source.name,
            state,
            f"{states.count('complete')}/{len(states)}",
            _megabytes(sum(finding.file.size for finding in findings)),
            escape(str(findings[0].path.parent)),
        )
        if source.origin and state != "complete":
            notes.append(source.remedy)
    console.print(table)
    for note in notes:
        _say(console, note)


@data.command()
@click.argument("name")
@data_dir_option
def fetch(name: str, data_dir: Path | None) -> None:
    """Download the data set NAME; what is there already is kept, what broke off goes on."""
    from nolr.data.catalogue import find_set
    from nolr.data.download import fetch as download

    source = find_set(name)
    console = open_console()
    with _show_download(console) as on_bytes:
        paths = download(source, data_dir, on_bytes)
    _say(console, f"{name} is complete in {paths[0].parent}")
    _say(console, f"licence: {source.licence}")
    _say(console, f"please cite: {source.citation}")


@data.command()
@click.argument("name")
@data_dir_option
def verify(name: str, data_dir: Path | None) -> None:
    """Compare every file of the data set NAME with the size and sha256 in the catalogue."""
    from nolr.data.catalogue import find_set
    from nolr.data.store import survey

    source = find_set(name)
    console = open_console()
    findings = survey(source, data_dir)
    for finding in findings:
        problem = f": {finding.problem}" if finding.problem else ""
        _say(console, f"{finding.state:8}  {finding.path}{problem}")
    bad = sum(finding.state != "complete" for finding in findings)
    if bad:
        raise BadInput(
            f"{bad} of the {len(findings)} files of {name} are missing or altered: "
            f"{source.remedy}, or name the data folder with --data-dir or NOLR_DATA"
        )


@contextmanager
def _show_download(console: Console) -> Iterator[Callable[[SourceFile, int], None]]:
    """Yield a callback for the bytes that are here: live bars, or a line a file."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
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
    tasks: dict[SourceFile, TaskID] = {}

    def show(file: SourceFile, count: int) -> None:
        if file not in tasks:
            tasks[file] = progress.add_task(file.name, total=file.size)
        progress.update(tasks[file], completed=count)

    with progress:
        yield show


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _say(console: Console, text: str) -> None:
    """Print a line as it is: a path is neither markup nor broken at the terminal's edge."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
