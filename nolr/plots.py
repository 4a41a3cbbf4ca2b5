"""Pictures, with matplotlib and without a display."""

from __future__ import annotations

import io
from math import isnan
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nolr.files import write_atomically
from nolr.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from nolr.run import Run

__all__ = ["draw_history", "save_history"]


def draw_history(run: Run) -> Figure:
    """Loss, accuracy, and the signal-to-noise ratio of every stage, against the epoch.

    The ratio is left out where it was never measured: a batch of one graph has no halves.
    """
    measured = not all(isnan(s.signal_to_noise) for r in run.history for s in r.stages)
    figure = Figure(figsize=(11 if measured else 7.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracy, *others = figure.subplots(1, 3 if measured else 2)
    epochs = [record.epoch for record in run.history]

    losses.plot(epochs, [r.loss for r in run.history], color=BLUE, label="training")
    losses.plot(
        epochs, [r.validation_loss for r in run.history], color=VERMILION, label="validation"
    )
    losses.set(title="Loss", yscale="log", xlabel="epoch")
    losses.legend(frameon=False)

    accuracy.plot(
        epochs,
        [100 * r.validation_accuracy for r in run.history],
        color=VERMILION,
        label="validation",
    )
    accuracy.axhline(
        100 * run.test_accuracy,
        color=GREEN,
        linestyle="--",
        label=f"test, at the end: {run.test_accuracy:.1%}",
    )
    accuracy.set(title="Accuracy (%)", xlabel="epoch")
    accuracy.legend(frameon=False, loc="lower right")

    colours = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
    for signal in others:
        for stage in range(len(run.network.stages)):
            signal.plot(
                epochs,
                [record.stages[stage].signal_to_noise for record in run.history],
                color=colours[stage % len(colours)],
                label=f"stage {stage}",
            )
        signal.set(title="Signal-to-noise ratio of the gradient", xlabel="epoch")
        signal.legend(frameon=False)
    for axes in (losses, accuracy, *others):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.02)
    figure.suptitle(f"{run.recipe.name}, seed {run.settings.seed}: forward passes only")
    return figure


def save_history(run: Run, path: Path) -> None:
    """Write the picture as PNG, replacing the one that is there."""
    memory = io.BytesIO()
    draw_history(run).savefig(memory, format="png", dpi=130)
    write_atomically(path, memory.getvalue())
