"""Crossings step by step equal crossings of all prices at once, bit for bit, through restarts, gaps and splits."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stockkit.errors import ParamError
from stockkit.market.signals import BUY, SELL, Crossing, Rule, Signal, Split, SymbolState, alert_body
from stockkit.market.ticks import Tick

HOUR = 3_600_000_000


def in_batch(prices: list[int], fast: int, slow: int) -> list[str | None]:
    """The crossings of a series without gaps, by pandas: exact, as sums of these integers are below 2**53."""
    series = pd.Series(prices, dtype="float64")
    difference = series.rolling(fast).sum() * slow - series.rolling(slow).sum() * fast
    sides = difference.map(lambda x: 1 if x > 0 else -1 if x < 0 else None)
    before = sides.ffill().shift()
    up, down = (sides == 1) & (before == -1), (sides == -1) & (before == 1)
    return [BUY if u else SELL if d else None for u, d in zip(up, down, strict=True)]


def stepped(crossing: Crossing, prices: list[int], times: list[int] | None = None) -> list[str | None]:
    return [crossing.step(price, time) for price, time in zip(prices, times or range(len(prices)), strict=True)]


prices = st.lists(st.integers(1, 40).map(lambda cents: cents * 10_000), max_size=120)
windows = st.tuples(st.integers(1, 6), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(prices, windows)
@example([3, 2, 2, 4, 4, 5, 1], (1, 2))
def test_step_by_step_equals_pandas(series, pair):
    fast, slow = pair
    assert stepped(Crossing(Rule(fast, slow, gap=0)), series) == in_batch(series, fast, slow)


@given(prices, windows, st.integers(0, 120))
def test_a_restart_at_any_point_goes_on_exactly(series, pair, at):
    rule = Rule(*pair, gap=0)
    first = Crossing(rule)
    before = stepped(first, series[:at])
    second = Crossing.load(json.loads(json.dumps(first.dump())), rule)
    assert before + stepped(second, series[at:]) == in_batch(series, *pair)


@given(prices, prices, windows)
def test_a_pause_starts_the_warm_up_anew(morning, next_day, pair):
    times = [*range(len(morning)), *range(5 * HOUR, 5 * HOUR + len(next_day))]
    crossings = stepped(Crossing(Rule(*pair)), morning + next_day, times)
    assert crossings == in_batch(morning, *pair) + in_batch(next_day, *pair)


@given(prices, prices, windows)
def test_a_split_restates_the_window_and_ticks_from_before_it(before, after, pair):
    split = Split(1_000, 1, 4)
    rule = Rule(*pair, gap=0, splits={"AAPL": [split]})
    times = [*range(len(before)), *range(1_000, 1_000 + len(after))]
    late = [40_000] * bool(after)  # of before the split, in the old units
    stepwise = stepped(Crossing(rule, "AAPL"), before + after + late, [*times, *[5] * len(late)])
    restated = [split.restate(price) for price in before] + after + [split.restate(price) for price in late]
    if len(before) >= pair[1]:  # sides up to there were of the old units, whose rounding differs
        assert stepwise[: len(before)] == in_batch(before, *pair)
    else:
        assert stepwise == in_batch(restated, *pair)
    other = Crossing(rule, "META")
    assert stepped(other, before + after, times) == in_batch(before + after, *pair)


@pytest.mark.parametrize(("price", "expected"), [(10, 2), (14, 4), (6, 2), (7, 2), (5, 1), (2, 0)])
def test_a_restated_price_is_rounded_half_to_even(price, expected):
    assert Split(0, 1, 4).restate(price) == expected


def test_an_average_of_few_prices_is_none():
    crossing = Crossing(Rule(2, 3))
    assert stepped(crossing, [1, 2]) == [None, None]
    assert all(average != average for average in crossing.averages)
    crossing.step(6_000_000, 3)
    assert crossing.averages == (3.000001, pytest.approx(2.000001))


@pytest.mark.parametrize(("fast", "slow"), [(0, 5), (5, 5), (20, 5), (1, 10**6)])
def test_windows_that_cannot_be_compared_are_refused(fast, slow):
    with pytest.raises(ParamError, match="averages need 1 <= fast < slow"):
        Rule(fast, slow)


def tick(sequence: int, price: int = 10, time: int = 0, source: str = "sim") -> Tick:
    return Tick("AAPL", price, 1, time or sequence, source, sequence)


def test_a_state_numbers_new_ticks_and_keeps_the_newest_quote():
    state = SymbolState("AAPL", Rule(1, 2))
    verdicts = [state.accept(item) for item in (tick(1, time=5), tick(3, time=9), tick(3), tick(2, time=7))]
    assert verdicts == ["new", "new", "duplicate", "new"]
    assert (state.number, state.quote) == (3, tick(3, time=9))
    assert state.accept(tick(3, source="other")) == "new"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=60), st.integers(0, 60))
def test_a_state_that_is_stored_and_read_goes_on_exactly(pairs, at):
    rule = Rule(1, 3)

    def go_on(state: SymbolState, part: list[tuple[int, int]]) -> list[Signal | str | None]:
        results: list[Signal | str | None] = []
        for sequence, price in part:
            verdict = state.accept(tick(sequence, price))
            results.append(state.step(tick(sequence, price), f"p/0:{sequence}") if verdict == "new" else verdict)
        return results

    one, two = SymbolState("AAPL", rule), SymbolState("AAPL", rule)
    first = go_on(two, pairs[:at])
    loaded = SymbolState.load("AAPL", two.dump(), rule)
    assert go_on(one, pairs) == first + go_on(loaded, pairs[at:])
    assert one.dump() == loaded.dump()


def test_other_windows_start_anew_and_keep_what_was_read():
    state = SymbolState("AAPL", Rule(1, 2))
    state.accept(tick(1))
    state.step(tick(1), "p/0:1")
    loaded = SymbolState.load("AAPL", state.dump(), Rule(1, 3))
    assert loaded.crossing.count == 0
    assert loaded.accept(tick(1)) == "duplicate"


def test_a_signal_names_the_place_of_its_tick():
    state = SymbolState("AAPL", Rule(1, 2, gap=0))
    signals = [state.step(tick(k, price), f"kafka:ticks/0:{k}") for k, price in enumerate([3, 2, 2, 4])]
    assert signals == [None, None, None, Signal("tick:1/2:kafka:ticks/0:3", "AAPL", "buy", "tick", 3, 4, 4e-6, 3e-6)]


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (
            Signal("tick:5/20:kafka:t/0:7", "AAPL", BUY, "tick", 1_695_306_665_000_001, 173_910_000, 173.89, 173.9),
            "BUY AAPL at 173.91: SMA-5 173.89 crossed above SMA-20 173.90 at 2023-09-21 14:31:05 UTC",
        ),
        (
            Signal("1m:2/8:BRK.A:0", "BRK.A", SELL, "1m", 0, 541_000_000_000, 541_000.0012, 541_000.00125),
            "SELL BRK.A at 541,000.00: SMA-2 541,000.00120 crossed below SMA-8 541,000.00125 "
            "at 1970-01-01 00:00:00 UTC",
        ),
        (
            Signal("x", "P", BUY, "tick", 0, 12, 1.2e-5, 1.1e-5),
            "BUY P at 0.00001: the fast average 0.000012 crossed above the slow one 0.000011 "
            "at 1970-01-01 00:00:00 UTC",
        ),
    ],
)
def test_the_sentence_of_an_alert_names_the_windows_and_tells_the_averages_apart(signal, says):
    assert alert_body(signal)["text"] == says
