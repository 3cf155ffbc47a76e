"""The 20 features of the catalogue's `basic` group against TA-Lib in a bare loop, polars and pandas; a new day."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import talib

from benchmarks.measure import best, peak, say
from stockkit import features
from stockkit.market import schema

# 20 that the others have, too, in about as many words
NAMES = [
    "ret_1", "ret_5", "ret_21", "gap", "to_sma_20", "to_sma_50", "to_sma_200", "to_ema_20", "macd_hist", "rsi_14",
    "bollinger_20", "natr_14", "adx_14", "cci_20", "mfi_14", "obv_20", "vol_20", "vol_60", "volume_z_20", "pos_252",
]  # fmt: skip


def bare_talib(columns: list[np.ndarray], edges: np.ndarray) -> list[np.ndarray]:
    """TA-Lib's nearest functions over each symbol's slices, kept in a list: no frame, no check, no names."""
    out = []
    for first, last in itertools.pairwise(edges):
        o, h, l, c, v = (column[first:last] for column in columns)  # noqa: E741
        out += [
            talib.ROC(c, 1), talib.ROC(c, 5), talib.ROC(c, 21), talib.ROC(o, 1), talib.SMA(c, 20), talib.SMA(c, 50),
            talib.SMA(c, 200), talib.EMA(c, 20), talib.MACD(c)[2], talib.RSI(c, 14), talib.BBANDS(c, 20, 2.0, 2.0),
            talib.NATR(h, l, c, 14), talib.ADX(h, l, c, 14), talib.CCI(h, l, c, 20), talib.MFI(h, l, c, v, 14),
            talib.OBV(c, v), talib.STDDEV(c, 20), talib.STDDEV(c, 60), talib.SMA(v, 20), talib.STDDEV(v, 20),
            talib.MIN(l, 252), talib.MAX(h, 252),
        ]  # fmt: skip
    return out


def with_polars(frame: object) -> object:
    """The same 20 as group-wise expressions of polars."""
    import polars as pl

    o, h, l, c, v = (pl.col(name) for name in ("open", "high", "low", "close", "volume"))  # noqa: E741
    last, typical = c.shift(1), (h + l + c) / 3
    move, ret = c.diff(), (c / c.shift(1)).log()
    true_range = pl.max_horizontal(h, last) - pl.min_horizontal(l, last)
    up, down = h.diff(), -l.diff()
    macd = c.ewm_mean(span=12) - c.ewm_mean(span=26)

    def wilder(x: pl.Expr) -> pl.Expr:
        return x.ewm_mean(alpha=1 / 14, adjust=False)

    plus = wilder(pl.when((up > down) & (up > 0)).then(up).otherwise(0.0)) / wilder(true_range)
    minus = wilder(pl.when((down > up) & (down > 0)).then(down).otherwise(0.0)) / wilder(true_range)
    gains = pl.when(typical.diff() > 0).then(typical * v).otherwise(0.0).rolling_sum(14)
    losses = pl.when(typical.diff() < 0).then(typical * v).otherwise(0.0).rolling_sum(14)
    made = {
        "ret_1": ret, "ret_5": (c / c.shift(5)).log(), "ret_21": (c / c.shift(21)).log(), "gap": (o / last).log(),
        "to_sma_20": c / c.rolling_mean(20) - 1, "to_sma_50": c / c.rolling_mean(50) - 1,
        "to_sma_200": c / c.rolling_mean(200) - 1, "to_ema_20": c / c.ewm_mean(span=20) - 1,
        "macd_hist": (macd - macd.ewm_mean(span=9)) / c,
        "rsi_14": 100 * wilder(move.clip(lower_bound=0)) / wilder(move.abs()),
        "bollinger_20": (c - c.rolling_mean(20)) / (4 * c.rolling_std(20)) + 0.5,
        "natr_14": 100 * wilder(true_range) / c, "adx_14": 100 * wilder((plus - minus).abs() / (plus + minus)),
        "cci_20": (typical - typical.rolling_mean(20)) / typical.rolling_std(20), "mfi_14": gains / (gains + losses),
        "obv_20": (move.sign() * v).rolling_sum(20) / v.rolling_sum(20),
        "vol_20": ret.rolling_std(20), "vol_60": ret.rolling_std(60),
        "volume_z_20": (v - v.rolling_mean(20)) / v.rolling_std(20),
        "pos_252": (c - l.rolling_min(252)) / (h.rolling_max(252) - l.rolling_min(252)),
    }  # fmt: skip
    return frame.with_columns(**{name: expression.over("symbol") for name, expression in made.items()})  # type: ignore


def with_pandas(bars: pd.DataFrame) -> pd.DataFrame:
    """The same 20 by groupby-rolling and groupby-ewm of pandas."""
    group = bars["symbol"]

    def by(x: pd.Series) -> object:
        return x.groupby(group, sort=False)

    def rolling(x: pd.Series, n: int, what: str) -> pd.Series:
        return getattr(by(x).rolling(n), what)().droplevel(0)

    def smooth(x: pd.Series, **how: float) -> pd.Series:
        return by(x).ewm(**how).mean().droplevel(0)

    o, h, l, c, v = (bars[name] for name in ("open", "high", "low", "close", "volume"))  # noqa: E741
    last, typical, log = by(c).shift(1), (h + l + c) / 3, np.log(c)
    move, ret = c - last, by(log).diff()
    true_range = np.maximum(h, last) - np.minimum(l, last)
    up, down = by(h).diff(), -by(l).diff()
    macd = smooth(c, span=12) - smooth(c, span=26)
    wide = smooth(true_range, alpha=1 / 14)
    plus = smooth(up.where((up > down) & (up > 0), 0.0), alpha=1 / 14) / wide
    minus = smooth(down.where((down > up) & (down > 0), 0.0), alpha=1 / 14) / wide
    rise, flow = by(typical).diff(), typical * v
    gains, losses = rolling(flow.where(rise > 0, 0.0), 14, "sum"), rolling(flow.where(rise < 0, 0.0), 14, "sum")
    low = rolling(l, 252, "min")
    return pd.DataFrame({
        "ret_1": ret, "ret_5": by(log).diff(5), "ret_21": by(log).diff(21), "gap": np.log(o / last),
        "to_sma_20": c / rolling(c, 20, "mean") - 1, "to_sma_50": c / rolling(c, 50, "mean") - 1,
        "to_sma_200": c / rolling(c, 200, "mean") - 1, "to_ema_20": c / smooth(c, span=20) - 1,
        "macd_hist": (macd - smooth(macd, span=9)) / c,
        "rsi_14": 100 * smooth(move.clip(lower=0), alpha=1 / 14) / smooth(move.abs(), alpha=1 / 14),
        "bollinger_20": (c - rolling(c, 20, "mean")) / (4 * rolling(c, 20, "std")) + 0.5,
        "natr_14": 100 * wide / c, "adx_14": 100 * smooth((plus - minus).abs() / (plus + minus), alpha=1 / 14),
        "cci_20": (typical - rolling(typical, 20, "mean")) / rolling(typical, 20, "std"),
        "mfi_14": gains / (gains + losses),
        "obv_20": rolling(np.sign(move) * v, 20, "sum") / rolling(v.astype("float64"), 20, "sum"),
        "vol_20": rolling(ret, 20, "std"), "vol_60": rolling(ret, 60, "std"),
        "volume_z_20": (v - rolling(v, 20, "mean")) / rolling(v, 20, "std"),
        "pos_252": (c - low) / (rolling(h, 252, "max") - low),
    })  # fmt: skip


def compute(bars: pd.DataFrame, names: list[str]) -> None:
    """For `peak`."""
    features.compute(bars, names)


def main(bars: pd.DataFrame) -> None:
    """Print one line a comparison."""
    import polars as pl

    columns = [
        np.ascontiguousarray(bars[c].to_numpy(dtype="float64")) for c in ("open", "high", "low", "close", "volume")
    ]
    edges, frame = schema.symbol_edges(bars["symbol"]), pl.from_pandas(bars)
    ours = lambda: features.compute(bars, NAMES)  # noqa: E731
    say("20 basic features / bare TA-Lib loop", *best(ours, lambda: bare_talib(columns, edges)), "(<= 1.5)")
    say("20 basic features / polars .over", *best(ours, lambda: with_polars(frame), runs=3), "(<= 0.2)")
    say("20 basic features / pandas groupby-rolling", *best(ours, lambda: with_pandas(bars), runs=1), "(<= 0.1)")
    every = [name for name in features.names("all") if features.CATALOGUE[name].group != "user"]
    newest = bars["date"].max()
    for what, names in [("basic", NAMES), (f"all {len(every)}", every)]:
        complete = lambda names=names: features.compute(bars, names)  # noqa: E731
        new = lambda names=names: features.compute(bars, names, since=newest)  # noqa: E731
        say(f"one new day, {what} / all days", *best(new, complete, runs=2), "(<= 0.02)")
    for kind in ("object", "string[python]", "category"):
        other = bars.assign(symbol=bars["symbol"].astype(kind), date=bars["date"].astype("datetime64[s]"))
        seconds = best(lambda other=other: features.compute(other, NAMES), ours)
        say(f"symbols as {kind}, dates in seconds / Arrow and nanoseconds", *seconds, "(<= 1.2)")
    for what, names in [("20 basic features", NAMES), ("alpha158", features.names("alpha158"))]:
        size = len(bars) * (8 * len(names) + 16) / 1e9
        peak(f"{what} / its output of {size:.2f} GB", compute, bars, names, size=size, limit="(<= 2.5)")
