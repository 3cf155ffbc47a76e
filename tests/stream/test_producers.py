"""The simulator agrees with real bars, is the same each time, and is as bad as it was told to be."""

from __future__ import annotations

import pandas as pd
import pytest

from stockkit.market import ticks
from stockkit.market.ticks import Tick
from stockkit.stream import producers
from stockkit.stream.producers import Settings
from tests.conftest import ROOT, SYMBOLS

CLEAN = dict.fromkeys(("late", "duplicate", "disordered", "corrupt", "halt", "burst"), 0.0)
NOW = 1_800_000_000_000_000
HALF_DAY, SPLIT_DAY, NEWEST = "2022-11-25", "2020-08-31", "2023-09-21"


def messages(**how):
    batches = producers.open_producer("simulator", Settings(root=ROOT, **how))
    return [message for batch in batches for message in batch.messages]


def good(bodies, symbols=SYMBOLS):
    read = ticks.transform(bodies, now=NOW, symbols=symbols)
    return [tick for tick in read if isinstance(tick, Tick)]


def frame(read):
    """Ticks in the order in which they happened, each one once."""
    return pd.DataFrame(list(dict.fromkeys(read)), columns=Tick._fields).sort_values(["symbol", "sequence"])


def raw_bars(day):
    folder = ROOT / "data" / "sample"
    return {symbol: pd.read_csv(folder / f"{symbol}.csv", index_col="timestamp").loc[day] for symbol in SYMBOLS}


def bars_of(read):
    grouped = frame(read).groupby("symbol")
    prices = grouped["price"].agg(open="first", high="max", low="min", close="last") / ticks.SCALE
    return prices.assign(volume=grouped["size"].sum())


@pytest.mark.parametrize("day", [HALF_DAY, SPLIT_DAY, "2021-07-20", "2015-07-15", "2013-01-02", NEWEST])
def test_ticks_sum_up_to_the_real_bars_of_all_symbols_as_traded(day):
    bars = bars_of(good([m.body for m in messages(day=day, symbols=SYMBOLS)]))
    for symbol, real in raw_bars(day).items():
        assert dict(bars.loc[symbol, ["open", "high", "low", "close"]]) == dict(real[["open", "high", "low", "close"]])
        assert bars.loc[symbol, "volume"] == round(real["volume"] / 100)
