"""The figures of a study: variance against copies, cosine against cost, and bias against variance.

Those of the sweeps are in `sweep_figure`.
"""

from __future__ import annotations

import io
from math import isnan, nan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nolr.laboratory.roster import Entry
from nolr.laboratory.study import Study
from nolr.laboratory.style import (
    NOTE,
    clean_up,
    decades,
    headline,
    legend,
    line_style,
    make_figure,
    plain_ticks,
)
from nolr.laboratory.summary import Mean, compared, curve
from nolr.palette import GREY

__all__ = ["as_png", "draw_bias", "draw_cosine", "draw_variance"]

WIDEST = 4  # panels in a row


def as_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=150)
    return memory.getvalue()


def draw_variance(study: Study) -> Figure:
    """Total variance against copies, stage by stage, at the last checkpoint."""
    last = study.checkpoints[-1].name
    stages = sorted({row.stage for row in study.rows})
    columns = min(len(stages), WIDEST)
    lines = -(-len(stages) // columns)
    figure, grid = make_figure(lines, columns, 4.1 * columns + 2.8, 4.2 * lines + 0.3)
    panels = list(grid.flat)
    copies = sorted({row.copies for row in study.rows})
    drawn: set[str] = set()
    for stage, axes in zip(stages, panels, strict=False):
        for entry in study.entries:
            points = [
                (row.copies, row.variance / (row.squared_norm_clean or nan))
                if not isnan(row.squared_norm_clean)
                else (row.copies, row.variance / (row.squared_norm_noised or nan))
                for row in study.rows
                if (row.checkpoint, row.estimator, row.stage) == (last, entry.name, stage)
            ]
            points = [point for point in points if point[1] > 0]
            if points:
                drawn.add(entry.name)
                axes.plot(*zip(*points, strict=True), **line_style(entry))
        axes.set(xscale="log", yscale="log")
        _slope(axes, copies)
        decades(axes.yaxis)
        clean_up(axes, f"stage {stage}", "noisy copies of a sample", "variance / ‖gradient‖²")
        plain_ticks(axes.xaxis, copies)
    still = [e.name for e in study.entries if e.name not in drawn]
    if still:
        figure.supxlabel(
            f"Not drawn: {', '.join(still)}, with no variance given its memory.",
            fontsize=NOTE,
            color="#444444",
        )
    for axes in panels[len(stages) :]:
        axes.set_visible(False)
    words = f"variance of the gradient estimate, {_when(last)}"
    headline(figure, study.subject.recipe.name, words)
    legend(figure, panels[: len(stages)])
    return figure


def draw_cosine(study: Study, checkpoint: str | None = None) -> Figure:
    """Cosine to the exact gradient against forward passes and against time, at one checkpoint."""
    name = checkpoint or study.checkpoints[-1].name
    figure, grid = make_figure(1, 2, 13.2, 5.0)
    panels = grid[0]
    for entry in study.entries:
        means = [m for m in curve(study.rows, entry.name, name) if not isnan(m.cosine)]
        if entry.memory == "many" or not means:
            continue
        for axes, costs in zip(
            panels,
            ([m.forward_passes for m in means], [1000 * m.seconds for m in means]),
            strict=True,
        ):
            axes.errorbar(
                costs,
                [m.cosine for m in means],
                yerr=[2 * m.cosine_error for m in means],
                elinewidth=1.2,
                capsize=2.5,
                **line_style(entry),
            )
    for axes, title, cost in zip(
        panels,
        ("at equal forward passes", "at equal time"),
        ("forward passes of a sample, in a step", "milliseconds of a step"),
        strict=True,
    ):
        axes.set_xscale("log")
        axes.set_ylim(min(-0.02, axes.get_ylim()[0]), 1.03)
        clean_up(axes, title, cost, f"cosine to the exact {compared(study.rows)} gradient")
        decades(axes.xaxis)
    panels[1].set_ylabel("")
    words = f"how well one estimate points, {_when(name)} (mean over stages, ± 2 s.e.)"
    headline(figure, study.subject.recipe.name, words)
    legend(figure, panels)
    return figure


def draw_bias(study: Study) -> Figure:
    """Bias against standard deviation, both relative to the gradient, at every checkpoint."""
    names = [checkpoint.name for checkpoint in study.checkpoints]
    figure, grid = make_figure(1, len(names), 4.4 * len(names) + 2.9, 4.9)
    panels = grid[0]
    entries = [e for e in study.entries if not e.variant or e.memory == "many"] or study.entries
    curves = {(n, e.name): curve(study.rows, e.name, n) for n in names for e in entries}
    floors = [_floor(curves.values(), "bias"), _floor(curves.values(), "deviation")]
    for name, axes in zip(names, panels, strict=True):
        for entry in entries:
            _trail(axes, entry, curves[name, entry.name], floors)
        axes.set(xscale="log", yscale="log")
        axes.axvline(1.0, color=GREY, linewidth=0.9, linestyle=":")
        axes.axhline(1.0, color=GREY, linewidth=0.9, linestyle=":")
        clean_up(axes, name, "bias / ‖gradient‖", "standard deviation / ‖gradient‖")
    limits = [(min(low), max(high)) for low, high in _limits(panels)]
    for axes in panels:
        axes.set(xlim=limits[0], ylim=limits[1])
        decades(axes.xaxis)
        decades(axes.yaxis)
        if axes is not panels[0]:
            axes.set_ylabel("")
    figure.supxlabel(
        "Larger markers: more copies. What lies at the left or lower edge has no bias, or no "
        "variance given its memory.",
        fontsize=NOTE,
        color="#444444",
    )
    words = f"bias and variance with respect to the exact {compared(study.rows)} gradient"
    headline(figure, study.subject.recipe.name, words)
    legend(figure, panels)
    return figure


def _trail(axes: Axes, entry: Entry, means: list[Mean], floors: list[float]) -> None:
    """One estimator: a line through its numbers of copies, with markers that grow."""
    means = [m for m in means if not (isnan(m.bias) or isnan(m.deviation))]
    if not means:
        return
    style = line_style(entry)
    size = style.pop("markersize")
    x = [max(m.bias, floors[0]) for m in means]
    y = [max(m.deviation, floors[1]) for m in means]
    axes.plot(x, y, **style | {"marker": "", "label": None, "alpha": 0.6})
    face = style.get("markerfacecolor", entry.colour)
    for index, point in enumerate(zip(x, y, strict=True)):
        axes.plot(
            *point,
            linestyle="",
            marker=entry.marker,
            markersize=size * (0.75 + 0.25 * index),
            color=entry.colour,
            markerfacecolor=face,
            markeredgewidth=style.get("markeredgewidth", 1.0),
            label=entry.name if index == 0 else None,
            zorder=style["zorder"],
            clip_on=False,
        )


def _slope(axes: Axes, copies: list[int]) -> None:
    """A grey line of slope -1, below what is drawn."""
    low, high = axes.get_ylim()
    if len(copies) < 2 or not low < high:
        return
    x = np.array([copies[0], copies[-1]], dtype=float)
    start = np.exp(0.5 * (np.log(low) + np.log(high)))
    axes.plot(x, start * x[0] / x, color=GREY, linewidth=5, alpha=0.3, zorder=1, label="slope −1")
    axes.set_ylim(low, high)


def _floor(curves: object, name: str) -> float:
    """Where a value of 0 is drawn: a little below the smallest other one."""
    values = [getattr(m, name) for means in curves for m in means]  # type: ignore[attr-defined]
    positive = [value for value in values if value > 1e-6]
    return 0.4 * min(positive, default=1e-3)


def _limits(panels: object) -> list[tuple[list[float], list[float]]]:
    """Of both axes: the lowest and the highest limits of all panels."""
    both = [[axes.get_xlim(), axes.get_ylim()] for axes in panels]  # type: ignore[attr-defined]
    return [([b[i][0] for b in both], [b[i][1] for b in both]) for i in (0, 1)]


def _when(checkpoint: str) -> str:
    return {"start": "at the start of training", "saved": "where the run was saved"}.get(
        checkpoint, f"{checkpoint} in training"
    )
