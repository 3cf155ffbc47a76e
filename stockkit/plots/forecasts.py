"""Figures of forecasts: the fan, how many outcomes their intervals held, and the drift alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockkit.market import schema
from stockkit.plots.figure import (
    COLOURS,
    DOWN,
    INK,
    MARKERS,
    MUTED,
    ROWS,
    STYLE,
    UP,
    Plot,
    blank,
    canvas,
    dated,
    finish,
    heading,
    legend_below,
    panels,
    symbols_of,
)

BY = {"all": "in all", "symbol": "by symbol", "year": "by year", "volatility": "by volatility tercile"}
BAND = 2.576  # standard errors: 99 % of a normal distribution


def fan(prices: pd.DataFrame, forecasts: pd.DataFrame, *, last: int = 20) -> Plot:
    """Recent closes and the 80, 90 and 95 % intervals of one model's forecast, a panel a symbol.

    Args:
        prices: as schema.BARS.
        forecasts: one row a symbol, columns of the `forecasts` table.
        last: sessions of history shown.
    """
    if forecasts.empty:
        return blank("No forecast to show: no symbol has enough history")
    prices = schema.conform(prices, schema.CLOSES, what="prices")
    plot, pairs = panels(symbols_of(forecasts))
    rows = forecasts.set_index("symbol")
    for symbol, axis in pairs:
        close = prices.loc[prices["symbol"] == symbol, "close"].tail(last).to_numpy()
        row, now = rows.loc[symbol], close[-1]
        axis.plot(np.arange(1 - len(close), 1), close, color=INK, linewidth=1.1)
        ahead = np.linspace(0, float(row["horizon"]), 20)
        for level, shade in ((95, 0.15), (90, 0.2), (80, 0.3)):
            low, high = (now * np.exp(row[f"{side}{level}"] * np.sqrt(ahead / ahead[-1])) for side in ("lo", "hi"))
            axis.fill_between(ahead, low, high, color=UP, alpha=shade, linewidth=0)
            axis.vlines(ahead[-1], low[-1], high[-1], color=UP, linewidth=1 + (95 - level) / 7)
        axis.plot(ahead[-1], now * np.exp(row["mean"]), "o", color=INK, markersize=3)
        axis.set_xlabel("sessions from the as-of date", fontsize=8)
    return finish(
        plot,
        _widths((np.exp(rows["hi90"]) - np.exp(rows["lo90"])) * 100, _ahead(rows["horizon"].iloc[0])),
        f"Closes of the last {last} sessions with shaded 80, 90 and 95 % intervals; dot: the mean forecast.",
    )


def _widths(width: pd.Series, ahead: str) -> str:
    if width.isna().all():
        return f"No interval {ahead} yet: too few past errors are known"
    return (
        f"90 % intervals {ahead}: from {width.min():.1f} % of the price ({width.idxmin()}) to {width.max():.1f} % "
        f"({width.idxmax()})"
    )


def _ahead(horizon: int) -> str:
    return "for the next session" if horizon == 1 else f"{horizon} sessions ahead"


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
        legend_below(plot, axes[0, 0], 4)
    alt = f"Shares of {', '.join(groups)}; black lines: the claim; grey: where 95 % of shares fall if it is true."
    return finish(plot, _coverage_found(every), alt)


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the 40 groups whose shares are furthest from the claim of 90 %; all where there are no more."""
    claim = table[table["level"] == 90]
    off = (claim["share"] - 0.9).abs().groupby(claim["group"].to_numpy()).max()
    return table if len(off) <= ROWS else table[table["group"].isin(off.nlargest(ROWS, keep="first").index)]


def _coverage_found(table: pd.DataFrame) -> str:
    claim = table[table["level"] == 90]
    low, high = claim["share"].min() * 100, claim["share"].max() * 100
    shares = f"{low:.1f} %" if len(claim) == 1 else f"{low:.1f} to {high:.1f} %"
    kinds = " and ".join(BY[kind] for kind in claim["kind"].unique())
    return (
        f"90 % intervals held {shares} of outcomes {kinds}: {claim['as_claimed'].sum()} of {len(claim)} "
        f"as claimed, give or take what chance allows"
    )


def running_coverage(rows: pd.DataFrame, alarms: pd.DataFrame, *, horizon: int = 1, window: int = 100) -> Plot:
    """The share of the last outcomes inside the 90 % interval of one model, a panel a symbol, with its alarm.

    Args:
        rows: the rows of one model that `drift.watch` was given; every h-th outcome is used, as there.
        alarms: what it found; only rows of the same model and horizon are looked at.
        horizon: which of the horizons is shown.
        window: outcomes that a share is taken of; fewer at the start, from a fifth of it on.

    The band is where 99 % of such shares lie at any one moment if the claim holds (normal approximation of the
    binomial). A curve may leave it now and then; the alarm, which allows for looking all the time, does not ring then.
    """
    due = rows[(rows["horizon"] == horizon) & rows[["actual", "lo90", "hi90"]].notna().all(axis=1)]
    if due.empty:
        return blank(f"No forecast {horizon} ahead has come due: there is no coverage to show")
    model = str(due["model"].iloc[0])
    alarm = alarms[(alarms["model"] == model) & (alarms["horizon"] == horizon)].set_index("symbol")
    symbols = symbols_of(due)
    plot, pairs = panels(symbols, sharey=True)
    for symbol, axis in pairs:
        _running_panel(axis, due[due["symbol"] == symbol].sort_values("as_of").iloc[::horizon], window)
        since = alarm["since"].get(symbol, pd.NaT)
        if pd.notna(since):
            axis.axvline(since, color=DOWN, linewidth=1.6, linestyle="--")
            heading(axis, f"{symbol}: alarm {since:%Y-%m-%d}")
    plot.supylabel("inside the 90 % interval, %", **STYLE)
    rung = [symbol for symbol in symbols if bool(alarm["drifted"].get(symbol, False))]
    few = ", ".join(rung[:4]) + (" and more" if len(rung) > 4 else "")
    title = f"{model} has drifted on {few}" if rung else f"{model} has not drifted on any of its symbols"
    return finish(
        plot,
        f"{title} ({len(rung)} of {len(symbols)})",
        f"Share of the last {window} outcomes inside the 90 % interval, {horizon} ahead, a panel a symbol; grey: "
        f"where 99 % of such shares lie at one moment if it holds; dashed: the alarm.",
    )


def _running_panel(axis: Any, due: pd.DataFrame, window: int) -> None:
    inside = due["actual"].between(due["lo90"], due["hi90"]).astype(float)
    share = inside.rolling(window, min_periods=min(window, max(1, window // 5))).mean() * 100
    counted = np.minimum(np.arange(1, len(due) + 1), window)
    half = BAND * np.sqrt(0.9 * 0.1 / counted) * 100
    half[share.isna().to_numpy()] = np.nan
    axis.fill_between(due["as_of"], 90 - half, np.minimum(90 + half, 100), color=MUTED, alpha=0.25, linewidth=0)
    axis.axhline(90, color=INK, linewidth=0.8)
    axis.plot(due["as_of"], share, color=UP, linewidth=1.2)
    dated(axis)
