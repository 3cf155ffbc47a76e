"""Minute bars built tick by tick equal those of all ticks at once, whatever the order of arrival."""

from __future__ import annotations

import json

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stockkit.market.signals import Rule
from stockkit.market.ticks import Tick
from stockkit.stream.minutes import MINUTE, Bar, Minutes

START = 28_000_000 * MINUTE


def tick(time: int, price: int, size: int = 1) -> Tick:
    return Tick("AAPL", price, size, START + time, "sim", time)


@given(st.lists(st.tuples(st.integers(0, 5 * MINUTE), st.integers(1, 99), st.integers(0, 9)), max_size=40))
def test_bars_equal_those_of_pandas(trades):
    minutes = Minutes("AAPL", None)
    for k, (time, price, size) in enumerate(trades):
        assert minutes.add(tick(time, price, size))
        if k % 7 == 0:
            minutes = Minutes.load("AAPL", json.loads(json.dumps(minutes.dump())), None)
    frame = pd.DataFrame(trades, columns=["time", "price", "size"]).sort_values("time", kind="stable")
    expected = [
        Bar("AAPL", START + minute * MINUTE, *(int(f(part)) for f in (
            lambda x: x.price.iloc[0], lambda x: x.price.max(), lambda x: x.price.min(), lambda x: x.price.iloc[-1],
            lambda x: x["size"].sum(), len)))
        for minute, part in frame.groupby(frame["time"] // MINUTE)
    ]  # fmt: skip
    assert minutes.close(START + 10 * MINUTE) == expected
    assert not minutes.is_open


def test_the_watermark_closes_a_minute_at_its_end_and_not_before():
    minutes = Minutes("AAPL", None)
    assert minutes.add(tick(5, 10))
    assert minutes.close(START + MINUTE - 1) == []
    assert [bar.trades for bar in minutes.close(START + MINUTE)] == [1]
    assert not minutes.add(tick(MINUTE - 1, 11))
    assert not minutes.add(tick(-1, 11))
    assert minutes.add(tick(MINUTE, 11))
    again = Minutes.load("AAPL", minutes.dump(), None)
    assert not again.add(tick(MINUTE - 1, 11))


def test_closes_cross_as_prices_do_and_the_signal_has_the_end_of_its_bar():
    minutes = Minutes("AAPL", Rule(1, 2))
    closes = [3, 2, 2, 4]
    for k, price in enumerate(closes):
        minutes.add(tick(k * MINUTE + 7, price))
    signals = [minutes.step(bar) for bar in minutes.close(START + 10 * MINUTE)]
    assert [signal and signal.side for signal in signals] == [None, None, None, "buy"]
    assert signals[-1].id == f"1m:1/2:AAPL:{START + 3 * MINUTE}"
    assert signals[-1].event_time == START + 4 * MINUTE
    again = Minutes.load("AAPL", minutes.dump(), Rule(1, 2))
    assert again.dump() == minutes.dump()
