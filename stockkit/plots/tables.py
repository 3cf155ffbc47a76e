"""Figures of tables: completeness, correlations, monthly returns."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap

from stockkit.market import schema
from stockkit.plots.figure import (
    COLOURS,
    DASHES,
    ROWS,
    Plot,
    blank,
    chart,
    dated,
    finish,
    of_all,
    span,
    symbols_of,
)

GAP = 5  # pixels between two names below a map, at least: the width of a space


def correlation(prices: pd.DataFrame) -> Plot:
    """Correlation of daily log returns between symbols, as a heat map (frame: schema.BARS)."""
    prices = schema.conform(prices, schema.CLOSES, what="prices")
    returns = np.log(prices["close"]).groupby(prices["symbol"]).diff()
    wide = prices.assign(r=returns).pivot(index="date", columns="symbol", values="r")
    return heat(wide.corr(), "daily log returns", 0.55)


def heat(matrix: pd.DataFrame, what: str, cell: float) -> Plot:
    """A square of correlations of `what` as a heat map, `cell` inches a row."""
    height = 1.2 + min(cell * len(matrix), 8)
    if len(matrix) > ROWS:  # an image: of so many cells a mesh takes hundreds of megabytes, and no name can be read
        plot, axis = chart(height)
        image = axis.imshow(matrix.to_numpy(dtype="float64"), cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
        axis.set(xticks=[], yticks=[], xlabel=f"{len(matrix):,} symbols in alphabetical order")
        axis.grid(visible=False)
        plot.colorbar(image, ax=axis, label="correlation")
    else:
        style: dict[str, Any] = {"vmin": -1, "vmax": 1, "cmap": "RdBu", "linewidths": 0.5}
        plot = _cells(matrix, height, "", fmt=".2f", bar="correlation", **style)
    upper = matrix.where(np.triu(np.ones(matrix.shape, dtype=bool), 1)).stack().dropna()
    if upper.empty:
        return finish(plot, f"One column has no correlation with another: {what}", "A heat map of one cell.")
    (a, b), (c, d) = upper.idxmax(), upper.idxmin()
    return finish(
        plot,
        f"{what.capitalize()}: {a} and {b} go together most ({upper.max():.2f}), {c} and {d} least ({upper.min():.2f})",
        f"Heat map of {len(matrix)} by {len(matrix)} correlations.",
    )


def _cells(values: pd.DataFrame, height: float, label: str, *, fmt: str, bar: str = "", **style: Any) -> Plot:
    """A heat map whose cells bear their values, `label` below and a colour bar named `bar`, where it is named."""
    plot, axis = chart(height)
    axis.spines[:].set_visible(False)
    cells = values.to_numpy(dtype="float64")
    mesh = axis.pcolormesh(np.ma.masked_invalid(cells), edgecolor="white", **style)
    axis.set(xlim=(0, values.shape[1]), ylim=(len(values), 0), xlabel=label)
    if bar:
        plot.colorbar(mesh, ax=axis, label=bar).outline.set_linewidth(0)
    axis.set_xticks(np.arange(values.shape[1]) + 0.5, values.columns)
    axis.set_yticks(np.arange(len(values)) + 0.5, values.index, va="center")
    _turn_crowded(plot, axis)
    _write_values(axis, mesh, cells, fmt)
    return plot


def _turn_crowded(plot: Plot, axis: Any) -> None:
    """Turn the names below a map upright where one would touch the next."""
    plot.draw_without_rendering()  # only then it is known where they are
    boxes = [name.get_window_extent() for name in axis.get_xticklabels()]
    if any(right.x0 - left.x1 < GAP for left, right in itertools.pairwise(boxes)):
        axis.tick_params(axis="x", rotation=90)


def _write_values(axis: Any, mesh: Any, cells: np.ndarray, fmt: str) -> None:
    """Write the value of each cell of a map into it, light on dark colours and dark on light ones."""
    mesh.update_scalarmappable()
    shares = mesh.get_facecolor()[:, :3]
    linear = np.where(shares <= 0.03928, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]  # WCAG 2.0, relative luminance
    inks = np.where(luminance > 0.408, "0.15", "white").reshape(cells.shape)
    for row, column in np.argwhere(np.isfinite(cells)):
        place = {"ha": "center", "va": "center", "fontsize": 8, "color": inks[row, column]}
        axis.text(column + 0.5, row + 0.5, format(cells[row, column], fmt), **place)


def completeness(prices: pd.DataFrame, rejects: pd.DataFrame) -> Plot:
    """Bars a year and symbol as a heat map, rejects marked in the title (frames: schema.PRICES, REJECTS)."""
    prices = schema.conform(prices, schema.CLOSES, what="prices")
    counts = prices.groupby(["symbol", prices["date"].dt.year]).size().unstack(fill_value=0)
    total = len(counts)
    if total > ROWS:  # those with the fewest bars: there something may be missing
        counts = counts.loc[counts.sum(axis=1).nsmallest(ROWS, keep="first").index]
    fewest = f"; the {len(counts)} of {total:,} symbols with the fewest bars" if total > len(counts) else ""
    style: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": 420, "linewidths": 1}
    plot = _cells(counts, 1.1 + 0.36 * len(counts), f"year{fewest}", fmt=".0f", **style)
    kept, bad = len(prices), len(rejects)
    title = f"{kept:,} trusted bars" + (f", {bad:,} rejected" if bad else ", none rejected")
    return finish(plot, title, f"Sessions a year for {len(counts)} of {total:,} symbols, {span(prices)}.")


def monthly_returns(years: pd.DataFrame) -> Plot:
    """A year-by-month heat map of one symbol's returns (columns: year and jan to dec, in %)."""
    if years.empty:
        return blank("No monthly returns yet: less than two months of prices")
    every = years.set_index("year").loc[:, "jan":"dec"]  # type: ignore[misc]
    wide = every.tail(ROWS)
    last = f"the last {len(wide)} of {len(every)} years" if len(every) > len(wide) else ""
    plot = _cells(wide, 1.1 + 0.3 * len(wide), last, fmt=".0f", bar="return, %", cmap=_centred(wide), linewidths=0.5)
    up = float((every.stack().dropna() > 0).mean()) * 100
    return finish(plot, f"{up:.0f} % of the months were up", f"Monthly returns, {len(wide)} of {len(every)} years.")


def _centred(values: pd.DataFrame) -> ListedColormap:
    """Red below and blue above zero, as dark on either side, for a map that goes from the least value to the most."""
    low, high = np.nanmin(values), np.nanmax(values)
    most = max(-low, high) or 1.0  # where nothing moved
    return ListedColormap(matplotlib.colormaps["RdBu"](np.linspace(low / most + 1, high / most + 1, 256) / 2))


def first_look(frame: pd.DataFrame, what: str) -> Plot:
    """The first column of numbers of any table, a line a symbol through time where it has dates, else a bar a symbol.

    Args:
        frame: rows of a table, with `symbol` where it has symbols; of more than eight the first eight are drawn.
        what: the table's name, for the title.
    """
    numbers = [name for name in frame.select_dtypes("number") if frame[name].notna().any()]
    if "symbol" not in frame or frame.empty:
        return blank(f"{what} has {len(frame):,} rows" if len(frame) else f"{what} has no rows")
    total, symbols = frame["symbol"].nunique(), symbols_of(frame)[:8]
    shown = frame[frame["symbol"].isin(symbols)]
    if not numbers:
        return _bars(shown["symbol"].value_counts(), "rows", what, total)
    if "date" not in frame or shown.duplicated(["symbol", "date"]).any() or not shown.duplicated("symbol").any():
        return _bars(shown.groupby("symbol", observed=True)[numbers[0]].mean(), f"{numbers[0]}, mean", what, total)
    plot, axis = chart(3.2)
    for k, symbol in enumerate(symbols):
        rows = shown[shown["symbol"] == symbol].sort_values("date")
        axis.plot(rows["date"], rows[numbers[0]], label=symbol, color=COLOURS[k % 8], linestyle=DASHES[k % 4])
    axis.set_ylabel(numbers[0])
    axis.legend(fontsize=8, frameon=False)
    dated(axis)
    low, high = shown[numbers[0]].min(), shown[numbers[0]].max()
    title = f"{numbers[0]} of {what} goes from {low:,.4g} to {high:,.4g}"
    return finish(plot, title, f"A line a symbol{of_all(len(symbols), total)}, {span(shown)}.")


def _bars(values: pd.Series, label: str, what: str, total: int) -> Plot:
    plot, axis = chart(0.8 + 0.3 * len(values), names=True)
    axis.barh([str(name) for name in values.index], values, color=COLOURS[0])
    axis.invert_yaxis()
    axis.set_xlabel(label)
    title = f"{label} of {what} is largest for {values.idxmax()}, {values.max():,.4g}"
    return finish(plot, title, f"A bar a symbol{of_all(len(values), total)}.")
