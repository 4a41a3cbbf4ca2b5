"""nolr study variance: bias, variance and direction of every estimator, and pictures of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nolr.cli_console import open_console
from nolr.cli_settings import check_samples, gather
from nolr.destinations import check_report
from nolr.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from nolr.laboratory import Study

__all__ = ["study"]

SAMPLES = 64
FILES = ("variance.json", "variance.md", "variance.png", "cosine.png", "bias.png", "sweeps.png")


@click.group()
def study() -> None:
    """Measure estimators of gradients."""


@study.command()
@click.argument("target", metavar="RECIPE|RUN")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Any setting.")
@click.option("--seed", help="Of the training, the draws and the references.")
@click.option("--epochs", help="To train RECIPE for; its own number unless given.")
@click.option("--checkpoints", help="Of start,early,late: all unless given.")
@click.option("--estimators", default="", help="By name, with commas between; all unless given.")
@click.option("--copies", default="2,8,32,128", show_default=True, help="Noisy copies of a sample.")
@click.option("--draws", default=16, show_default=True, help="Independent estimates of each.")
@click.option("--samples", type=int, help="Training samples in the batch; 64 unless given.")
@click.option("--sweeps/--no-sweeps", default=True, help="Vary σ, the depth, and the stages.")
@click.option("--data-dir", help="Data folder; NOLR_DATA or datasets/ unless given.")
@click.option("--out", help="Folder; studies/variance-... unless given.")
@click.option("--overwrite", is_flag=True, help="Replace what a study left there before.")
def variance(
    target: str,
    more: tuple[str, ...],
    seed: str | None,
    epochs: str | None,
    checkpoints: str | None,
    estimators: str,
    copies: str,
    draws: int,
    samples: int | None,
    sweeps: bool,
    data_dir: str | None,
    out: str | None,
    overwrite: bool,
) -> None:
    """Compare estimators with exact gradients, at several points of training.

    TARGET is a recipe, which is trained, or a saved run, as it is. At every checkpoint, and for
    every estimator and number of copies: bias, variance and cosine to the exact gradients of the
    clean and of the noised loss, stage by stage, with the forward passes and the time they take.
    Writes tables, JSON and pictures into a folder.
    """
    from nolr.environment import keep_memory
    from nolr.laboratory import CHECKPOINTS, find_checkpoints, open_subject, run_study
    from nolr.laboratory.checkpoints import check_names
    from nolr.laboratory.record import as_table
    from nolr.laboratory.roster import ROSTER
    from nolr.laboratory.study import check_numbers, usable_entries
    from nolr.progress import show_progress

    settings = gather(more, seed=seed, epochs=epochs, data_dir=data_dir)
    wanted = _known_words(estimators, [entry.name for entry in ROSTER])
    counts = _numbers(copies)
    check_numbers(counts, draws)
    if checkpoints is not None and Path(target).is_file():
        raise BadInput("--checkpoints are of a training: a saved run has one, leave them out")
    names = CHECKPOINTS if checkpoints is None else check_names(_words(checkpoints))
    folder = _folder(out, target, overwrite)
    epochs = settings.pop("epochs", None)
    subject = open_subject(target, settings, SAMPLES if samples is None else samples, epochs)
    check_samples(samples, len(subject.trainer.data.train))
    usable_entries(wanted, subject.own, counts)  # fails before any training
    console = open_console()
    keep_memory()
    with show_progress(console) as on_state:
        places = find_checkpoints(subject, names, on_state)
    with _status(console) as say:
        found = run_study(
            subject,
            places,
            estimators=wanted,
            copies=counts,
            draws=draws,
            sweeps=sweeps,
            say=say,
        )
    _write(found, folder)
    place = places[-1].name
    console.print(f"{place}: mean cosine to the exact gradient, with so many forward passes")
    console.print(as_table(found, place))
    for remark in found.remarks:
        console.print(remark, style="dim", soft_wrap=True, markup=False)
    written = ", ".join(name for name in FILES if (folder / name).is_file())
    console.print(f"{folder}: {written}", highlight=False, markup=False, soft_wrap=True)


def _write(found: Study, folder: Path) -> None:
    """All files of a study at once; pictures that there is nothing for are left out."""
    from nolr.files import write_together
    from nolr.laboratory.figures import as_png, draw_bias, draw_cosine, draw_variance
    from nolr.laboratory.record import as_json, as_markdown
    from nolr.laboratory.sweep_figure import draw_sweeps

    command = f"nolr {shlex.join(sys.argv[1:])}"
    contents: dict[Path, bytes | None] = {
        folder / "variance.json": as_json(found, command),
        folder / "variance.md": as_markdown(found, command),
    }
    for name, draw in (
        ("variance.png", draw_variance),
        ("cosine.png", draw_cosine),
        ("bias.png", draw_bias),
        ("sweeps.png", draw_sweeps),
    ):
        figure = draw(found)
        contents[folder / name] = None if figure is None else as_png(figure)
    write_together(contents)


def _folder(out: str | None, target: str, overwrite: bool) -> Path:
    """Where the files go, which must be free."""
    if out == "":
        raise BadInput("--out is empty: name a folder, or leave it out")
    folder = Path("studies") / f"variance-{Path(target).stem}" if out is None else Path(out)
    for name in FILES:
        check_report(target, folder / name)
        if not overwrite and (folder / name).is_file():
            raise BadInput(
                f"{str(folder / name)!r} exists already: replace it (--overwrite), or choose "
                "another --out"
            )
    return folder


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _known_words(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """The words of a list, or several of them where they are a name that has commas itself."""
    words, found = list(_words(text)), []
    while words:
        ends = (end for end in range(len(words), 1, -1) if ", ".join(words[:end]) in names)
        end = next(ends, 1)
        found.append(", ".join(words[:end]))
        del words[:end]
    return tuple(found)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError:
        raise BadInput(
            f"--copies expected whole numbers with commas between, got {text!r}: write 2,8,32"
        ) from None


@contextmanager
def _status(console: Console) -> Iterator[Callable[[str], None]]:
    """Yield what tells how far it is: a line that changes, or one for every checkpoint."""
    if console.is_terminal:
        with console.status("") as status:
            yield lambda words: status.update(words)
        return
    said = ""

    def say(words: str) -> None:
        nonlocal said
        place = words.partition(":")[0]
        if place != said:
            said = place
            console.print(f"measuring {place}", highlight=False, markup=False)

    yield say
