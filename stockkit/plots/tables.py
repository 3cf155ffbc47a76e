"""Figures of tables: completeness, correlations, monthly returns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.plots.figure import ROWS, Plot, blank, canvas, finish, span


def correlation(prices: pd.DataFrame) -> Plot:
    """Correlation of daily log returns between symbols, as a heat map (frame: schema.BARS)."""
    returns = np.log(prices["close"]).groupby(prices["symbol"]).diff()
    wide = prices.assign(r=returns).pivot(index="date", columns="symbol", values="r")
    return heat(wide.corr(), "daily log returns", 0.55)


def heat(matrix: pd.DataFrame, what: str, cell: float, *, annotate: bool = True) -> Plot:
    """A square of correlations of `what` as a heat map, `cell` inches a row."""
    import seaborn

    plot, axes = canvas(1.2 + min(cell * len(matrix), 8))
    axis = axes[0, 0]
    if len(matrix) > ROWS:  # an image: of so many cells a mesh takes hundreds of megabytes, and no name can be read
        image = axis.imshow(matrix.to_numpy(dtype="float64"), cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
        axis.set(xticks=[], yticks=[], xlabel=f"{len(matrix):,} symbols in alphabetical order")
        axis.grid(visible=False)
        plot.colorbar(image, ax=axis, label="correlation")
    else:
        seaborn.heatmap(
            matrix, vmin=-1, vmax=1, cmap="RdBu", annot=annotate, fmt=".2f", annot_kws={"fontsize": 8},
            square=not annotate, linewidths=0.5, cbar_kws={"label": "correlation"}, ax=axis,
        )  # fmt: skip
        axis.set(xlabel="", ylabel="")
        axis.tick_params(axis="y", rotation=0)
    upper = matrix.where(np.triu(np.ones(matrix.shape, dtype=bool), 1)).stack()
    if upper.empty:
        return finish(plot, f"One column has no correlation with another: {what}", "A heat map of one cell.")
    (a, b), (c, d) = upper.idxmax(), upper.idxmin()
    return finish(
        plot,
        f"{what.capitalize()}: {a} and {b} go together most ({upper.max():.2f}), {c} and {d} least ({upper.min():.2f})",
        f"Heat map of {len(matrix)} by {len(matrix)} correlations.",
    )


def completeness(prices: pd.DataFrame, rejects: pd.DataFrame) -> Plot:
    """Bars a year and symbol as a heat map, rejects marked in the title (frames: schema.PRICES, REJECTS)."""
    import seaborn

    counts = prices.groupby(["symbol", prices["date"].dt.year]).size().unstack(fill_value=0)
    total = len(counts)
    if total > ROWS:  # those with the fewest bars: there something may be missing
        counts = counts.loc[counts.sum(axis=1).nsmallest(ROWS, keep="first").index]
    plot, axes = canvas(1.1 + 0.36 * len(counts))
    seaborn.heatmap(counts, annot=True, fmt="d", annot_kws={"fontsize": 8}, cmap="Greys", vmin=0, vmax=420,
                    cbar=False, linewidths=1, ax=axes[0, 0])  # fmt: skip
    fewest = f"; the {len(counts)} of {total:,} symbols with the fewest bars" if total > len(counts) else ""
    axes[0, 0].set(xlabel=f"year{fewest}", ylabel="")
    axes[0, 0].tick_params(axis="y", rotation=0)
    kept, bad = len(prices), len(rejects)
    title = f"{kept:,} trusted bars" + (f", {bad:,} rejected" if bad else ", none rejected")
    return finish(plot, title, f"Sessions a year for {len(counts)} of {total:,} symbols, {span(prices)}.")


def monthly_returns(years: pd.DataFrame) -> Plot:
    """A year-by-month heat map of one symbol's returns (columns: year and jan to dec, in %)."""
    import seaborn

    if years.empty:
        return blank("No monthly returns yet: less than two months of prices")
    every = years.set_index("year").loc[:, "jan":"dec"]  # type: ignore[misc]
    wide = every.tail(ROWS)
    plot, axes = canvas(1.1 + 0.3 * len(wide))
    seaborn.heatmap(wide, annot=True, fmt=".0f", annot_kws={"fontsize": 8}, center=0, cmap="RdBu",
                    cbar_kws={"label": "return, %"}, linewidths=0.5, ax=axes[0, 0])  # fmt: skip
    last = f"the last {len(wide)} of {len(every)} years" if len(every) > len(wide) else ""
    axes[0, 0].set(xlabel=last, ylabel="")
    axes[0, 0].tick_params(axis="y", rotation=0)
    up = float((every.stack() > 0).mean()) * 100
    return finish(plot, f"{up:.0f} % of the months were up", f"Monthly returns, {len(wide)} of {len(every)} years.")
