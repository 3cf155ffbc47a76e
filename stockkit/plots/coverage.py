"""Figures of the intervals' coverage: what they claim and what they held."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.plots.figure import COLOURS, INK, MUTED, ROWS, Plot, blank, canvas, finish

MARKERS = "osD^v"
BY = {"all": "in all", "symbol": "by symbol", "year": "by year", "volatility": "by volatility tercile"}


def coverage_by(table: pd.DataFrame) -> Plot:
    """Share of outcomes inside the 80, 90 and 95 % intervals beside the band of the claim, a panel a level.

    Args:
        table: as from `coverage.by`, or several of these, one below the other.
    """
    if table.empty:
        return blank("No intervals to judge: no forecast with bounds has an outcome yet")
    every = table
    table = _readable(table)
    groups = list(table["group"].unique())
    series = list(table.groupby(["model", "horizon"], sort=False).groups)
    plot, axes = canvas(1.3 + (0.16 + 0.12 * len(series)) * len(groups), 1, 3, sharey=True)
    for axis, (level, panel) in zip(axes.flat, table.groupby("level"), strict=True):
        for k, (model, horizon) in enumerate(series):
            points = panel[(panel["model"] == model) & (panel["horizon"] == horizon)]
            at = points["group"].map(groups.index) + (k - (len(series) - 1) / 2) * 0.7 / len(series)
            axis.hlines(at, points["band_lo"] * 100, points["band_hi"] * 100, color=MUTED, alpha=0.5, linewidth=5)
            style = {"color": COLOURS[k % 8], "marker": MARKERS[k % 5], "linestyle": "none", "markersize": 5}
            axis.plot(points["share"] * 100, at, label=f"{model.replace('_', ' ')}, horizon {horizon}", **style)
        axis.axvline(level, color=INK, linewidth=1)
        axis.set_xlabel(f"inside the {level} % interval, %", fontsize=8)
    axes[0, 0].set_yticks(np.arange(len(groups)), groups)
    axes[0, 0].invert_yaxis()
    if len(series) > 1:
        names = axes[0, 0].get_legend_handles_labels()
        plot.legend(*names, fontsize=8, frameon=False, loc="outside lower center", ncols=4)
    alt = f"Shares of {', '.join(groups)}; black lines: the claim; grey: where 95 % of shares fall if it is true."
    return finish(plot, _finding(every), alt)


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the 40 groups whose shares are furthest from the claim of 90 %; all where there are no more."""
    claim = table[table["level"] == 90]
    off = (claim["share"] - 0.9).abs().groupby(claim["group"].to_numpy()).max()
    return table if len(off) <= ROWS else table[table["group"].isin(off.nlargest(ROWS, keep="first").index)]


def _finding(table: pd.DataFrame) -> str:
    claim = table[table["level"] == 90]
    low, high = claim["share"].min() * 100, claim["share"].max() * 100
    shares = f"{low:.1f} %" if len(claim) == 1 else f"{low:.1f} to {high:.1f} %"
    kinds = " and ".join(BY[kind] for kind in claim["kind"].unique())
    return (
        f"90 % intervals held {shares} of outcomes {kinds}: {claim['as_claimed'].sum()} of {len(claim)} "
        f"as claimed, give or take what chance allows"
    )
