"""The figure of a forecast: the fan."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.plots.figure import INK, UP, Plot, blank, finish, panels, symbols_of


def fan(prices: pd.DataFrame, forecasts: pd.DataFrame, *, last: int = 20) -> Plot:
    """Recent closes and the 80, 90 and 95 % intervals of one model's forecast, a panel a symbol.

    Args:
        prices: as schema.BARS.
        forecasts: one row a symbol, columns of the `forecasts` table.
        last: sessions of history shown.
    """
    if forecasts.empty:
        return blank("No forecast to show: no symbol has enough history")
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
