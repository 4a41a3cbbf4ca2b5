"""How the figures of a study look: an estimator is the same in all, and labels can be read."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from nolr.laboratory.roster import Entry

__all__ = ["clean_up", "decades", "headline", "legend", "line_style", "make_figure", "plain_ticks"]

HEAD, TITLE, LABEL, TICK, NOTE = 14, 13, 12, 11, 10.5  # points


def make_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of rows × columns panels, of this size in inches, or wider for its title."""
    width = max(width, 11.0)
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def line_style(entry: Entry) -> dict[str, Any]:
    """How an estimator is drawn, in every figure alike."""
    style: dict[str, Any] = {
        "color": entry.colour,
        "marker": entry.marker,
        "markersize": 11 if entry.marker == "*" else 7.5,
        "linewidth": 2.2,
        "label": entry.name,
        "zorder": 3,
    }
    if entry.variant:
        style |= {
            "linewidth": 1.3,
            "linestyle": (0, (4, 2)),
            "markerfacecolor": "white",
            "markeredgewidth": 1.4,
            "zorder": 2.5,
        }
    return style


def clean_up(axes: Axes, title: str, x: str, y: str) -> None:
    """Title, labels and a light grid."""
    axes.set_title(title, fontsize=TITLE, loc="left", pad=9)
    axes.set_xlabel(x, fontsize=LABEL)
    axes.set_ylabel(y, fontsize=LABEL)
    axes.tick_params(labelsize=TICK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which="major", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)


def headline(figure: Figure, recipe: str, words: str) -> None:
    """What the figure shows, over all of it."""
    figure.suptitle(f"{recipe}: {words}", fontsize=HEAD, x=0.01, ha="left", weight="bold")


def decades(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: powers of ten, and some between where those are few."""
    low, high = axis.axes.get_xlim() if isinstance(axis, XAxis) else axis.axes.get_ylim()
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if high < 30 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    """A number of few characters; a power of ten where those would be too many."""
    return f"{value:g}" if 1e-4 <= value < 1e5 else f"$10^{{{round(log10(value))}}}$"


def plain_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Ticks at these values alone, written as plain numbers."""
    axis.set_ticks(list(values))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, beside them."""
    found: dict[str, Any] = {}
    for each in axes:
        for handle, name in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    figure.legend(
        found.values(), found.keys(), loc="outside right center", frameon=False, fontsize=TICK
    )
