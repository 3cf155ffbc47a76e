"""Crossings of a stored series are, bit for bit, those that were found tick by tick."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import ParamError
from stockkit.forecast.trading import batch_crossings
from stockkit.market.signals import FOUR_HOURS, Crossing, Rule, Split, SymbolState
from stockkit.market.ticks import SCALE, Tick
from tests.streamed import tables

# few prices, so that averages are often equal; some that neither an int64 nor a float64 can sum
PRICES = st.one_of(st.integers(1, 4), st.integers(99_000_000, 101_000_000), st.integers(1, 10**15 - 1))
TIMES = st.integers(1, 40)  # late ones and equal ones among them
WINDOWS = st.tuples(st.integers(1, 4), st.integers(1, 5)).map(lambda w: (w[0], w[0] + w[1]))


def one_by_one(ticks: list[tuple[int, int]], rule: Rule) -> list[tuple[object, ...]]:
    """Place, side and averages of every crossing, and the averages at every tick, step by step."""
    state, out = SymbolState("A", rule), []
    for place, (price, time) in enumerate(ticks):
        signal = state.step(Tick("A", price, 1, time, "s", place), f"0:{place}")
        out.append((signal and signal.side, *state.crossing.averages))
    return out


def at_once(ticks: list[tuple[int, int]], rule: Rule) -> list[tuple[object, ...]]:
    price, time = np.array(ticks, dtype="int64").reshape(-1, 2).T
    crossed = batch_crossings.crossings(price, time, rule, rule.splits.get("A", ()))
    sides = dict(zip(crossed.at.tolist(), crossed.side.tolist(), strict=True))
    return [(sides.get(k), crossed.fast[k], crossed.slow[k]) for k in range(len(ticks))]


def same(left: list[tuple[object, ...]], right: list[tuple[object, ...]]) -> bool:
    """Equal to the last bit; NaN equals NaN."""
    return repr([tuple(map(plain, row)) for row in left]) == repr([tuple(map(plain, row)) for row in right])


def plain(value: object) -> object:
    return float(value) if isinstance(value, float) else value


@given(st.lists(st.tuples(PRICES, TIMES), max_size=60), WINDOWS, st.sampled_from([0, 1, 5]))
def test_a_series_at_once_gives_what_its_ticks_give_one_by_one(ticks, windows, gap):
    rule = Rule(*windows, gap=gap)
    assert same(at_once(ticks, rule), one_by_one(ticks, rule))


@given(
    st.lists(st.tuples(PRICES, TIMES), min_size=1, max_size=60),
    WINDOWS,
    st.sampled_from([0, 5]),
    st.lists(st.tuples(TIMES, st.integers(1, 5), st.integers(1, 5)), max_size=3, unique_by=lambda split: split[0]),
)
def test_splits_restate_the_window_in_the_same_way(ticks, windows, gap, splits):
    rule = Rule(*windows, gap=gap, splits={"A": tuple(Split(*split) for split in sorted(splits))})
    assert same(at_once(ticks, rule), one_by_one(ticks, rule))


def test_long_windows_of_prices_that_leap_to_the_highest_are_compared_exactly():
    """The averages are so far apart that the product of their distance and both windows is beyond an int64."""
    rng = np.random.default_rng(1)
    level = np.where(np.arange(3_000) // 250 % 2, 10**15 - 10**6, 10**6)
    ticks = [(int(price), k) for k, price in enumerate(level + rng.integers(-(10**5), 10**5, 3_000))]
    rule = Rule(200, 900, gap=0)
    assert same(at_once(ticks, rule), one_by_one(ticks, rule))
    assert sum(side is not None for side, *_ in at_once(ticks, rule)) > 4


def test_averages_of_sums_beyond_a_float_are_rounded_once():
    prices = np.random.default_rng(1).integers(9 * 10**14, 10**15, 600)
    ticks = [(int(price), k) for k, price in enumerate(prices)]
    assert same(at_once(ticks, Rule(7, 41, gap=0)), one_by_one(ticks, Rule(7, 41, gap=0)))


def test_floats_in_place_of_integers_would_be_found():
    """Two averages that are equal, though their sums as floats are not."""
    prices = [100_000, 300_000, 200_000, 200_000, 400_000, 200_000]  # 0.1, 0.3, 0.2, …
    rule = Rule(1, 3, gap=0)
    exact = at_once([(price, k) for k, price in enumerate(prices)], rule)
    close = pd.Series(prices) / SCALE
    drifting = np.sign(close - close.cumsum().sub(close.cumsum().shift(3, fill_value=0)) / 3)
    assert exact[2][1] == exact[2][2]
    assert drifting[2] != 0


@pytest.fixture(scope="module")
def ticks() -> pd.DataFrame:
    """Two symbols as in the table, two days, some ticks late; rows in no order."""
    rng = np.random.default_rng(4)
    parts = []
    for symbol in ("META", "NFLX"):
        for day in ("2023-09-20", "2023-09-21"):
            time = pd.Timestamp(f"{day} 13:30", tz="UTC") + pd.to_timedelta(np.sort(rng.integers(0, 23_400, 900)), "s")
            price = np.round(100 * np.exp(np.cumsum(rng.normal(0, 2e-4, 900))), 2)
            parts.append(pd.DataFrame({"symbol": symbol, "event_time": time.as_unit("us"), "price": price}))
    rows = pd.concat(parts, ignore_index=True)
    rows.loc[rng.permutation(len(rows))[:40], "event_time"] -= pd.Timedelta("40s")
    rows["number"] = rows.groupby("symbol").cumcount() + 1
    return rows.astype({"symbol": "string"})


def stepped(ticks: pd.DataFrame, rule: Rule) -> list[tuple[object, ...]]:
    out = []
    for symbol, rows in ticks.sort_values(["symbol", "number"]).groupby("symbol"):
        state = SymbolState(str(symbol), rule)
        for row in rows.itertuples():
            time = int(row.event_time.value // 1000)
            tick = Tick(str(symbol), round(row.price * SCALE), 1, time, "s", row.number)
            signal = state.step(tick, "0:0")
            if signal is not None:
                out.append((signal.symbol, row.event_time.value, signal.side, signal.price / SCALE, signal.fast,
                            signal.slow, row.number))  # fmt: skip
    return out


def test_the_table_of_ticks_gives_the_signals_that_were_made_of_it(ticks):
    rule = Rule()
    shuffled = ticks.sample(frac=1, random_state=1)
    before = shuffled.copy()
    signals = batch_crossings.of_ticks(shuffled, rule)
    columns = ["symbol", "event_time", "side", "price", "fast", "slow", "number"]
    rows = signals.assign(event_time=signals["event_time"].astype("int64"))[columns]
    assert list(rows.itertuples(index=False, name=None)) == stepped(ticks, rule)
    assert len(signals) > 50
    assert set(signals["interval"]) == {"tick"}
    pd.testing.assert_frame_equal(shuffled, before)


def test_no_average_spans_the_night(ticks):
    lines = batch_crossings.averages(ticks, Rule())
    first = lines.groupby(["symbol", lines["event_time"].dt.date]).head(19)
    assert first["slow"].isna().all()
    assert lines["slow"].notna().sum() == len(ticks) - 4 * 19
    assert batch_crossings.averages(ticks, Rule(gap=0))["slow"].isna().sum() == 2 * 19
    assert Rule().gap == FOUR_HOURS


def test_daily_bars_cross_at_the_end_of_their_session(prices):
    table = batch_crossings.of_sessions(prices, Rule(gap=0))
    crossing = Crossing(Rule(gap=0))
    meta = prices[prices["symbol"] == "META"]
    sides = [crossing.step(round(row.close * SCALE), row.date.value // 1000) for row in meta.itertuples()]
    ends = meta.loc[[side is not None for side in sides], "date"] + pd.Timedelta("1d")
    of_meta = table[table["symbol"] == "META"]
    assert of_meta["event_time"].dt.tz_localize(None).tolist() == ends.tolist()
    assert of_meta["side"].tolist() == list(filter(None, sides))
    assert set(table["number"]) == {0}


def test_nothing_gives_nothing(ticks):
    assert batch_crossings.of_ticks(ticks[:0], Rule()).empty
    assert batch_crossings.averages(ticks[:0], Rule()).empty
    assert batch_crossings.of_ticks(ticks[:19], Rule()).empty


def test_minutes_are_those_that_were_closed_in_time(ticks):
    """A late tick corrects its bar, and never a signal: the averages of minutes are those without it."""
    from stockkit.stream.minutes import Minutes

    rule, day = Rule(2, 5), ticks[ticks["symbol"] == "META"]
    minutes, sides, late = Minutes("META", rule), [], []
    for row in day.itertuples():
        time = row.event_time.value // 1_000
        in_time = minutes.add(Tick("META", round(row.price * SCALE), 1, time, "s", row.number))
        late.append(not in_time)
        closed = minutes.close(time - 2_000_000)
        sides += [signal for bar in closed if (signal := minutes.step(bar))]
    sides += [signal for bar in minutes.close(2**62) if (signal := minutes.step(bar))]
    table = batch_crossings.of_ticks(day.assign(late=late), rule, interval="1m")
    assert len(table) == len(sides) > 20
    assert sum(late) > 0
    for row, signal in zip(table.itertuples(), sides, strict=True):
        assert (row.side, row.event_time.value // 1_000) == (signal.side, signal.event_time)
        assert (row.price, row.fast, row.slow) == (signal.price / SCALE, signal.fast, signal.slow)
        assert (row.number, row.interval) == (0, "1m")


def test_another_interval_is_refused(ticks):
    with pytest.raises(ParamError, match="'tick' or '1m'"):
        batch_crossings.of_ticks(ticks, Rule(), interval="5m")


def test_a_stored_signal_that_is_lost_doubled_or_altered_by_a_bit_is_named():
    day = tables()
    table = batch_crossings.of_ticks(day["ticks"], Rule())
    signals = day["signals"]
    assert batch_crossings.differences(signals, table).empty
    lost = batch_crossings.differences(signals.drop(index=3), table)
    assert lost["more"].tolist() == [-1]
    assert lost["number"].tolist() == [signals["number"].iloc[3]]
    doubled = batch_crossings.differences(pd.concat([signals, signals.iloc[[3]]]), table)
    assert doubled["more"].tolist() == [1]
    altered = signals.assign(slow=np.nextafter(signals["slow"], np.where(signals.index == 3, 0.0, signals["slow"])))
    assert sorted(batch_crossings.differences(altered, table)["more"]) == [-1, 1]


def test_signals_of_other_windows_are_left_aside():
    signals = tables()["signals"]
    other = signals.assign(id=signals["id"].str.replace("5/20", "5/200"))
    both = pd.concat([signals, other, signals.assign(id=signals["id"].str.replace("tick", "1m"))])
    pd.testing.assert_frame_equal(batch_crossings.of_rule(both, Rule()), signals)
