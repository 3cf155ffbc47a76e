"""Figures of the answers to the questions in ``sql/``, each named after its question; columns as the file states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockkit.plots.figure import (
    COLOURS,
    DASHES,
    DOWN,
    INK,
    MUTED,
    ROWS,
    UP,
    Plot,
    blank,
    chart,
    dated,
    finish,
    first_and_last,
    of_all,
    symbols_of,
)
from stockkit.plots.tables import heat

LINES = 12  # symbols with a line through time, and days with a name


def top_movers(answer: pd.DataFrame) -> Plot:
    """Each symbol's move in its last session, the largest on top."""
    known = answer.dropna(subset=["move_pct"])
    if known.empty:
        return blank("No move to show: less than two sessions of prices")
    total, known = len(known), known.head(ROWS)
    axis, plot = _bars(known["symbol"], known["move_pct"], f"move of the close, %{of_all(len(known), total)}")
    first = known.iloc[0]
    axis.axvline(0, color=INK, linewidth=0.8)
    return finish(
        plot,
        f"{first['symbol']} moved most in the last session: {first['move_pct']:+.1f} % on {first['date']:%Y-%m-%d}",
        "Bars: " + ", ".join(f"{row.symbol} {row.move_pct:+.1f} %" for row in known.itertuples()) + ".",
    )


def year_extremes(answer: pd.DataFrame) -> Plot:
    """How far each last close is below the high of 252 sessions, and how far the low was."""
    if answer.empty:
        return blank("No extremes to show: there are no prices")
    rows = first_and_last(answer.sort_values("below_high_pct", ascending=False))
    plot, axis = chart(0.9 + 0.32 * len(rows), names=True)
    axis.hlines(rows["symbol"], (rows["low_52w"] / rows["high_52w"] - 1) * 100, 0, color=MUTED, linewidth=1.4)
    axis.plot(-rows["below_high_pct"], rows["symbol"], "o", color=UP, markersize=7)
    more = of_all(len(rows), len(answer))
    axis.set_xlabel(f"% from the 52-week high; line: down to the 52-week low, dot: the last close{more}")
    near = rows.iloc[-1]
    return finish(
        plot,
        f"{near['symbol']} is nearest to its 52-week high, {near['below_high_pct']:.1f} % below it",
        "Below the high: " + ", ".join(f"{r.symbol} {r.below_high_pct:.1f} %" for r in rows[::-1].itertuples()) + ".",
    )


def correlations(answer: pd.DataFrame) -> Plot:
    """The correlation of every two symbols as a heat map."""
    if answer.empty:
        return blank("No correlation to show: it takes two symbols with sessions in common")
    pairs = answer.set_index(["symbol", "other"])["correlation"]
    names = sorted({name for pair in pairs.index for name in pair})
    at = {name: k for k, name in enumerate(names)}
    cells = np.eye(len(names))
    row, column = (pairs.index.get_level_values(k).map(at) for k in (0, 1))
    cells[row, column] = cells[column, row] = pairs.to_numpy()
    square = pd.DataFrame(cells, index=names, columns=names)
    return heat(square, "daily log returns of the last 252 sessions", 0.42)


def volume_spikes(answer: pd.DataFrame) -> Plot:
    """How many times the usual volume, against what the price did on that day."""
    if answer.empty:
        return blank("No volume to compare: less than 61 sessions of prices")
    plot, axis = chart(3.4)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.scatter(answer["times_usual"], answer["move_pct"], color=np.where(answer["move_pct"] < 0, DOWN, UP), s=26)
    for k, row in enumerate(answer.head(LINES).itertuples()):
        axis.annotate(f"{row.symbol} {row.date:%Y-%m-%d}", (row.times_usual, row.move_pct), fontsize=7, color=INK,
                      xytext=(5, (4, -9)[k % 2]), textcoords="offset points")  # fmt: skip
    axis.margins(x=0.16, y=0.12)
    named = f"; named: the first {LINES} of {len(answer):,}" if len(answer) > LINES else ""
    axis.set(xlabel=f"volume / mean of the 60 sessions before{named}", ylabel="move of the close, %")
    top, fell = answer.iloc[0], int((answer["move_pct"] < 0).sum())
    return finish(
        plot,
        f"On {fell} of the {len(answer)} busiest days the price fell; the busiest was {top['symbol']} on "
        f"{top['date']:%Y-%m-%d}, {top['times_usual']:.0f} times the usual",
        f"A point a day, from {answer['times_usual'].min():.1f} to {answer['times_usual'].max():.1f} times the usual.",
    )


def gaps(answer: pd.DataFrame) -> Plot:
    """How many gaps up and down each symbol had, and how many of them were closed the same day."""
    if answer.empty:
        return blank("No gaps to show: no open was 2 % or more away from the close before")
    total = answer.groupby("symbol")["gaps"].sum()
    often = set(total.nlargest(ROWS, keep="first").index)
    names = [name for name in symbols_of(answer)[::-1] if name in often]
    plot, axis = chart(1.0 + 0.36 * len(names), names=True)
    for direction, colour, side in (("up", UP, 1), ("down", DOWN, -1)):
        rows = answer[answer["direction"] == direction].set_index("symbol").reindex(names)
        count = rows["gaps"].fillna(0).astype("float64") * side
        axis.barh(names, count, color=colour, alpha=0.35, height=0.55, label=f"{direction}")
        axis.barh(names, count * rows["filled_pct"].fillna(0) / 100, color=colour, height=0.55)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    more = of_all(len(names), len(total))
    axis.set_xlabel(f"gaps down (left) and up (right); dark: the close before was met again the same day{more}")
    filled = float((answer["gaps"] * answer["filled_pct"]).sum() / answer["gaps"].sum())
    return finish(
        plot,
        f"{total.idxmax()} gapped most often, {total.max()} times; {filled:.0f} % of all gaps were closed the same day",
        "Gaps of 2 % and more: " + ", ".join(f"{symbol} {count}" for symbol, count in total[names].items()) + ".",
    )


def drawdowns(answer: pd.DataFrame) -> Plot:
    """The deepest fall from a peak, and where the close stands now."""
    if answer.empty:
        return blank("No falls to show: there are no prices")
    total, answer = len(answer), answer.head(ROWS)
    more = of_all(len(answer), total)
    axis, plot = _bars(answer["symbol"], answer["worst_pct"], f"below the highest close so far, %; dot: now{more}")
    axis.plot(answer["now_pct"][::-1], answer["symbol"][::-1], "o", color=INK, markersize=4)
    worst = answer.iloc[0]
    return finish(
        plot,
        f"{worst['symbol']} fell deepest: {worst['worst_pct']:.0f} % on {worst['worst_on']:%Y-%m-%d}, "
        f"{worst['now_pct']:.0f} % now",
        "Deepest falls: " + ", ".join(f"{row.symbol} {row.worst_pct:.0f} %" for row in answer.itertuples()) + ".",
    )


def volatility_ranking(answer: pd.DataFrame) -> Plot:
    """Volatility of the last quarter, of the last year and of the whole history, a line a symbol."""
    ranked = answer.dropna(subset=["last_252_pct"])[::-1]
    known = first_and_last(ranked)
    if known.empty:
        return blank("No volatility to show: less than three sessions of prices")
    plot, axis = chart(1.0 + 0.34 * len(known))
    for column, label, mark, colour in (
        ("whole_pct", "whole history", "|", INK),
        ("last_252_pct", "252 sessions", "o", UP),
        ("last_63_pct", "63 sessions", "D", DOWN),
    ):
        axis.plot(known[column], known["symbol"], mark, color=colour, label=label, markersize=7 if mark != "|" else 14)
    axis.set_xlabel(f"volatility, % a year{of_all(len(known), len(ranked))}")
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    top = known.iloc[-1]
    return finish(
        plot,
        f"{top['symbol']} is the most volatile: {top['last_252_pct']:.0f} % a year over the last 252 sessions, "
        f"{top['whole_pct']:.0f} % over all",
        "Over 252 sessions: " + ", ".join(f"{r.symbol} {r.last_252_pct:.0f} %" for r in known[::-1].itertuples()) + ".",
    )


def rolling_beta(answer: pd.DataFrame) -> Plot:
    """Beta to the equal-weighted mean through time, a line a symbol."""
    if answer.empty:
        return blank("No beta to show: less than 127 sessions of prices")
    plot, axis = chart(3.4)
    axis.axhline(1, color=INK, linewidth=0.8)
    last = answer.groupby("symbol")["beta"].last()
    shown = set(first_and_last(last.sort_values(), LINES).index)
    for k, (symbol, beta) in enumerate(answer[answer["symbol"].isin(shown)].groupby("symbol")):
        axis.plot(
            beta["date"], beta["beta"], color=COLOURS[k % 8], linestyle=DASHES[k % 4], linewidth=1.2, label=symbol
        )
    axis.set_ylabel(f"beta, 126 sessions{of_all(len(shown), len(last))}")
    axis.legend(fontsize=8, frameon=False, ncols=min(6, len(shown)), loc="upper left")
    dated(axis)
    return finish(
        plot,
        f"Beta now: {last.idxmax()} moves most with the mean of all ({last.max():.2f}), {last.idxmin()} least "
        f"({last.min():.2f})",
        f"Lines from {answer['date'].min():%Y-%m} to {answer['date'].max():%Y-%m}; 1 is the mean itself.",
    )


def _bars(names: pd.Series, values: pd.Series, label: str) -> tuple[Any, Plot]:
    """Horizontal bars, the first on top, coloured by sign."""
    plot, axis = chart(0.9 + 0.32 * len(names), names=True)
    axis.barh(names[::-1], values[::-1], color=np.where(values[::-1] < 0, DOWN, UP), height=0.55)
    axis.set_xlabel(label)
    return axis, plot
