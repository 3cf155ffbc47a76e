"""Figures of bars: as traded and adjusted, through time, candlesticks, distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stockkit import features
from stockkit.market import schema
from stockkit.plots.figure import (
    COLOURS,
    DASHES,
    DOWN,
    INK,
    MUTED,
    UP,
    Plot,
    blank,
    boxes,
    canvas,
    chart,
    dated,
    finish,
    first_and_last,
    log_scale,
    of_all,
    panels,
    span,
    symbols_of,
)


def adjustment(prices: pd.DataFrame) -> Plot:
    """As-traded against split-adjusted closes of the symbol with the largest split (frame: schema.PRICES)."""
    prices = schema.conform(prices, schema.CLOSES, what="prices")
    widest = str(prices.loc[prices["split_factor"].idxmax(), "symbol"])
    bars = prices[prices["symbol"] == widest]
    steps = bars[bars["split_factor"] != bars["split_factor"].shift(1)].iloc[1:]
    plot, axis = chart(3.4)
    axis.plot(bars["date"], bars["close_raw"], color=DOWN, linewidth=1.1, linestyle="--", label="as traded")
    axis.plot(bars["date"], bars["close"], color=UP, linewidth=1.3, label="split-adjusted")
    for day in steps["date"]:
        axis.axvline(day, color=MUTED, linewidth=0.8, linestyle=":")
    log_scale(axis, "price a share")
    axis.legend(fontsize=8, frameon=False)
    dated(axis)
    if steps.empty:
        return finish(plot, "No splits: as-traded and adjusted prices are the same", f"{widest}, {span(bars)}.")
    days = ", ".join(f"{day:%Y-%m-%d}" for day in steps["date"])
    return finish(
        plot,
        f"{widest} fell at its splits only as traded; adjusted, the line is continuous",
        f"Two lines of the close, {span(bars)}, that part before the ex-dates {days}.",
    )


def price_bars(prices: pd.DataFrame) -> Plot:
    """The last close of each symbol as a bar, with its 52-week low and high (frame: schema.BARS)."""
    prices = schema.conform(prices, schema.BARS, what="prices")
    year = prices.groupby("symbol").tail(252).groupby("symbol").agg(low=("low", "min"), high=("high", "max"))
    every = prices.groupby("symbol")["close"].last().sort_values()
    last = first_and_last(every)
    plot, axis = chart(0.9 + 0.36 * len(last), names=True)
    axis.barh(last.index, last, color=COLOURS[4], height=0.55)
    axis.hlines(last.index, year["low"][last.index], year["high"][last.index], color=INK, linewidth=1.6)
    axis.set_xlabel(f"price a share; bar: last close, line: 52-week low to high{of_all(len(last), len(every))}")
    return finish(
        plot,
        f"{last.index[-1]} has the highest price a share, {last.index[0]} the lowest; that says nothing of value",
        "Last closes: " + ", ".join(f"{symbol} {price:.2f}" for symbol, price in last.items()) + ".",
    )


def deepest_falls(prices: pd.DataFrame, count: int = 2) -> list[str]:
    """The symbols with the deepest maximum drawdown of the close, deepest first."""
    prices = schema.conform(prices, schema.CLOSES, what="prices")
    peak = prices.groupby("symbol")["close"].cummax()
    worst = (prices["close"] / peak - 1).groupby(prices["symbol"]).min()
    return [str(symbol) for symbol in worst.sort_values().index[:count]]


def through_time(prices: pd.DataFrame, symbols: Sequence[str]) -> Plot:
    """Closes of a few symbols and, below, how far each stands under its peak (frame: schema.BARS)."""
    prices = schema.conform(prices, schema.CLOSES, what="prices")
    plot, axes = canvas(4.6, 2, 1, sharex=True, height_ratios=[2, 1])
    worst = {}
    for k, symbol in enumerate(symbols):
        close = prices[prices["symbol"] == symbol].set_index("date")["close"]
        style = {"color": COLOURS[k % 8], "linestyle": DASHES[k % 4], "linewidth": 1.2}
        fall = (close / close.cummax() - 1) * 100
        worst[symbol] = fall.min()
        axes[0, 0].plot(close.index, close, label=symbol, **style)
        axes[1, 0].plot(fall.index, fall, **style)
    log_scale(axes[0, 0], "adjusted close")
    axes[0, 0].legend(fontsize=8, frameon=False)
    axes[1, 0].set_ylabel("below peak, %")
    dated(axes[1, 0])
    falls = " and ".join(f"{symbol} {fall:.0f} %" for symbol, fall in worst.items())
    return finish(plot, f"From peak to trough: {falls}", f"Closes and drawdowns, {span(prices)}.")


def candlesticks(prices: pd.DataFrame, symbol: str, *, last: int = 90) -> Plot:
    """The last bars of one symbol as candlesticks with SMA-5 and SMA-20, volume below (frame: schema.BARS)."""
    prices = schema.conform(prices, schema.BARS, what="prices")
    bars = prices[prices["symbol"] == symbol]
    lines = features.compute(bars, ["sma_5", "sma_20"]).tail(last)
    bars = bars.tail(last)
    at = np.arange(len(bars))
    rising = (bars["close"] >= bars["open"]).to_numpy()
    colours = np.where(rising, UP, DOWN)
    plot, axes = canvas(4.6, 2, 1, sharex=True, height_ratios=[3, 1])
    candles, volume = axes[:, 0]
    candles.vlines(at, bars["low"], bars["high"], color=colours, linewidth=0.9)
    height = (bars["close"] - bars["open"]).abs()
    face = np.where(rising, "white", DOWN)
    foot = bars[["open", "close"]].min(axis=1)
    boxes(candles, at, height, 0.62, foot, facecolors=face, edgecolors=colours, linewidths=0.9)
    candles.plot(at, lines["sma_5"], color=INK, linewidth=1.1, label="SMA-5")
    candles.plot(at, lines["sma_20"], color=INK, linewidth=1.3, linestyle="--", label="SMA-20")
    candles.set_ylabel("price a share")
    candles.legend(fontsize=8, frameon=False)
    boxes(volume, at, bars["volume"] / 1e6, 0.62, facecolors=colours, alpha=0.7)
    volume.set_ylabel("volume, million")
    ticks = at[:: max(1, len(at) // 6)]
    volume.set_xticks(ticks, [f"{bars['date'].iloc[k]:%d %b %Y}" for k in ticks])
    above = "above" if lines["sma_5"].iloc[-1] > lines["sma_20"].iloc[-1] else "below"
    return finish(
        plot,
        f"{symbol}: the 5-session mean ends {above} the 20-session mean",
        f"Candlesticks and volume of the last {len(bars)} sessions, {span(bars)}; hollow candles rose.",
    )


def return_distributions(prices: pd.DataFrame) -> Plot:
    """Daily log returns of each symbol against the normal curve of equal spread (frame: schema.BARS)."""
    import seaborn

    prices = schema.conform(prices, schema.CLOSES, what="prices")
    log_returns = np.log(prices["close"]).groupby(prices["symbol"]).diff()
    returns = prices.assign(percent=log_returns * 100).dropna(subset="percent")
    if returns.empty:
        return blank("No returns to show: no symbol has two sessions")
    kurtosis = returns.groupby("symbol")["percent"].apply(pd.Series.kurt)
    plot, pairs = panels(symbols_of(returns), sharex=True, sharey=True)
    for symbol, axis in pairs:
        percent = returns.loc[returns["symbol"] == symbol, "percent"]
        axis.set(xlabel="daily log return, %", ylabel="density")  # first, or seaborn measures all ticks to label them
        style = {"element": "step", "color": COLOURS[4], "alpha": 0.75, "linewidth": 0}  # one artist, not one a bar
        seaborn.histplot(percent, bins=np.linspace(-10, 10, 81), stat="density", ax=axis, **style)
        grid = np.linspace(-10, 10, 201)
        if percent.std() > 0:
            bell = np.exp(-(((grid - percent.mean()) / percent.std()) ** 2) / 2) / (percent.std() * np.sqrt(2 * np.pi))
            axis.plot(grid, bell, color=INK, linewidth=1, linestyle="--")
        axis.label_outer()
        kurt = f"kurtosis {kurtosis[symbol]:.1f}"
        axis.text(0.98, 0.9, kurt, transform=axis.transAxes, ha="right", fontsize=8, in_layout=False)
    outside = int((returns["percent"].abs() > 10).sum())
    tails = f"excess kurtosis from {kurtosis.min():.1f} to {kurtosis.max():.1f}, where a normal curve has 0"
    title = f"How the tails compare: {tails}" if kurtosis.notna().any() else "Too few moves to speak of tails"
    return finish(
        plot,
        f"Fat tails: {tails}" if kurtosis.min() > 1 else title,
        f"Histograms with the normal curve dashed; {outside} moves beyond 10 % lie outside the axis.",
    )


def walks(bars: pd.DataFrame, paths: pd.DataFrame, symbol: str) -> Plot:
    """One real symbol among simulated random walks of equal drift and volatility, each starting at 100."""
    bars = schema.conform(bars, schema.CLOSES, what="bars")
    plot, axis = chart(3.2)
    for k, (_, path) in enumerate(paths.groupby("symbol")):
        close = path["close"].to_numpy()
        axis.plot(close / close[0] * 100, color=MUTED, linewidth=0.8, label="random walks" if k == 0 else None)
    real = bars.loc[bars["symbol"] == symbol, "close"].to_numpy()
    axis.plot(real / real[0] * 100, color=UP, linewidth=1.4, label=symbol)
    log_scale(axis, "index, start = 100")
    axis.set_xlabel("sessions from the start")
    axis.legend(fontsize=8, frameon=False)
    ends = paths.groupby("symbol")["close"].agg(lambda close: close.iloc[-1] / close.iloc[0])
    under = int((ends < real[-1] / real[0]).sum())
    title = f"{symbol} ends above {under} of {len(ends)} random walks of its own drift and volatility"
    return finish(plot, title, f"{len(real)} sessions.")
