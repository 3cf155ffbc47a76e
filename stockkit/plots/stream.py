"""Figures of a stream: latest prices, a day with its signals, minutes, lag, rejected records, what followed signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.dates
import matplotlib.ticker
import numpy as np
import pandas as pd

from stockkit.errors import counted
from stockkit.forecast.judge.scores import LEVEL
from stockkit.forecast.trading.crossing_scores import Board
from stockkit.market import schema
from stockkit.market.signals import BUY, SELL
from stockkit.plots.figure import (
    COLOURS,
    DOWN,
    INK,
    MUTED,
    PANELS,
    UP,
    Plot,
    blank,
    boxes,
    canvas,
    chart,
    finish,
    first_and_last,
    heading,
    legend_below,
    of_all,
)

TICKS = {"symbol": "string", "event_time": "datetime64[ns, UTC]", "price": "float64", "number": "int64"}
ARRIVED = {**TICKS, "arrival": "datetime64[ns, UTC]"}
LINES = {**TICKS, "fast": "float64", "slow": "float64"}
SIGNALS = {**TICKS, "side": "string", "fast": "float64"}
MINUTES = {"symbol": "string", "minute": "datetime64[ns, UTC]", "volume": "int64"}
CANDLES = {**MINUTES, **dict.fromkeys(["open", "high", "low", "close"], "float64"), "late": "int64"}
LETTERS = {"reason": "string", "detail": "string"}
REPLAYED = pd.Timedelta("1h")  # a typical lag over this is no lag: the ticks were sent again later
SHORTEST = 0.1  # milliseconds: what a clock ahead of ours makes shorter is shown here
ALL = "all"  # how the line of all symbols together is named
ZOOM = 60  # ticks of the panel in which the averages can be told apart
SIDES = ((BUY, "^", UP, UP), (SELL, "v", DOWN, "white"))  # marker, edge and face: told apart in grey, too


def latest_prices(ticks: pd.DataFrame) -> Plot:
    """The price of each symbol's newest tick as a bar, with the low and high of its day (frame: the table `ticks`)."""
    ticks = schema.conform(ticks, TICKS, what="ticks")
    if ticks.empty:
        return blank("No prices to show: there are no ticks")
    day = _last_day(ticks, "event_time").sort_values(["event_time", "number"])
    every = day.groupby("symbol")["price"].agg(["first", "last", "min", "max"]).sort_values("last")
    shown = first_and_last(every)
    plot, axis = chart(0.9 + 0.36 * len(shown), names=True)
    axis.barh(shown.index, shown["last"], color=COLOURS[4], height=0.55)
    axis.hlines(shown.index, shown["min"], shown["max"], color=INK, linewidth=1.6)
    for symbol, row in shown.iterrows():
        axis.annotate(f"{row['last']:,.2f}", (row["max"], symbol), xytext=(6, 0), textcoords="offset points",
                      va="center", fontsize=8, color=INK)  # fmt: skip
    axis.margins(x=0.1)
    axis.set_xlabel(f"price a share; bar: newest tick, line: low to high of the day{of_all(len(shown), len(every))}")
    moved = (every["last"] / every["first"] - 1) * 100
    most = str(moved.abs().idxmax())
    return finish(
        plot,
        f"{most} moved most from its first tick to its newest: {moved[most]:+.1f} %; the newest of all is of "
        f"{day['event_time'].max():%Y-%m-%d %H:%M:%S} UTC",
        "Newest prices: " + ", ".join(f"{symbol} {price:,.2f}" for symbol, price in shown["last"].items()) + ".",
    )


def _last_day(frame: pd.DataFrame, time: str) -> pd.DataFrame:
    """The rows of each symbol's newest date (UTC)."""
    dates = frame[time].dt.floor("D")
    return frame[dates == dates.groupby(frame["symbol"]).transform("max")]


def signals_through_day(lines: pd.DataFrame, signals: pd.DataFrame, symbols: Sequence[str]) -> Plot:
    """A few symbols through their newest day: price and signals, and beside it some ticks with both averages.

    Args:
        lines: as from `batch_crossings.averages`.
        signals: of the same windows, as in the table `signals`.
        symbols: at most 18, a row of panels each; those without ticks are left out.
    """
    lines, signals = schema.conform(lines, LINES, what="ticks"), schema.conform(signals, SIGNALS, what="signals")
    days = {symbol: _last_day(lines[lines["symbol"] == symbol], "event_time") for symbol in symbols[:PANELS]}
    days = {symbol: day.sort_values(["event_time", "number"]) for symbol, day in days.items() if len(day)}
    if not days:
        return blank(f"No ticks to show: the table has none of {' or '.join(symbols)}")
    plot, axes = canvas(0.7 + 2.5 * len(days), len(days), 2, width_ratios=[5, 4])
    counts = {}
    for pair, (symbol, day) in zip(axes, days.items(), strict=True):
        first, last = day["event_time"].iloc[[0, -1]]
        marked = signals[(signals["symbol"] == symbol) & signals["event_time"].between(first, last)]
        counts[symbol] = len(marked), (last - first) / pd.Timedelta("1min")
        _whole_day(pair[0], symbol, day, marked)
        _some_ticks(pair[1], day, marked)
    axes[-1, 1].set_xlabel(f"{ZOOM} in a row, by number in the order of arrival")
    legend_below(plot, axes[0, 1])
    crossed = "; ".join(
        f"{symbol}: {counted(n, 'crossing')}" + (f", one every {minutes / n:.1f} minutes" if n else "")
        for symbol, (n, minutes) in counts.items()
    )
    day = next(iter(days.values()))
    return finish(
        plot, crossed, f"Ticks and signals of {day['event_time'].iloc[-1]:%Y-%m-%d}; buys point up, sells down."
    )


def _whole_day(axis: Any, symbol: str, day: pd.DataFrame, signals: pd.DataFrame) -> None:
    axis.plot(day["event_time"], day["price"], color=MUTED, linewidth=0.8)
    for side, marker, edge, face in SIDES:
        marked = signals[signals["side"] == side]
        axis.plot(marked["event_time"], marked["price"], marker, color=edge, markerfacecolor=face, markersize=3.2,
                  markeredgewidth=0.7)  # fmt: skip
    heading(axis, symbol)
    axis.set_ylabel("price a share")
    _clock(axis, day["event_time"])


def _some_ticks(axis: Any, day: pd.DataFrame, signals: pd.DataFrame) -> None:
    """The ticks around the signal in the middle of the day, or the last ones, in the order that defines averages."""
    day = day.sort_values("number")
    of_bars = signals["number"] == 0  # which have no number of their own
    places = day.drop_duplicates("event_time").set_index("event_time")["number"].reindex(signals["event_time"])
    signals = signals.assign(number=signals["number"].mask(of_bars, places.to_numpy())).sort_values("number")
    middle = signals["number"].iloc[len(signals) // 2] if len(signals) else day["number"].iloc[-1]
    start = max(min(int(day["number"].searchsorted(middle)) - ZOOM // 2, len(day) - ZOOM), 0)
    near = day.iloc[start : start + ZOOM]
    axis.plot(near["number"], near["price"], ".", color=MUTED, markersize=3.5, label="price")
    axis.plot(near["number"], near["fast"], color=INK, linewidth=1.1, label="fast average")
    axis.plot(near["number"], near["slow"], color=INK, linewidth=1.3, linestyle="--", label="slow average")
    inside = signals[signals["number"].between(*near["number"].iloc[[0, -1]])]
    for side, marker, edge, face in SIDES:
        marked = inside[inside["side"] == side]
        style = {"color": edge, "markerfacecolor": face, "linestyle": "none", "marker": marker, "markersize": 7}
        axis.plot(marked["number"], marked["fast"], label=side, **style)


def _clock(axis: Any, times: pd.Series) -> None:
    """Give the x axis hours and minutes, and their date below."""
    axis.xaxis.set_major_locator(matplotlib.dates.AutoDateLocator(minticks=3, maxticks=8))
    axis.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    axis.set_xlabel(f"time on {times.max():%Y-%m-%d}, UTC")


def minute_candles(bars: pd.DataFrame, symbol: str, *, last: int = 120) -> Plot:
    """The last minutes of one symbol as candles, volume below (frame: the table `bars_1m`)."""
    bars = schema.conform(bars, CANDLES, what="bars_1m")
    bars = bars[bars["symbol"] == symbol].sort_values("minute").tail(last)
    if bars.empty:
        return blank(f"No candles to show: there are no minutes of {symbol}")
    rising = (bars["close"] >= bars["open"]).to_numpy()
    colours, at = np.where(rising, UP, DOWN), bars["minute"]
    plot, axes = canvas(4.8, 2, 1, sharex=True, height_ratios=[5, 2])
    candles, volume = axes[:, 0]
    width = pd.Timedelta("40s") / pd.Timedelta("1D")
    candles.vlines(at, bars["low"], bars["high"], color=colours, linewidth=0.9)
    face = np.where(rising, "white", DOWN)
    body, foot = (bars["close"] - bars["open"]).abs(), bars[["open", "close"]].min(axis=1)
    boxes(candles, at, body, width, foot, facecolors=face, edgecolors=colours, linewidths=0.9)
    corrected = bars[bars["late"] > 0]
    if len(corrected):
        candles.plot(
            corrected["minute"], corrected["low"], "x", color=INK, markersize=4, label="corrected by a late tick"
        )
        candles.legend(fontsize=8, loc="upper left", edgecolor="white")
    candles.use_sticky_edges = False  # else the lowest candle ends at the edge
    candles.set_ylabel("price a share")
    boxes(volume, at, bars["volume"] / 1e3, width, facecolors=colours, alpha=0.7)
    volume.set_ylabel("thousand shares")
    _clock(volume, at)
    reach = (bars["high"] / bars["low"] - 1) * 1e4
    wide = bars.loc[reach.idxmax(), "minute"]
    return finish(
        plot,
        f"{symbol}: {int(rising.sum())} of the last {counted(len(bars), 'minute')} did not fall; the widest, "
        f"{wide:%H:%M}, had {reach.max():.0f} bp from low to high",
        f"Candles and volume, {_span(bars['minute'])}; hollow ones rose; {len(corrected)} corrected by late ticks.",
    )


def volume_by_minute(bars: pd.DataFrame) -> Plot:
    """The volume of all symbols by minute of the newest day (frame: the table `bars_1m`)."""
    bars = schema.conform(bars, MINUTES, what="bars_1m")
    if bars.empty:
        return blank("No volume to show: there are no minutes")
    day = bars[bars["minute"].dt.floor("D") == bars["minute"].max().floor("D")]
    total = day.groupby("minute")["volume"].sum()
    plot, axis = chart(2.8)
    boxes(axis, total.index, total / 1e3, pd.Timedelta("50s") / pd.Timedelta("1D"), facecolors=COLOURS[4])
    axis.axhline(total.mean() / 1e3, color=INK, linewidth=1, linestyle="--", label="mean")
    axis.set_ylabel("thousand shares a minute")
    axis.legend(fontsize=8, frameon=False)
    _clock(axis, day["minute"])
    busiest, mean = total.idxmax(), total.mean()
    times = f", {total.max() / mean:.1f} times the mean" if mean else ""
    return finish(
        plot,
        f"The busiest minute was {busiest:%H:%M} UTC with {total.max():,.0f} shares{times}",
        f"Volume of {counted(day['symbol'].nunique(), 'symbol')}, {_span(total.index.to_series())}.",
    )


def lag_histogram(ticks: pd.DataFrame) -> Plot:
    """How long after its event each tick arrived; of a replay, where that says nothing, how far ticks were overtaken.

    Ticks are of a replay where they arrived more than an hour after their event, or before it, by the median: such a
    lag says when they were sent again.

    Args:
        ticks: the table `ticks`.
    """
    ticks = schema.conform(ticks, ARRIVED, what="ticks")
    if ticks.empty:
        return blank("No lag to show: there are no ticks")
    lag = ticks["arrival"] - ticks["event_time"]
    if not pd.Timedelta(0) <= lag.median() <= REPLAYED:
        return _overtaken(ticks)
    milliseconds = lag / pd.Timedelta("1ms")
    plot, axis = chart(2.8)
    _histogram(axis, milliseconds.clip(lower=SHORTEST))
    middle, slow = milliseconds.quantile([0.5, 0.99])
    for place, style, name in ((middle, "-", "50 %"), (slow, "--", "99 %")):
        axis.axvline(place, color=INK, linewidth=1, linestyle=style, label=name)
    axis.set(xlabel="arrival − event time, ms, log scale", ylabel="ticks")
    axis.legend(fontsize=8, frameon=False)
    return finish(
        plot,
        f"Half of the ticks arrived within {middle:,.0f} ms, 99 % within {slow:,.0f} ms",
        f"A histogram of {len(ticks):,} lags, from {milliseconds.min():,.1f} to {milliseconds.max():,.0f} ms.",
    )


def _histogram(axis: Any, values: pd.Series) -> None:
    """A histogram on a logarithmic axis with plain numbers at its ticks."""
    axis.hist(values, np.geomspace(values.min() * 0.98, values.max() * 1.02, 51), color=COLOURS[4])
    axis.set_xscale("log")
    decades = np.log10(values.max() / values.min())
    axis.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0) if decades < 4 else (1.0,)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _overtaken(ticks: pd.DataFrame) -> Plot:
    """How much older ticks were than the newest of their symbol when they arrived."""
    ordered = ticks.sort_values(["symbol", "number"])
    newest = ordered["event_time"].groupby(ordered["symbol"]).cummax()
    behind = (newest - ordered["event_time"]) / pd.Timedelta("1s")
    overtaken = behind[behind > 0]
    rule = "A replay has no lag: its arrival says when it was sent again"
    if overtaken.empty:
        return blank(f"{rule}; each tick came in the order of its event")
    plot, axis = chart(2.8)
    _histogram(axis, overtaken)
    axis.set(xlabel="behind the newest tick of the symbol, s, log scale", ylabel="ticks")
    share = len(overtaken) / len(ticks) * 100
    return finish(
        plot,
        f"{rule}. {share:.1f} % of the ticks came after a newer one, by {overtaken.max():,.0f} s at most",
        f"A histogram of {len(overtaken):,} of {len(ticks):,} ticks; half of them were less than "
        f"{overtaken.median():,.1f} s behind.",
    )


def rejected_records(dead_letters: pd.DataFrame) -> Plot:
    """How many records were rejected for each reason (frame: the table `dead_letters`)."""
    letters = schema.conform(dead_letters, LETTERS, what="dead_letters")
    if letters.empty:
        return blank("No records were rejected")
    counts = letters["reason"].value_counts().sort_values(kind="stable")
    plot, axis = chart(0.9 + 0.32 * len(counts), names=True)
    axis.barh(counts.index, counts, color=COLOURS[4], height=0.55)
    axis.bar_label(axis.containers[0], fmt="{:,.0f}", padding=3, fontsize=8)
    axis.margins(x=0.08)
    axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axis.set_xlabel("records")
    reasons = counted(len(counts), "reason")
    return finish(
        plot,
        f"{counted(len(letters), 'record')} rejected, for {reasons}; most often: {counts.index[-1]}",
        "Rejected: " + ", ".join(f"{reason} {count}" for reason, count in counts[::-1].items()) + ".",
    )


def after_signals(board: Board) -> Plot:
    """The mean move in the direction of the signals with its 95 % interval, a line a symbol and a panel a horizon.

    Args:
        board: as from `crossing_scores.score`; of more than 40 symbols the 20 lowest and highest means are shown.
    """
    known = board.lines().fillna({"symbol": ALL}).dropna(subset="p")
    if known.empty:
        return blank("Nothing followed that could be judged: too few signals")
    horizons, order = sorted(known["horizon"].unique()), known.groupby("symbol")["mean_bp"].mean().sort_values()
    symbols = order.drop(ALL, errors="ignore")
    shown = first_and_last(symbols)
    names = [*order.index.intersection([ALL]), *shown.index]
    plot, axes = canvas(1.3 + 0.3 * len(names), 1, len(horizons), sharey=True, sharex=True)
    for axis, horizon in zip(axes[0], horizons, strict=True):
        _means(axis, known[(known["horizon"] == horizon) & known["symbol"].isin(names)], names, 2 * board.cost)
        unit = board.unit if horizon > 1 else board.unit.removesuffix("s")
        heading(axis, f"after {horizon} {unit}")
    label = "mean log return in the signal's direction, bp, and its 95 % interval; dashed: what a trade costs"
    plot.supxlabel(f"{label}{of_all(len(shown), len(symbols))}", fontsize=8, color=INK)
    cost = f"{2 * board.cost:g} bp that it costs to get in and out"
    differ, paid = int((known["p_holm"] < LEVEL).sum()), int((known["mean_bp"] > 2 * board.cost).sum())
    return finish(
        plot,
        f"{differ} of {len(known)} means differ from 0 after correction; {paid} are over the {cost}",
        f"Means from {known['mean_bp'].min():+z.1f} to {known['mean_bp'].max():+z.1f} bp.",
    )


def _means(axis: Any, rows: pd.DataFrame, names: Sequence[str], cost: float) -> None:
    """Means and intervals of one horizon, the names from below."""
    from scipy import special

    at = pd.Index(names).get_indexer(rows["symbol"])
    reach = special.stdtrit(rows["blocks"] - 1, 0.975) * rows["error_bp"]
    axis.hlines(at, rows["mean_bp"] - reach, rows["mean_bp"] + reach, color=UP, linewidth=1.4)
    axis.plot(rows["mean_bp"], at, "o", color=INK, markersize=4)
    axis.axvline(0, color=INK, linewidth=1)
    axis.axvline(cost, color=DOWN, linewidth=1.2, linestyle="--")
    axis.grid(axis="y", visible=False)
    axis.set_yticks(range(len(names)), names)


def _span(times: pd.Series) -> str:
    return f"{times.min():%Y-%m-%d %H:%M} to {times.max():%H:%M} UTC"
