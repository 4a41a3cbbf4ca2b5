"""The figure of the sweeps: noise level, depth, and stages noised at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nolr.laboratory.roster import Entry
from nolr.laboratory.study import Study
from nolr.laboratory.style import (
    clean_up,
    decades,
    headline,
    legend,
    line_style,
    make_figure,
    plain_ticks,
)
from nolr.laboratory.summary import Mean, compared, over_stages
from nolr.laboratory.sweeps import Point
from nolr.palette import GREY

__all__ = ["draw_sweeps"]

PANELS = {
    "noise": ("noise level", "σ, in units of the pre-activation"),
    "depth": ("depth, at the start", "hidden layers"),
    "stages": ("stages noised at once", "neighbouring stages"),
}


def draw_sweeps(study: Study) -> Figure | None:
    """Cosine above, deviation and smoothing below, for every sweep; None if there is none."""
    names = [name for name in PANELS if name in study.sweeps]
    kind = compared(study.rows)
    if not names:
        return None
    figure, grid = make_figure(2, len(names), 4.3 * len(names) + 2.8, 7.6)
    for column, name in enumerate(names):
        upper, lower = grid[0][column], grid[1][column]
        points = study.sweeps[name]
        for entry in study.entries:
            _draw(upper, lower, entry, points)
        if name == "noise":
            _draw_smoothing(lower, points)
        title, label = PANELS[name]
        for axes, heading, y in (
            (upper, title, f"cosine to the exact {kind} gradient"),
            (lower, "", "relative to ‖gradient‖"),
        ):
            axes.set_xscale("log" if name == "noise" else "linear")
            clean_up(axes, heading, label, y if column == 0 else "")
            plain_ticks(axes.xaxis, [point.value for point in points])
        lower.set_yscale("log")
        decades(lower.yaxis)
        upper.set_ylim(min(-0.02, upper.get_ylim()[0]), 1.03)
    grid[1][0].set_ylabel("standard deviation / ‖gradient‖")
    name = study.checkpoints[-1].name
    words = f"{study.sweep_copies} copies, {name} in training unless said otherwise"
    headline(figure, study.subject.recipe.name, f"{words} (means over stages)")
    legend(figure, list(grid.flat))
    return figure


def _draw(upper: Axes, lower: Axes, entry: Entry, points: Sequence[Point]) -> None:
    """One estimator in both panels of a sweep."""
    found = [(point.value, _mean(point, entry.name)) for point in points]
    known = [(value, mean) for value, mean in found if mean and not isnan(mean.cosine)]
    if not known:
        return
    style = line_style(entry)
    upper.errorbar(
        [value for value, _ in known],
        [mean.cosine for _, mean in known],
        yerr=[2 * mean.cosine_error for _, mean in known],
        elinewidth=1.2,
        capsize=2.5,
        **style,
    )
    spread = [mean.deviation for _, mean in known]
    if min(spread) > 0:  # else all of its errors are bias
        lower.plot([value for value, _ in known], spread, **style)


def _draw_smoothing(axes: Axes, points: Sequence[Point]) -> None:
    """How far the noised gradient is from the clean one: the bias of every unbiased estimate."""
    found = [(point.value, _mean(point, point.rows[-1].estimator)) for point in points]
    known = [(value, mean.smoothing) for value, mean in found if mean and mean.smoothing > 0]
    if known and not any(isnan(smoothing) for _, smoothing in known):
        axes.plot(
            *zip(*known, strict=True),
            color=GREY,
            linewidth=2.2,
            linestyle=":",
            marker=".",
            label="bias of the noised gradient",
        )


def _mean(point: Point, estimator: str) -> Mean | None:
    rows = [row for row in point.rows if row.estimator == estimator]
    return over_stages(rows) if rows else None
