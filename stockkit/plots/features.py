"""Figures of a table of features: beside the price, against its own past, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
import pandas as pd

from stockkit.features import CATALOGUE
from stockkit.market import schema
from stockkit.plots.figure import (
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
    heading,
    log_scale,
    span,
)

MEANS = {"to_sma_20": ("SMA 20", "--"), "to_sma_50": ("SMA 50", "-."), "to_sma_200": ("SMA 200", ":")}
OUTER = 5  # percent at either end of a feature's own past that count as unusual


def group_of(name: str) -> str:
    """The group of a feature in the catalogue; "other" for a column that is not in it."""
    return CATALOGUE[name].group if name in CATALOGUE else "other"


def price_with_indicators(bars: pd.DataFrame, table: pd.DataFrame, symbol: str, *, last: int = 252) -> Plot:
    """One symbol's close with its means and Bollinger bands above RSI, MACD histogram and volume.

    Args:
        bars: as `schema.BARS`, rows in any order.
        table: as `features.compute`; of to_sma_20, to_sma_50, to_sma_200, rsi_14 and macd_hist it shows what is there.
        symbol: whose.
        last: sessions shown; the bands are computed before the cut.
    """
    bars = schema.conform(bars, schema.BARS, what="bars")
    shown = bars[bars["symbol"] == symbol].sort_values("date")
    if shown.empty or shown["close"].isna().all():
        return blank(f"No prices of {symbol} to show")
    values = table[table["symbol"] == symbol].set_index("date").reindex(shown["date"]).reset_index()
    shown = shown.reset_index(drop=True)
    spread = 2 * shown["close"].rolling(20).std(ddof=0)  # Bollinger 2001: two standard deviations of 20 sessions
    middle = shown["close"].rolling(20).mean()
    shown = shown.assign(low_band=middle - spread, high_band=middle + spread).tail(last)
    values = values.tail(last)
    lower = [name for name in ("rsi_14", "macd_hist") if name in table]
    plot, axes = canvas(
        3.6 + 0.9 * len(lower), 2 + len(lower), 1, sharex=True, height_ratios=[3, *[1] * (1 + len(lower))]
    )
    _price(axes[0, 0], shown, values)
    for name, axis in zip(lower, axes[1:, 0], strict=False):
        (_rsi if name == "rsi_14" else _macd)(axis, values)
    boxes(axes[-1, 0], shown["date"], shown["volume"] / 1e6, 1.0, facecolors=MUTED)
    axes[-1, 0].set_ylabel("volume,\nmillion", fontsize=8)
    dated(axes[-1, 0])
    return finish(
        plot, _standing_of_price(symbol, shown, values), f"{len(shown)} sessions, {span(shown)}; volume at the bottom."
    )


def _price(axis: Any, shown: pd.DataFrame, values: pd.DataFrame) -> None:
    band = shown["low_band"].where(shown["low_band"] > 0), shown["high_band"]  # a log axis has no place for less
    axis.fill_between(shown["date"], *band, color=MUTED, alpha=0.22, linewidth=0, label="Bollinger 20, 2 sd")
    axis.plot(shown["date"], shown["close"], color=INK, linewidth=1.2, label="close")
    for (name, (label, dash)), colour in zip(MEANS.items(), (UP, DOWN, INK), strict=True):
        if name in values:
            mean = shown["close"].to_numpy() / (1 + values[name].to_numpy())
            axis.plot(shown["date"], mean, color=colour, linestyle=dash, linewidth=1.2, label=label)
    log_scale(axis, "price a share")
    if shown["close"].max() < 5 * shown["close"].min():  # too narrow for ticks at 1, 2 and 5 of each power of ten
        axis.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.legend(fontsize=7, frameon=False, ncols=5, loc="upper left")
    axis.margins(y=0.12)


def _rsi(axis: Any, values: pd.DataFrame) -> None:
    axis.plot(values["date"], values["rsi_14"], color=INK, linewidth=1)
    for level in (30, 70):
        axis.axhline(level, color=MUTED, linewidth=0.8, linestyle="--")
    for beyond, edge in ((values["rsi_14"] > 70, 70), (values["rsi_14"] < 30, 30)):
        axis.fill_between(values["date"], values["rsi_14"], edge, where=beyond, color=DOWN, alpha=0.5, linewidth=0)
    axis.set(ylim=(0, 100), yticks=(30, 70))
    axis.set_ylabel("RSI 14,\n0 to 100", fontsize=8)


def _macd(axis: Any, values: pd.DataFrame) -> None:
    percent = (values["macd_hist"] * 100).replace([np.inf, -np.inf], np.nan)
    boxes(axis, values["date"], percent, 1.0, facecolors=np.where(percent < 0, DOWN, UP))
    axis.axhline(0, color=INK, linewidth=0.6)
    axis.set_ylabel("MACD hist.,\n% of close", fontsize=8)


def _standing_of_price(symbol: str, shown: pd.DataFrame, values: pd.DataFrame) -> str:
    now, close = values.iloc[-1], shown["close"].iloc[-1]
    sides: dict[str, list[str]] = {"above": [], "below": []}
    for name in MEANS:
        if name in values and np.isfinite(now[name]):
            sides["above" if now[name] >= 0 else "below"].append(name.removeprefix("to_sma_"))
    parts = [f"{side} its mean of {_listed(days)} sessions" for side, days in sides.items() if days]
    rsi = f"; RSI {now['rsi_14']:.0f}" if "rsi_14" in values and np.isfinite(now["rsi_14"]) else ""
    where = " but ".join(parts) or "with too short a history for its means"
    return f"{symbol} ends at {close:,.2f}, {where}{rsi}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def percentiles(table: pd.DataFrame, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Where the last value of each feature stands among its symbol's own, as a figure of them shows.

    Args:
        table: as `features.compute`, rows in any order.
        names: its columns; by default all but those in units of price or shares, which only follow the price.

    Returns:
        symbol, feature, group and percentile (0 to 100, ties in the middle), for every value that is not missing.
    """
    kept = [
        name for name in table if name not in ("symbol", "date") and getattr(CATALOGUE.get(name), "scale_free", True)
    ]
    kept = kept if names is None else list(names)
    rows = []
    for symbol, history in table.sort_values("date", kind="stable").groupby("symbol", sort=False):
        block = history[kept].to_numpy(dtype="float64")
        if not block.size:
            continue
        known = np.maximum(np.isfinite(block).sum(axis=0), 1)
        place = ((block < block[-1]).sum(axis=0) + (block <= block[-1]).sum(axis=0)) / (2 * known) * 100
        rows += [
            (symbol, name, group_of(name), at)
            for name, at, now in zip(kept, place, block[-1], strict=True)
            if np.isfinite(now)
        ]
    return pd.DataFrame(rows, columns=["symbol", "feature", "group", "percentile"]).astype({"symbol": "string"})


def standing(table: pd.DataFrame, names: Sequence[str] | None = None, *, symbols: int = 8) -> Plot:
    """Where every feature stands now in its own past, a panel a group and a line a symbol.

    Args:
        table: as `features.compute`, with the history that the last value is compared with.
        names: as of `percentiles`.
        symbols: how many are shown at most, the most unusual first.
    """
    now = percentiles(table, names)
    if now.empty:
        return blank("No feature has a last value to compare with its past")
    now = now.assign(outer=(now["percentile"] < OUTER) | (now["percentile"] > 100 - OUTER))
    shown = now.groupby("symbol")["outer"].mean().sort_values(ascending=False, kind="stable").index[:symbols]
    groups = list(dict.fromkeys(now["group"]))
    plot, axes = canvas(0.9 + len(groups) * (0.45 + 0.2 * len(shown)), len(groups), 1, sharex=True)
    for group, axis in zip(groups, axes[:, 0], strict=True):
        _group_panel(axis, now[now["group"] == group], list(shown))
        heading(axis, f"{group}: {now.loc[now['group'] == group, 'feature'].nunique()} features")
    axes[-1, 0].set_xlabel("percentile of the last value in the symbol's own past; named: the most unusual", fontsize=8)
    dots = now[now["symbol"] == shown[0]]
    return finish(
        plot,
        f"{shown[0]} is the most unusual now: {int(dots['outer'].sum())} of its {len(dots)} features are in the outer "
        f"{2 * OUTER} % of their own past; of all, {now['outer'].mean() * 100:.0f} % are",
        f"Dots for {now['feature'].nunique()} features ({', '.join(groups)}) and {len(shown)} of "
        f"{now['symbol'].nunique()} symbols, the outer {OUTER} % at either end shaded.",
    )


def _group_panel(axis: Any, now: pd.DataFrame, symbols: list[str]) -> None:
    for low in (0, 100 - OUTER):
        axis.axvspan(low, low + OUTER, color=MUTED, alpha=0.2, linewidth=0)
    for line, symbol in enumerate(symbols):
        dots = now[now["symbol"] == symbol]
        colours = np.where(dots["outer"], DOWN, INK)
        axis.scatter(
            dots["percentile"],
            np.full(len(dots), line),
            s=np.where(dots["outer"], 26, 10),
            c=colours,
            alpha=0.55,
            linewidth=0,
        )
        if len(dots):
            far = dots.loc[(dots["percentile"] - 50).abs().idxmax()]
            axis.text(101.5, line, f"{far['feature']} at {far['percentile']:.0f}", fontsize=7, va="center", color=INK)
    axis.set(xlim=(0, 100), ylim=(len(symbols) - 0.5, -0.5), yticks=range(len(symbols)))
    axis.set_yticklabels(symbols)
    axis.grid(axis="y", visible=False)


def missing_values(table: pd.DataFrame, *, periods: int = 60) -> Plot:
    """The share of missing values of each feature through time, darker for more, with the end of its look-back.

    Where nothing is missing after the look-backs, only the sessions up to a quarter beyond the longest are shown.

    Args:
        table: as `features.compute`, from the first session of each symbol on, rows in any order.
        periods: columns of the map at most; each holds as many sessions.
    """
    names = [str(name) for name in table if name not in ("symbol", "date")]
    if not names or table.empty:
        return blank("No values to look for: the table of features is empty")
    keys = table[["symbol", "date"]].reset_index(drop=True).sort_values(["symbol", "date"], kind="stable")
    gone = np.empty((len(keys), len(names)), dtype=bool)  # a byte a value: the table may take most of the memory
    for k, name in enumerate(names):
        gone[:, k] = table[name].isna().to_numpy()[keys.index]
    back = np.array([CATALOGUE[name].look_back if name in CATALOGUE else 0 for name in names])
    beyond = gone & (keys.groupby("symbol").cumcount().to_numpy()[:, None] >= back)
    days, day = np.unique(keys["date"].to_numpy(), return_inverse=True)
    last_gone = int(day[gone.any(axis=1)].max(initial=0))
    shown = len(days) if beyond.any() else min(len(days), int(1.25 * last_gone) + 10)
    here = day < shown
    period = day[here] * min(periods, shown) // shown
    share = pd.DataFrame([np.bincount(period, missing[here]) for missing in gone.T], index=names) / np.bincount(period)
    plot = _missing_map(share, back, days[:shown])
    alt = f"{len(names)} features, {span(keys)}: {shown:,} of {len(days):,} sessions shown; marks: look-backs."
    return finish(plot, _missing_title(keys, names, gone, beyond), alt)


def _missing_map(share: pd.DataFrame, back: np.ndarray, days: np.ndarray) -> Plot:
    rows = share.assign(back=back).sort_values("back", kind="stable")
    if len(rows) > 30:  # more names than can be read: those with the same look-back together
        count = rows.groupby("back").size()
        rows = rows.groupby("back").mean().reset_index()
        rows.index = pd.Index([f"{n} with look-back {b}" for b, n in count.items()])
    ends, values = rows.pop("back").to_numpy(), rows.to_numpy(dtype="float64")
    plot, axis = chart(1.3 + 0.17 * len(rows))
    at = np.arange(len(rows))
    edges = np.linspace(0, len(days), values.shape[1] + 1)
    mesh = axis.pcolormesh(edges, np.arange(len(rows) + 1), np.sqrt(values), cmap="Greys", vmin=0, vmax=1)
    axis.vlines(np.minimum(ends, len(days)), at + 0.05, at + 0.95, color=DOWN, linewidth=2.5)
    axis.set(ylim=(len(rows), 0), xlim=(-0.004 * len(days), len(days)))
    axis.set_xlabel("session; mark: the end of the look-back", fontsize=8)
    axis.set_yticks(at + 0.5, rows.index, fontsize=7)
    ticks = np.unique(np.linspace(0, len(days) - 1, 6).astype(int))
    axis.set_xticks(ticks, [f"{k:,}\n{pd.Timestamp(days[k]):%d %b %Y}" for k in ticks])
    axis.grid(visible=False)
    bar = plot.colorbar(mesh, ax=axis, ticks=np.sqrt([0, 0.05, 0.25, 0.5, 1]), aspect=35, pad=0.01)  # little shows, too
    bar.ax.set_yticklabels(["0", "5", "25", "50", "100"], fontsize=8)
    bar.set_label("missing, %", fontsize=8)
    return plot


def _missing_title(table: pd.DataFrame, names: list[str], gone: np.ndarray, beyond: np.ndarray) -> str:
    if not gone.any():
        return "No value is missing"
    share = f"{gone.mean() * 100:.1f} % of the values are missing"
    if not beyond.any():
        return f"{share}, all of them within a look-back: nothing before the data is invented"
    worst = int(beyond.sum(axis=0).argmax())
    symbol = table["symbol"].to_numpy()[beyond[:, worst]]
    most = pd.Series(symbol).value_counts().index[0]
    return f"{share}, {beyond.sum():,} of them after the look-back: most in {names[worst]}, there most of {most}"
