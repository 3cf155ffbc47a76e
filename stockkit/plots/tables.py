"""Figures of tables: completeness, correlations, monthly returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

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
        bar = {"label": "correlation"}
        plot = _cells(matrix, height, "", vmin=-1, vmax=1, cmap="RdBu", fmt=".2f", linewidths=0.5, cbar_kws=bar)
    upper = matrix.where(np.triu(np.ones(matrix.shape, dtype=bool), 1)).stack().dropna()
    if upper.empty:
        return finish(plot, f"One column has no correlation with another: {what}", "A heat map of one cell.")
    (a, b), (c, d) = upper.idxmax(), upper.idxmin()
    return finish(
        plot,
        f"{what.capitalize()}: {a} and {b} go together most ({upper.max():.2f}), {c} and {d} least ({upper.min():.2f})",
        f"Heat map of {len(matrix)} by {len(matrix)} correlations.",
    )


def _cells(values: pd.DataFrame, height: float, label: str, **style: Any) -> Plot:
    """A heat map whose cells bear their values, `label` below."""
    import seaborn

    plot, axis = chart(height)
    seaborn.heatmap(values, annot=True, annot_kws={"fontsize": 8, "in_layout": False}, ax=axis, **style)
    axis.set(xlabel=label, ylabel="")
    axis.tick_params(axis="y", rotation=0)
    return plot


def completeness(prices: pd.DataFrame, rejects: pd.DataFrame) -> Plot:
    """Bars a year and symbol as a heat map, rejects marked in the title (frames: schema.PRICES, REJECTS)."""
    prices = schema.conform(prices, schema.CLOSES, what="prices")
    counts = prices.groupby(["symbol", prices["date"].dt.year]).size().unstack(fill_value=0)
    total = len(counts)
    if total > ROWS:  # those with the fewest bars: there something may be missing
        counts = counts.loc[counts.sum(axis=1).nsmallest(ROWS, keep="first").index]
    fewest = f"; the {len(counts)} of {total:,} symbols with the fewest bars" if total > len(counts) else ""
    style: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": 420, "cbar": False, "linewidths": 1}
    plot = _cells(counts, 1.1 + 0.36 * len(counts), f"year{fewest}", fmt="d", **style)
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
    style: dict[str, Any] = {"center": 0, "cmap": "RdBu", "cbar_kws": {"label": "return, %"}, "linewidths": 0.5}
    plot = _cells(wide, 1.1 + 0.3 * len(wide), last, fmt=".0f", **style)
    up = float((every.stack().dropna() > 0).mean()) * 100
    return finish(plot, f"{up:.0f} % of the months were up", f"Monthly returns, {len(wide)} of {len(every)} years.")


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
