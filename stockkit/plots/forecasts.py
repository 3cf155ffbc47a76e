"""Figures of forecasts: the fan, the scoreboard, the coverage of the intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.plots.figure import (
    COLOURS,
    INK,
    UP,
    Plot,
    blank,
    canvas,
    finish,
    panels,
    symbols_of,
)


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
    width = (np.exp(rows["hi90"]) - np.exp(rows["lo90"])) * 100
    return finish(
        plot,
        f"90 % intervals {_ahead(rows['horizon'].iloc[0])}: from {width.min():.1f} % of the price "
        f"({width.idxmin()}) to {width.max():.1f} % ({width.idxmax()})",
        f"Closes of the last {last} sessions with shaded 80, 90 and 95 % intervals; dot: the mean forecast.",
    )


def _ahead(horizon: int) -> str:
    return "for the next session" if horizon == 1 else f"{horizon} sessions ahead"


def scoreboard(scores: pd.DataFrame) -> Plot:
    """Each model's MAE as a ratio to the random walk's and its hit rate, symbol by symbol."""
    tried = scores[scores["model"] != "random_walk"]
    if tried.empty:
        return blank("No scores to show: no model has forecasts of the past")
    symbols = symbols_of(tried)
    plot, axes = canvas(1.4 + 0.34 * len(symbols), 1, 2, sharey=True)
    models = list(tried["model"].unique())
    for k, model in enumerate(models):
        own = tried[tried["model"] == model].set_index("symbol").reindex(symbols)
        at = np.arange(len(symbols)) + (k - (len(models) - 1) / 2) * 0.22
        style = {"color": COLOURS[k % 8], "marker": "osD^v"[k % 5], "linestyle": "none", "markersize": 5}
        axes[0, 0].plot(own["mae_ratio"], at, label=model, **style)
        axes[0, 1].hlines(at, own["hit_lo"] * 100, own["hit_hi"] * 100, color=COLOURS[k % 8], linewidth=1.2)
        axes[0, 1].plot(own["hit_rate"] * 100, at, **style)
    axes[0, 0].axvline(1, color=INK, linewidth=1)
    axes[0, 1].axvline(50, color=INK, linewidth=1)
    axes[0, 0].set_yticks(np.arange(len(symbols)), symbols)
    axes[0, 0].set_xlabel("MAE / MAE of the random walk (left of 1 is better)")
    axes[0, 1].set_xlabel("hit rate, % with its 95 % interval")
    axes[0, 0].legend(fontsize=8, frameon=False)
    better = int((tried["mae_ratio"] < 1).sum())
    return finish(
        plot,
        f"{better} of {len(tried)} model and symbol pairs have a smaller error than the random walk, before any test",
        f"MAE ratios from {tried['mae_ratio'].min():.3f} to {tried['mae_ratio'].max():.3f}.",
    )


def coverage(scores: pd.DataFrame) -> Plot:
    """Share of outcomes inside the 80, 90 and 95 % intervals, a point a symbol and model."""
    known = scores.dropna(subset=["coverage80", "coverage90", "coverage95"])
    if known.empty:
        return blank("No intervals to judge: too few forecasts of the past")
    plot, axes = canvas(3.2)
    axis = axes[0, 0]
    levels = np.array([80, 90, 95])
    models = list(known["model"].unique())
    for k, model in enumerate(models):
        own = known[known["model"] == model]
        found = own[["coverage80", "coverage90", "coverage95"]].to_numpy() * 100
        at = np.broadcast_to(levels + (k - (len(models) - 1) / 2) * 0.9, found.shape)
        axis.plot(at.ravel(), found.ravel(), "osD^v"[k % 5], color=COLOURS[k % 8], alpha=0.75, label=model)
    axis.hlines(levels, levels - 2, levels + 2, color=INK, linewidth=1.4)
    axis.set_xticks(levels, [f"{level} %" for level in levels])
    axis.set(xlabel="what the interval claims", ylabel="outcomes inside, %")
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    off = (known["coverage90"] * 100 - 90).abs().max()
    return finish(
        plot,
        f"90 % intervals held between {known['coverage90'].min() * 100:.1f} and "
        f"{known['coverage90'].max() * 100:.1f} % of outcomes: at most {off:.1f} points off",
        f"Points for {len(known)} symbol and model pairs; black lines: the claim.",
    )
