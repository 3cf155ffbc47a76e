"""The figures of a stream say what its tables say, of a replay, of live ticks, of one tick and of none."""

from __future__ import annotations

from functools import cache

import pandas as pd
import pytest

from stockkit import plots
from stockkit.forecast.trading import batch_crossings, crossing_scores, crossings
from stockkit.lake.contracts import TABLES
from stockkit.market import schema
from stockkit.market.signals import Rule
from tests.streamed import tables

made = cache(tables)  # by whether it is live
NOTHING = {name: schema.empty(TABLES[name].contract) for name in ("ticks", "bars_1m", "signals", "dead_letters")}


@pytest.fixture
def day() -> dict[str, pd.DataFrame]:
    return made()


def through_day(day: dict[str, pd.DataFrame], interval: str = "tick") -> plots.figure.Plot:
    lines = batch_crossings.averages(day["ticks"], Rule(), interval=interval)
    raised = batch_crossings.of_ticks(day["ticks"], Rule(), interval=interval)
    return plots.signals_through_day(lines, raised, ["META", "NFLX"])


DRAWN = {
    "latest_prices": lambda day: plots.latest_prices(day["ticks"]),
    "signals_through_day": through_day,
    "signals_of_minutes": lambda day: through_day(day, "1m"),
    "minute_candles": lambda day: plots.minute_candles(day["bars_1m"], "META"),
    "volume_by_minute": lambda day: plots.volume_by_minute(day["bars_1m"]),
    "lag_histogram": lambda day: plots.lag_histogram(day["ticks"]),
    "rejected_records": lambda day: plots.rejected_records(day["dead_letters"]),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize("rows", [None, 1], ids=["a day", "one row"])
def test_a_figure_has_a_title_and_alt_text_and_leaves_its_frames_alone(draw, rows):
    day = {name: table.head(rows) if rows else table for name, table in made().items()}
    before = {name: table.copy() for name, table in day.items()}
    plot = draw(day)
    assert plot._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")
    assert plot.get_suptitle().replace("\n", " ") in plot.alt
    assert len(plot.alt) > 30
    for name, table in day.items():
        pd.testing.assert_frame_equal(table, before[name])


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_a_figure_of_nothing_says_so(draw):
    assert draw(NOTHING).alt.startswith("No ")


def test_a_bar_is_the_newest_price_and_the_title_names_the_largest_move(day):
    ticks = day["ticks"].sort_values(["event_time", "number"]).groupby("symbol")["price"]
    plot = plots.latest_prices(day["ticks"])
    newest = {bar.get_width() for bar in plot.axes[0].patches}
    assert newest == set(ticks.last())
    moved = ticks.last() / ticks.first() - 1
    most = moved.abs().idxmax()
    assert plot.alt.startswith(f"{most} moved most from its first tick to its newest: {moved[most] * 100:+.1f} %")


@pytest.mark.parametrize("interval", ["tick", "1m"])
def test_each_signal_of_the_day_is_marked_and_counted(day, interval):
    plot = through_day(day, interval)
    raised = batch_crossings.of_ticks(day["ticks"], Rule(), interval=interval)
    for axis, symbol in zip(plot.axes[::2], ["META", "NFLX"], strict=True):
        marked = sum(len(line.get_xdata()) for line in axis.lines if line.get_marker() in "^v")
        assert marked == (raised["symbol"] == symbol).sum() > 0
        assert f"{symbol}: {marked} crossings, one every" in plot.alt
    beside = plot.axes[1]
    marked = [line for line in beside.lines if line.get_marker() in "^v"]
    assert sum(len(line.get_xdata()) for line in marked) > 0, "the signal around which the ticks are"


def test_a_symbol_without_ticks_is_left_out(day):
    lines = batch_crossings.averages(day["ticks"], Rule())
    assert len(plots.signals_through_day(lines, day["signals"], ["META", "XXX"]).axes) == 2
    assert plots.signals_through_day(lines, day["signals"], ["XXX"]).alt.startswith(
        "No ticks to show: the table has none"
    )


def test_candles_are_the_last_minutes_and_corrected_ones_are_marked(day):
    bars = day["bars_1m"].query("symbol == 'META'").tail(120)
    plot = plots.minute_candles(day["bars_1m"], "META")
    rose = int((bars["close"] >= bars["open"]).sum())
    assert plot.alt.startswith(f"META: {rose} of the last 120 minutes did not fall; the widest, ")
    corrected = int((bars["late"] > 0).sum())
    assert f"; {corrected} corrected by late ticks." in plot.alt
    assert corrected == sum(len(line.get_xdata()) for line in plot.axes[0].lines if line.get_marker() == "x")


def test_the_busiest_minute_is_that_of_all_symbols_together(day):
    total = day["bars_1m"].groupby("minute")["volume"].sum()
    expected = f"The busiest minute was {total.idxmax():%H:%M} UTC with {total.max():,} shares, "
    assert plots.volume_by_minute(day["bars_1m"]).alt.startswith(expected)


def test_the_lag_of_live_ticks_is_told_and_that_of_a_replay_is_not(day):
    live_day = made(live=True)
    live = plots.lag_histogram(live_day["ticks"])
    lag = (live_day["ticks"]["arrival"] - live_day["ticks"]["event_time"]) / pd.Timedelta("1ms")
    assert live.alt.startswith(f"Half of the ticks arrived within {lag.median():,.0f} ms, 99 % within ")
    replay = plots.lag_histogram(day["ticks"])
    assert replay.alt.startswith("A replay has no lag: its arrival says when it was sent again. ")
    assert "arrival − event time" not in replay.axes[0].get_xlabel()
    early = live_day["ticks"].assign(arrival=live_day["ticks"]["event_time"] - pd.Timedelta("1min"))
    assert plots.lag_histogram(early).alt.startswith("A replay has no lag")


def test_the_figure_of_a_replay_shows_nothing_of_when_it_ran(day):
    later = day["ticks"].assign(arrival=day["ticks"]["arrival"] + pd.Timedelta("3D"))
    assert plots.lag_histogram(later)._repr_mimebundle_() == plots.lag_histogram(day["ticks"])._repr_mimebundle_()


def test_a_replay_in_order_has_nothing_to_show(day):
    ticks = day["ticks"].sort_values(["symbol", "event_time"])
    in_order = ticks.assign(number=ticks.groupby("symbol").cumcount() + 1)
    assert plots.lag_histogram(in_order).alt.startswith(
        "A replay has no lag: its arrival says when it was sent again; each"
    )


def test_rejected_records_are_counted_by_reason(day):
    counts = day["dead_letters"]["reason"].value_counts()
    plot = plots.rejected_records(day["dead_letters"])
    assert plot.alt.startswith(f"37 records rejected, for {len(counts)} reasons; most often: {counts.idxmax()}")
    assert sorted(bar.get_width() for bar in plot.axes[0].patches) == sorted(counts)


@pytest.mark.parametrize("cost", [0.0, 50.0])
def test_what_followed_is_counted_against_chance_and_against_costs(day, cost):
    followed = crossings.after_ticks(day["signals"], day["ticks"], horizons=[1, 5])
    board = crossing_scores.score(followed, cost=cost, unit="minutes")
    plot = plots.after_signals(board)
    lines = pd.concat([board.by_symbol, board.overall])
    over, differ = (lines["mean_bp"] > 2 * cost).sum(), (lines["p_holm"] < 0.05).sum()
    assert len(lines) == 8
    assert plot.alt.startswith(
        f"{differ} of 8 means differ from 0 after correction; {over} are over the {2 * cost:g} bp"
    )
    shown = [line for axis in plot.axes for line in axis.lines if line.get_marker() == "o"]
    assert sorted(x for line in shown for x in line.get_xdata()) == pytest.approx(sorted(lines["mean_bp"]))


def test_of_too_few_signals_nothing_is_shown(day):
    followed = crossings.after_ticks(day["signals"].head(3), day["ticks"], horizons=[1])
    board = crossing_scores.score(followed, cost=1.0, unit="minutes")
    assert plots.after_signals(board).alt.startswith("Nothing followed that could be judged")
