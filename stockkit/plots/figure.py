"""What all figures share: the Plot that shows itself with alt text, panels, colours, titles."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.dates
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

INK, MUTED, UP, DOWN = "#1a1a1a", "#8a8a8a", "#0072b2", "#d55e00"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5a5a5a", "#7a4a00")
DASHES = ("-", "--", "-.", ":")
MARKERS = "osD^v"
DPI, WIDTH, TITLE_WIDTH = 150, 8.6, 86
ROWS, PANELS = 40, 18  # symbols that a figure shows at most, a line or a panel each: more cannot be read
STYLE: dict[str, Any] = {"fontsize": 9, "color": INK}


class Plot(Figure):
    """A matplotlib Figure that shows itself in a notebook as a PNG with alt text."""

    alt: str = ""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        png = io.BytesIO()
        for axis in self.axes:
            _spare(axis)
        fast = {"compress_level": 3}  # of 9: half the time of the usual 6, and 7 % more bytes
        FigureCanvasAgg(self).print_png(  # `savefig` draws twice for a layout
            png, metadata={"Software": None}, pil_kwargs=fast
        )
        width = round(self.get_figwidth() * 100)
        data = {"image/png": png.getvalue(), "text/plain": f"[figure] {self.alt}"}
        return data, {"image/png": {"alt": self.alt, "width": width}}


def _spare(axis: Any) -> None:
    """Keep the layout from measuring ticks for the place of an empty label, and at all where ticks have no labels."""
    sides = ("labelbottom", "labeltop"), ("labelleft", "labelright")
    for line, shown, usual in zip((axis.xaxis, axis.yaxis), sides, ((0.5, -0.2), (-0.1, 0.5)), strict=True):
        empty = not line.label.get_text()
        if empty:
            line.set_label_coords(*usual)
        line.set_in_layout(not empty or any(line.get_tick_params()[side] for side in shown))


def canvas(height: float, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Plot, Any]:
    """A new figure `height` inches high with a grid of axes (2-d array)."""
    plot = Plot(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = plot.subplots(rows, columns, squeeze=False, **grid)
    # a spine is as wide as its ticks, measured once more; that matters where the ticks have no labels beside them
    spines = [side for side, shared in (("bottom", "sharex"), ("left", "sharey")) if not grid.get(shared)]
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        for side in spines:
            axis.spines[side].set_in_layout(False)
        axis.tick_params(labelsize=8, colors=INK)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)
    return plot, axes


def chart(height: float, *, names: bool = False) -> tuple[Plot, Any]:
    """A new figure `height` inches high and its only axis; without grid lines at the `names` on its y axis."""
    plot, axes = canvas(height)
    if names:
        axes[0, 0].grid(axis="y", visible=False)
    return plot, axes[0, 0]


def finish(plot: Plot, title: str, alt: str) -> Plot:
    """Set the title, which states the finding, and the alt text, which begins with it."""
    plot.suptitle(textwrap.fill(title, TITLE_WIDTH), x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    plot.alt = f"{title}. {alt}"
    return plot


def blank(title: str) -> Plot:
    """A figure that says why there is nothing to show."""
    plot, axis = chart(0.6)
    axis.set_visible(False)
    return finish(plot, title, "An empty figure")


def heading(axis: Any, text: str, size: int = 9) -> None:
    """Set the title of a panel, at a fixed place: a free one is looked for by measuring the y axis once more."""
    axis.set_title(text, loc="left", y=1.0, fontsize=size, color=INK)
    if isinstance(axis.yaxis.get_major_formatter(), matplotlib.ticker.ScalarFormatter):
        axis.ticklabel_format(axis="y", style="plain", useOffset=False)  # an offset would stand at the same place


def dated(axis: Any) -> None:
    """Give the x axis dates that do not crowd."""
    locator = matplotlib.dates.AutoDateLocator(minticks=3, maxticks=9)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator))


def boxes(axis: Any, at: Any, height: Any, width: float, foot: Any = 0.0, **style: Any) -> None:
    """Draw bars from `foot` up as one artist, `at` numbers or dates; `axis.bar` makes one of each, which takes longer.

    Args:
        style: as of a matplotlib PolyCollection.
    """
    at = matplotlib.dates.date2num(at) if pd.api.types.is_datetime64_any_dtype(at) else np.asarray(at, dtype="float64")
    foot = np.broadcast_to(np.asarray(foot, dtype="float64"), at.shape)
    sides, ends = (at - width / 2, at + width / 2), (foot, foot + np.asarray(height, dtype="float64"))
    corners = [np.column_stack([sides[x], ends[y]]) for x, y in ((0, 0), (0, 1), (1, 1), (1, 0))]
    drawn = PolyCollection(list(np.stack(corners, axis=1)), joinstyle="miter", **style)
    drawn.sticky_edges.y.extend(foot)  # no margin below the lowest
    axis.add_collection(drawn)
    axis.autoscale(None)  # later, when it is drawn with the margins that it then has


def log_scale(axis: Any, label: str) -> None:
    """Make the y axis logarithmic, with plain numbers at its ticks."""
    axis.set_yscale("log")
    axis.set_ylabel(f"{label}, log scale")
    axis.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.4g}"))
    axis.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def panels(symbols: Sequence[str], height: float = 2.1, **grid: Any) -> tuple[Plot, list[tuple[str, Any]]]:
    """A small panel for each of the first 18 symbols, with its axis."""
    total, symbols = len(symbols), symbols[:PANELS]
    columns = min(len(symbols), 3)
    rows = -(-len(symbols) // columns)
    plot, axes = canvas(height * rows + 0.5, rows, columns, **grid)
    for axis in axes.flat[len(symbols) :]:
        axis.set_visible(False)
    pairs = list(zip(symbols, axes.flat, strict=False))
    for symbol, axis in pairs:
        heading(axis, symbol)
    if total > len(symbols):
        plot.supxlabel(f"the first {len(symbols)} of {total:,} are shown", **STYLE)
    return plot, pairs


def legend_below(plot: Plot, axis: Any, columns: int = 5) -> None:
    """The lines of one panel, named once below all of them."""
    labels = axis.get_legend_handles_labels()
    plot.legend(*labels, fontsize=8, frameon=False, loc="outside lower center", ncols=columns)


def first_and_last(frame: Any, most: int = ROWS) -> Any:
    """The first and last rows of a sorted frame or series, `most` in all; itself where it has no more."""
    return frame if len(frame) <= most else pd.concat([frame.head(most - most // 2), frame.tail(most // 2)])


def of_all(shown: int, total: int) -> str:
    """What an axis label adds where not all symbols are shown."""
    return "" if shown == total else f"; {shown} of {total:,} symbols"


def symbols_of(frame: pd.DataFrame) -> list[str]:
    """The symbols of a frame, in the order of its rows."""
    return [str(symbol) for symbol in frame["symbol"].unique()]


def span(frame: pd.DataFrame) -> str:
    """The first and last date of a frame, for alt texts."""
    return f"{frame['date'].min():%Y-%m-%d} to {frame['date'].max():%Y-%m-%d}"
