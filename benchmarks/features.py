"""Features against TA-Lib in a plain loop and against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import talib

from benchmarks.measure import best, say
from stockkit.market import features


def bare_talib(bars: pd.DataFrame) -> list[np.ndarray]:
    """Three indicators in the plainest loop over symbols that TA-Lib's own users write."""
    out = []
    for _, own in bars.groupby("symbol", sort=False):
        high, low, close = (own[c].to_numpy() for c in ("high", "low", "close"))
        out += [talib.SMA(close, 20), talib.RSI(close, 14), talib.NATR(high, low, close, 14)]
    return out


def pandas_rolling(bars: pd.DataFrame) -> pd.DataFrame:
    """Two rolling features as pandas users write them."""
    close = bars.groupby("symbol", sort=False)["close"]
    return pd.DataFrame({"sma": close.rolling(20).mean(), "max": close.rolling(252).max()})


def main(bars: pd.DataFrame) -> None:
    """Print one line a comparison."""
    three, two = ["sma_20", "rsi_14", "natr_14"], ["to_sma_20", "pos_252"]
    say("3 features / TA-Lib in a groupby loop", *best(lambda: features.compute(bars, three), lambda: bare_talib(bars)))
    say("2 rolling features / pandas groupby-rolling",
        *best(lambda: features.compute(bars, two), lambda: pandas_rolling(bars), runs=2))  # fmt: skip
