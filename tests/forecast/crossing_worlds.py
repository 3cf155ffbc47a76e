"""Ticks of simulated days: random walks that share a factor, and what a test plants in them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.forecast.trading import batch_crossings
from stockkit.market.signals import BUY, Rule

OPEN = pd.Timestamp("2023-09-21 13:30", tz="UTC")
SECONDS = 23_400  # of a session
VOLATILITY = 1.3e-4  # of a second's log return: 2 % a day


def ticks(seed: int, *, symbols: int = 3, count: int = 3_000, common: float = 0.6) -> pd.DataFrame:
    """One day of random walks as the table `ticks` has them, symbols in order of arrival."""
    rng = np.random.default_rng(seed)
    market = rng.normal(0, 1, SECONDS)
    parts = []
    for k in range(symbols):
        moves = common * market + np.sqrt(1 - common**2) * rng.normal(0, 1, SECONDS)
        second = np.sort(rng.choice(SECONDS, count, replace=False))
        price = 100 * np.exp(np.cumsum(VOLATILITY * moves))[second]
        times = (OPEN + pd.to_timedelta(second, "s")).as_unit("us")
        parts.append(pd.DataFrame({"symbol": f"S{k}", "event_time": times, "price": np.round(price, 2),
                                   "number": np.arange(1, count + 1)}))  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"symbol": "string"})


def with_drift(rows: pd.DataFrame, basis_points: float, *, after: int = 1, over: int = 8) -> pd.DataFrame:
    """The same walks, in which each crossing is followed by a move its way, from `after` ticks later over `over`."""
    rows = rows.copy()
    for symbol, part in rows.groupby("symbol"):
        price = part["price"].to_numpy().copy()
        time, done, places = part["event_time"].astype("int64").to_numpy(), -1, np.arange(len(part))
        while True:  # what is planted moves the crossings after it: one after the other
            crossed = batch_crossings.crossings(np.rint(price * 100).astype("int64"), time, Rule(gap=0))
            later = np.flatnonzero(crossed.at > done)
            if not len(later):
                break
            done, side = int(crossed.at[later[0]]), 1 if crossed.side[later[0]] == BUY else -1
            price *= np.exp(side * basis_points * 1e-4 * np.clip((places - done - after) / over, 0, 1))
        rows.loc[rows["symbol"] == symbol, "price"] = np.round(price, 2)
    return rows
