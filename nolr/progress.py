"""Live progress in a terminal, and the tables at the end, with rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan, nan
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from nolr.estimation.figures import StageFigures
from nolr.run import Run
from nolr.training import Trainer
from nolr.training_state import TrainState

__all__ = ["run_table", "show_progress", "stage_table"]

REFRESH_SECONDS = 0.1
LINES = 10


@contextmanager
def show_progress(console: Console) -> Iterator[Callable[[Trainer, TrainState], None]]:
    """Yield a callback for every training state: a live bar, or a few lines if not a terminal."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    progress = Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=10,
    )
    with progress:
        yield _Bar(progress)


class _Lines:
    """A line for every tenth of the epochs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = 0

    def __call__(self, trainer: Trainer, state: TrainState) -> None:
        if state.epoch == self._shown:
            return
        self._shown = state.epoch
        if state.epoch % max(1, trainer.epochs // LINES) == 0 or trainer.finished(state):
            self._console.print(
                f"epoch {state.epoch}/{trainer.epochs}  {_figures(trainer, state)}",
                highlight=False,
            )


class _Bar:
    """A bar that moves with every step, drawn ten times a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._drawn = -REFRESH_SECONDS
        self._task = progress.add_task("train", total=None, epoch="", figures="")

    def __call__(self, trainer: Trainer, state: TrainState) -> None:
        now = monotonic()
        if now - self._drawn < REFRESH_SECONDS and not trainer.finished(state):
            return
        self._drawn = now
        samples = len(trainer.data.train)
        self._progress.update(
            self._task,
            total=trainer.epochs * samples,
            completed=state.epoch * samples + state.position,
            epoch=f"{state.epoch}/{trainer.epochs}",
            figures=_figures(trainer, state),
        )


def _figures(trainer: Trainer, state: TrainState) -> str:
    """Loss, validation accuracy, signal-to-noise (worst stage), speed."""
    last = state.history[-1] if state.history else None
    loss = state.loss_sum / state.position if state.position else last.loss if last else nan
    samples = state.epoch * len(trainer.data.train) + state.position
    ratios = [stage.signal_to_noise for stage in last.stages] if last else []
    known = [ratio for ratio in ratios if not isnan(ratio)]
    figures = [f"loss {loss:.4f}"]
    if last and not isnan(last.validation_accuracy):
        figures.append(f"validation {last.validation_accuracy:.1%}")
    if known:
        figures.append(f"signal/noise {min(known):.2g}")
    if state.train_seconds:
        figures.append(f"{samples / state.train_seconds:,.0f} samples/s")
    return "  ".join(figures)


def run_table(run: Run) -> Table:
    """What came out."""
    state = run.state
    table = Table(title=f"{run.recipe.name}, seed {run.settings.seed}", show_header=False)
    samples = state.epoch * len(run.trainer.data.train) + state.position
    if run.settings.variant:  # the recipe leaves open which data there are
        table.add_row("data", run.settings.variant)
    for name, value in (
        ("test accuracy", f"{run.test_accuracy:.2%}"),
        ("validation accuracy", f"{run.validation_accuracy:.2%}"),
        ("epochs", f"{state.epoch} of {run.settings.epochs}"),
        ("training time", f"{state.train_seconds:.2f} s"),
        ("speed", f"{samples / max(state.train_seconds, 1e-9):,.0f} samples/s"),
        ("forward passes per sample", f"{state.forward_passes / max(samples, 1):.3g}"),
    ):
        table.add_row(name, value)
    return table


def stage_table(stages: tuple[StageFigures, ...]) -> Table:
    """How well every stage's gradient was estimated at the end."""
    table = Table(title="gradient estimate by stage, at the end")
    for column in ("stage", "norm", "variance", "signal/noise", "β", "λ", "copies"):
        table.add_column(column, justify="right")
    for index, stage in enumerate(stages):
        table.add_row(
            str(index),
            *(
                "-" if isnan(value) else f"{value:.3g}"  # a batch of one sample has no halves
                for value in (stage.gradient_norm, stage.variance, stage.signal_to_noise)
            ),
            f"{stage.beta:.2f}",
            f"{stage.residual:.3g}",
            str(stage.copies) if stage.copies or stage.residual else "none: exact",
        )
    return table
