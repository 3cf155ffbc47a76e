"""The simulator agrees with real bars, is the same each time, and is as bad as it was told to be."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import ParamError, SymbolError
from stockkit.market import sessions, ticks
from stockkit.market.signals import Rule, SymbolState
from stockkit.market.ticks import Reject, Tick
from stockkit.stream import producers
from stockkit.stream.producers import Settings, intraday, simulator
from stockkit.stream.producers.corruptions import CORRUPTIONS
from stockkit.stream.producers.intraday import Day, Rates
from tests.conftest import ROOT, SYMBOLS

FLAWS = ("late", "duplicate", "disordered", "corrupt", "halt", "burst")
PURE = dict.fromkeys(FLAWS, 0.0)
NOW = 1_800_000_000_000_000
HALF_DAY, SPLIT_DAY, NEWEST = "2022-11-25", "2020-08-31", "2023-09-21"


def batches(**how):
    return producers.open_producer("simulator", Settings(root=ROOT, **how))


def records(**how):
    """Each record's due time and body, in order of arrival."""
    return [(due, m.body) for batch in batches(**how) for due, m in zip(*batch, strict=True)]


def read(bodies):
    return ticks.transform(bodies, now=NOW, symbols=SYMBOLS)


def good(bodies):
    """The ticks among records, each one once."""
    return list(dict.fromkeys(tick for tick in read(bodies) if isinstance(tick, Tick)))


def bars_of(known):
    frame = pd.DataFrame(known, columns=Tick._fields).sort_values(["symbol", "sequence"])
    grouped = frame.groupby("symbol")
    prices = grouped["price"].agg(open="first", high="max", low="min", close="last") / ticks.SCALE
    return prices.assign(volume=grouped["size"].sum())


def raw_bars(day):
    folder = ROOT / "data" / "sample"
    return {symbol: pd.read_csv(folder / f"{symbol}.csv", index_col="timestamp").loc[day] for symbol in SYMBOLS}


@pytest.mark.parametrize("day", [HALF_DAY, SPLIT_DAY, "2021-07-20", "2015-07-15", "2013-01-02", NEWEST])
def test_ticks_sum_up_to_the_real_bars_of_all_symbols_as_traded(day):
    bars = bars_of(good([body for _, body in records(day=day, ticks=500)]))
    assert list(bars.index) == SYMBOLS
    for symbol, real in raw_bars(day).items():
        assert dict(bars.loc[symbol, ["open", "high", "low", "close"]]) == dict(real[["open", "high", "low", "close"]])
        assert bars.loc[symbol, "volume"] == round(real["volume"] / 100)


def test_ticks_sum_up_to_every_real_bar_of_months_however_few_they_are():
    known = {}
    for batch in batches(day="2020-07-01..2020-09-30", ticks=10, **PURE):
        for tick in good([message.body for message in batch.messages]):
            known.setdefault((tick.symbol, tick.sequence // 10_000_000), []).append(tick.price / ticks.SCALE)
    assert len(known) == 64 * 6
    for symbol in SYMBOLS:
        real = pd.read_csv(ROOT / "data" / "sample" / f"{symbol}.csv", parse_dates=["timestamp"])
        for bar in real[real["timestamp"].between("2020-07-01", "2020-09-30")].itertuples():
            prices = known[symbol, bar.timestamp.toordinal()]
            assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)


@st.composite
def days(draw):
    low = draw(st.integers(1, 10**12))
    high = low + draw(st.integers(0, low // 2))
    open_, close = draw(st.integers(low, high)), draw(st.integers(low, high))
    start, length = 1_695_303_000_000_000, draw(st.integers(1, 400)) * intraday.MINUTE
    stretches = [(start, start + length), (start + 2 * length, start + 3 * length)][: draw(st.integers(1, 2))]
    return Day(open_, high, low, close, draw(st.integers(0, 10**9)), stretches)


@hypothesis.settings(max_examples=200)
@given(days(), st.integers(4, 2_000), st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_any_path_touches_its_four_prices_sums_to_its_shares_and_stays_in_its_hours(day, count, seed, halt, burst):
    pieces = [*intraday.path(day, count, Rates(halt=halt, burst=burst), np.random.default_rng(seed))]
    number, time, price, size = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    assert list(number) == list(range(count))
    assert (price[0], price.max(), price.min(), price[-1]) == (day.open, day.high, day.low, day.close)
    assert size.sum() == day.shares
    assert size.min() >= (day.shares >= count + len(pieces))
    assert (np.diff(time) >= 0).all()
    assert all(any(start <= moment < end for start, end in day.stretches) for moment in time[:: max(1, count // 50)])


def test_prices_lie_on_the_grid_of_cents_but_for_those_that_the_day_gives():
    real = raw_bars("2023-09-19")["GOOG"]  # 138.25, 139.175, 137.5, 138.83
    prices = Counter(tick.price for tick in good([b for _, b in records(day="2023-09-19", symbols=["GOOG"])]))
    assert prices[round(real["high"] * ticks.SCALE)] == 1
    assert [price for price in prices if price % intraday.CENT] == [139_175_000]
    assert len(prices) > 50


def test_sequences_are_consecutive_and_times_are_in_the_session_even_on_a_half_day():
    ((start, end),) = sessions.hours(HALF_DAY)
    assert end - start == 3.5 * 3_600_000_000
    known = sorted(good([body for _, body in records(day=HALF_DAY, symbols=["NVDA"])]), key=lambda tick: tick.sequence)
    assert [tick.sequence for tick in known] == list(range(known[0].sequence, known[0].sequence + 2_000))
    assert [tick.event_time for tick in known] == sorted(tick.event_time for tick in known)
    assert start <= known[0].event_time <= known[-1].event_time < end


def test_the_ends_of_a_day_are_busier_than_its_middle():
    ((start, end),) = sessions.hours(NEWEST)
    times = np.array([tick.event_time for tick in good([b for _, b in records(symbols=["AAPL"], **PURE)])])
    first, *_, middle_a, middle_b, _, _, last = np.histogram(times, bins=9, range=(start, end))[0]
    assert min(first, last) > 1.5 * max(middle_a, middle_b)


def test_a_halt_is_a_gap_of_minutes_and_a_burst_is_many_ticks_at_once():
    gaps = {}
    for name in ("halt", "burst"):
        how = PURE | {name: 1.0 if name == "halt" else 0.3}
        times = [tick.event_time for tick in good([body for _, body in records(symbols=["META"], **how)])]
        gaps[name] = np.diff(times)
    assert gaps["halt"].max() >= 5 * intraday.MINUTE
    assert gaps["burst"].max() < 5 * intraday.MINUTE
    assert np.quantile(gaps["burst"], 0.2) < 0.2 * np.quantile(gaps["halt"], 0.2)


@pytest.mark.parametrize("name", ["late", "duplicate", "corrupt"])
@pytest.mark.parametrize("rate", [0.0, 0.002, 0.05])
def test_flaws_come_at_the_rate_that_was_stated(name, rate):
    sent = records(ticks=5_000, symbols=["AAPL", "META"], **PURE | {name: rate})
    outcome = read([body for _, body in sent])
    known = [(due, tick) for (due, _), tick in zip(sent, outcome, strict=True) if isinstance(tick, Tick)]
    count = {
        "late": sum(due - tick.event_time >= 90_000_000 for due, tick in known),
        "duplicate": len(known) - len({tick for _, tick in known}),
        "corrupt": sum(isinstance(reject, Reject) for reject in outcome),
    }
    flawed, expected = count.pop(name), 10_000 * rate
    assert abs(flawed - expected) <= 4 * np.sqrt(expected)
    assert set(count.values()) == {0}, "no other flaw than the one that was asked for"


def test_out_of_order_ticks_are_overtaken_at_the_rate_that_was_stated():
    sent = records(ticks=10_000, symbols=["AAPL"], **PURE | {"disordered": 0.02})
    sequences = np.array([tick.sequence for tick in read([body for _, body in sent])])
    overtaken = (sequences < np.maximum.accumulate(sequences)).sum()
    assert 120 <= overtaken <= 280


def test_nothing_good_is_lost_or_changed_by_flaws():
    flawed = good([body for _, body in records(late=0.1, duplicate=0.1, disordered=0.1, corrupt=0.1, halt=0, burst=0)])
    assert set(flawed) == set(good([body for _, body in records(**PURE)]))
    assert len(flawed) == 12_000


@pytest.mark.parametrize("number", range(len(CORRUPTIONS)))
def test_every_corruption_is_rejected_for_its_reason(number):
    reason, broken = CORRUPTIONS[number]
    tick = Tick("AAPL", 189_370_000, 100, 1_695_303_000_123_456, "simulator-7", 17)
    (reject,) = read([broken(tick)])
    assert isinstance(reject, Reject)
    assert reject.reason == reason


def test_corruptions_of_every_kind_come():
    reasons = {}
    for symbols in (SYMBOLS, ()):
        bodies = [body for _, body in records(corrupt=0.1, symbols=symbols)]
        reasons[bool(symbols)] = {reject.reason for reject in read(bodies) if isinstance(reject, Reject)}
    assert reasons[True] == {corruption.reason for corruption in CORRUPTIONS}
    assert reasons[False] == reasons[True] - {"unknown symbol"}, "to who listens to all symbols it would be a tick"


def test_good_records_are_those_that_a_tick_is_encoded_as():
    for _, body in records(ticks=100, **PURE):
        (tick,) = read([body])
        assert ticks.encode(tick) == body


def test_the_same_seed_gives_the_same_bytes_however_they_are_handed_out(monkeypatch):
    once = records(day="2023-09-20..2023-09-21", ticks=300)
    monkeypatch.setattr(simulator, "AT_ONCE", 97)
    again = records(day="2023-09-20..2023-09-21", ticks=300)
    assert again == once
    assert len(list(batches(ticks=300))) >= 18
    assert records(ticks=300, seed=8) != records(ticks=300)


def test_a_symbol_has_the_same_ticks_whoever_else_is_simulated():
    alone = records(symbols=["NVDA"])
    among = [sent for batch in batches(symbols=SYMBOLS) for sent in zip(*batch, strict=True) if sent[1].key == "NVDA"]
    assert alone == [(due, message.body) for due, message in among]


def test_a_second_run_adds_nothing_and_no_tick_is_taken_for_too_late():
    how = {"day": "2023-09-20..2023-09-21", "symbols": ["AAPL"], "ticks": 20_000, "late": 0.02}
    state = SymbolState("AAPL", Rule())
    twice = [body for _ in range(2) for _, body in records(**how)]
    verdicts = Counter(state.accept(tick) for tick in read(twice) if isinstance(tick, Tick))
    assert set(verdicts) == {"new", "duplicate"}
    assert verdicts["new"] == 40_000


def test_records_come_in_order_of_their_due_times():
    due = [moment for moment, _ in records(late=0.05)]
    assert due == sorted(due)


def test_the_lake_and_the_sample_it_was_made_of_give_the_same_bytes(lake, prices):
    chosen = prices[prices["symbol"].isin(["AAPL", "NVDA"])]
    lake.write("prices", chosen, symbols=["AAPL", "NVDA"])
    for day in (SPLIT_DAY, "2014-06-06", NEWEST):
        how = {"day": day, "ticks": 50, "symbols": ["AAPL", "NVDA"]}
        assert records(lake=lake, **how) == records(**how)
    assert {m.key for batch in batches(lake=lake, ticks=10) for m in batch.messages} == {"AAPL", "NVDA"}


def test_memory_does_not_grow_with_the_number_of_ticks(monkeypatch):
    monkeypatch.setattr(simulator, "AT_ONCE", 2_000)
    records(ticks=10)
    peaks = []
    for count in (20_000, 60_000):
        tracemalloc.start()
        for batch in batches(symbols=["AAPL"], ticks=count):
            assert len(batch.messages) < 10_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"day": "2023-09-23"}, ParamError, "XNYS had no session then"),
        ({"day": "yesterday"}, ParamError, "write newest, a day as 2023-09-21"),
        ({"day": "2023-09-21..2023-09-18"}, ParamError, "write newest"),
        ({"day": "2023-09-22"}, ParamError, "no bar of any symbol on 2023-09-22"),
        ({"symbols": ["IBM"]}, ParamError, "IBM is not in the source: the sample has no IBM.csv"),
        ({"symbols": ["aapl"]}, SymbolError, "Did you mean 'AAPL'"),
        ({"ticks": 3}, ParamError, "ticks is 3: a symbol and day has 10 to"),
        ({"corrupt": 1.5}, ParamError, "corrupt is 1.5: a share is from 0 to 1"),
        ({"late": 0.6, "disordered": 0.6}, ParamError, "more than 1 together"),
        ({"seed": -1}, ParamError, "seed is -1"),
        ({"interval": 0}, ParamError, "interval is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(how, error, says):
    with pytest.raises(error, match=says):
        batches(**how)


def test_of_a_lake_the_day_of_which_a_named_symbol_has_no_bar_is_refused(lake, prices):
    lake.write("prices", prices[prices["symbol"] == "AAPL"], symbols=["AAPL"])
    with pytest.raises(ParamError, match=r"no bar of META on 2023-09-21: choose another day"):
        batches(lake=lake, symbols=["AAPL", "META"])


def test_an_unknown_producer_is_refused_with_those_that_there_are():
    with pytest.raises(ParamError, match=r"'simulater' is not known.*Did you mean 'simulator'"):
        producers.open_producer("simulater", Settings())
    with pytest.raises(ParamError, match=r"use one of .*replay:PATH"):
        producers.open_producer("replay", Settings())
