"""The figure of the drift alarm: how often intervals held lately, and when the alarm went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockkit.plots.figure import DOWN, INK, MUTED, STYLE, UP, Plot, blank, dated, finish, panels, symbols_of

BAND = 2.576  # standard errors: 99 % of a normal distribution


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
        _panel(axis, due[due["symbol"] == symbol].sort_values("as_of").iloc[::horizon], window)
        since = alarm["since"].get(symbol, pd.NaT)
        if pd.notna(since):
            axis.axvline(since, color=DOWN, linewidth=1.6, linestyle="--")
            axis.set_title(f"{symbol}: alarm {since:%Y-%m-%d}", loc="left", **STYLE)
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


def _panel(axis: Any, due: pd.DataFrame, window: int) -> None:
    inside = due["actual"].between(due["lo90"], due["hi90"]).astype(float)
    share = inside.rolling(window, min_periods=min(window, max(1, window // 5))).mean() * 100
    counted = np.minimum(np.arange(1, len(due) + 1), window)
    half = BAND * np.sqrt(0.9 * 0.1 / counted) * 100
    half[share.isna().to_numpy()] = np.nan
    axis.fill_between(due["as_of"], 90 - half, np.minimum(90 + half, 100), color=MUTED, alpha=0.25, linewidth=0)
    axis.axhline(90, color=INK, linewidth=0.8)
    axis.plot(due["as_of"], share, color=UP, linewidth=1.2)
    dated(axis)
