"""From records to the lake: nothing lost, nothing twice, the same however the work is cut or begun anew."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

import stockkit
from stockkit.errors import LakeError, StreamError
from stockkit.market.signals import Rule
from stockkit.market.ticks import SCALE, encode
from stockkit.stream import archive
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.recovery import recover
from stockkit.stream.store import Fenced, Quote, Store
from tests.market.test_signals import in_batch
from tests.stream.ticking import NOW, disturbed, records, walk

RULE = Rule(3, 8)
TICKS = walk(1_500)
BODIES = disturbed(TICKS)
PARTITION = "test:ticks/0"
COLUMNS = ["symbol", "price", "size", "event_time", "source", "sequence"]


def run(folder, cuts, step=None, bodies=BODIES):
    """A lake and a store after the records, a new pipeline for each part between the cuts."""
    lake, store = stockkit.open_lake(str(folder / "lake")), Store(folder / "lake" / "stream.sqlite")
    step = step or Step(RULE, channels=("console",))
    polled = records(bodies)
    for start, end in zip([0, *cuts], [*cuts, len(polled)], strict=True):
        pipeline = Pipeline(store, step)
        for at in range(start, end, 97):
            pipeline.take(polled[max(0, at - 3) : min(at + 97, end)], NOW)
        archive.flush(lake, store)
    pipeline.pass_time(NOW, [PARTITION], at_end=True)
    archive.flush(lake, store)
    archive.correct(lake, store)
    return lake, store


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(tmp_path_factory.mktemp("stream"), [700])


def stored_ticks(lake):
    return lake.read("ticks")


def test_every_tick_is_in_the_lake_once_with_its_place(done):
    lake, store = done
    ticks = stored_ticks(lake)
    expected = pd.DataFrame(TICKS, columns=COLUMNS).sort_values(["symbol", "sequence"], ignore_index=True)
    rows = ticks.sort_values(["symbol", "sequence"], ignore_index=True)
    assert (rows["price"] * SCALE).round().astype("int64").equals(expected["price"])
    assert rows["sequence"].equals(expected["sequence"])
    assert (rows["event_time"].astype("int64") // 1_000).equals(expected["event_time"])
    for _, part in ticks.sort_values("number").groupby("symbol"):
        assert part["number"].tolist() == list(range(1, len(part) + 1))
        assert part["offset"].is_monotonic_increasing
    counts = store.counts()
    assert counts["records"] == len(BODIES) == counts["ticks"] + counts["duplicates"] + counts["rejects"]
    assert counts["duplicates"] > 5
    assert counts["rejects"] == len(lake.read("dead_letters")) > 5


def test_signals_equal_pandas_over_the_stored_order_bit_for_bit(done):
    lake, _ = done
    signals = lake.read("signals")
    expected = []
    for symbol, part in stored_ticks(lake).sort_values("number").groupby("symbol"):
        prices = (part["price"] * SCALE).round().astype("int64").tolist()
        sides = in_batch(prices, RULE.fast, RULE.slow)
        means = [part["price"].rolling(width).mean().to_numpy() for width in (RULE.fast, RULE.slow)]
        expected += [(symbol, k + 1, side, means[0][k], means[1][k]) for k, side in enumerate(sides) if side]
    rows = signals.sort_values(["symbol", "number"])
    assert [*zip(rows["symbol"], rows["number"], rows["side"], strict=True)] == [row[:3] for row in expected]
    assert np.allclose(rows[["fast", "slow"]], [row[3:] for row in expected], rtol=1e-12)
    assert len(expected) > 50


def test_bars_equal_those_of_all_ticks_late_ones_included(done):
    lake, store = done
    ticks, bars = stored_ticks(lake).sort_values(["symbol", "event_time", "number"]), lake.read("bars_1m")
    minute = ticks["event_time"].dt.floor("min")
    expected = ticks.groupby(["symbol", minute]).agg(
        open=("price", "first"), high=("price", "max"), low=("price", "min"), close=("price", "last"),
        volume=("size", "sum"), count=("size", "size"), late=("late", "sum"),
    )  # fmt: skip
    rows = bars.set_index(["symbol", "minute"])[list(expected)]
    assert [*rows.index] == [*expected.index]
    assert np.array_equal(rows.to_numpy(), expected.to_numpy())
    assert store.counts()["late"] == ticks["late"].sum() > 3
    assert store.late_minutes() == []


def test_the_lake_says_that_all_is_well_and_answers_in_sql(done):
    lake, _ = done
    assert lake.verify().empty
    answer = lake.sql("SELECT symbol, date, count(*) AS n FROM ticks WHERE date = DATE '2023-09-21' GROUP BY 1, 2")
    assert answer["n"].sum() == len(TICKS)
    assert lake.read("ticks", symbols=["META"])["symbol"].unique().tolist() == ["META"]


def test_each_signal_is_one_alert_and_the_quote_is_the_newest_tick(done):
    lake, store = done
    alerts = store.waiting("console", NOW, 10**6)
    assert sorted(alert.id for alert in alerts) == sorted(lake.read("signals")["id"])
    newest = {tick.symbol: tick for tick in sorted(TICKS, key=lambda tick: tick.event_time)}
    assert [quote[:4] for quote in store.quotes()] == [newest[name][:4] for name in sorted(newest)]
    assert isinstance(store.quotes()[0], Quote)


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [97, 98, 1_000], [*range(100, 1_500, 100)]])
def test_however_the_work_is_cut_the_lake_is_the_same(done, tmp_path, cuts):
    lake, _ = run(tmp_path, cuts)
    for table in ("ticks", "signals", "bars_1m", "dead_letters"):
        columns = [name for name in lake.read(table).columns if name != "made_at"]
        pd.testing.assert_frame_equal(lake.read(table, columns=columns), done[0].read(table, columns=columns))


def test_signals_of_minute_bars_equal_pandas_over_the_bars_as_they_were_closed(tmp_path):
    lake, _ = run(tmp_path, [500], Step(Rule(1, 3), interval="1m"), [encode(tick) for tick in TICKS])
    expected = []
    for symbol, part in lake.read("bars_1m").groupby("symbol"):
        closes = (part["close"] * SCALE).round().astype("int64").tolist()
        ends = part["minute"] + pd.Timedelta("1min")
        expected += [(symbol, end, side) for end, side in zip(ends, in_batch(closes, 1, 3), strict=True) if side]
    rows = lake.read("signals")
    assert [*zip(rows["symbol"], rows["event_time"], rows["side"], strict=True)] == expected
    assert set(rows["interval"]) == {"1m"}


def test_what_a_crashed_flush_left_is_not_added_again(tmp_path, monkeypatch):
    lake, store = stockkit.open_lake(str(tmp_path / "lake")), Store(tmp_path / "lake" / "stream.sqlite")
    Pipeline(store, Step(RULE)).take(records(BODIES)[:600], NOW)
    monkeypatch.setattr(store, "drop_spooled", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        archive.flush(lake, store)
    again = Store(store.path)
    Pipeline(again, Step(RULE)).take(records(BODIES)[:900], NOW)
    versions = {table: lake.version(table) for table in ("ticks", "signals")}
    archive.flush(lake, again)
    assert lake.version("ticks") == versions["ticks"] + 1
    ticks = lake.read("ticks")
    assert not ticks.duplicated(["source", "symbol", "sequence"]).any()
    assert len(ticks) == again.counts()["ticks"]
    archive.flush(lake, again)
    assert lake.version("ticks") == versions["ticks"] + 1


def test_a_lake_that_cannot_be_written_loses_nothing(tmp_path):
    lake, store = stockkit.open_lake(str(tmp_path / "lake")), Store(tmp_path / "state" / "stream.sqlite")
    (tmp_path / "lake").write_text("in the way")
    Pipeline(store, Step(RULE)).take(records(BODIES)[:300], NOW)
    with pytest.raises((LakeError, OSError)):
        archive.flush(lake, store)
    os.remove(tmp_path / "lake")
    archive.flush(lake, store)
    assert len(lake.read("ticks")) == store.counts()["ticks"]


def test_of_two_pipelines_with_one_partition_the_slower_one_is_refused_and_starts_anew(tmp_path):
    path = tmp_path / "stream.sqlite"
    one, two = Store(path), Store(path)
    slow, fast = Pipeline(one, Step(RULE)), Pipeline(two, Step(RULE))
    polled = records(BODIES)
    slow.take(polled[:50], NOW)
    fast.take(polled[:120], NOW)
    with pytest.raises(Fenced):
        slow.take(polled[50:200], NOW)
    slow.take(polled[50:200], NOW)
    assert one.last_offset(PARTITION) == 199
    assert sum(one.counts()[name] for name in ("ticks", "duplicates", "rejects")) == 200


def test_a_batch_that_was_not_stored_is_worked_out_again_to_the_same_end(tmp_path, monkeypatch):
    store = Store(tmp_path / "stream.sqlite")
    pipeline, polled = Pipeline(store, Step(RULE)), records(BODIES)
    pipeline.take(polled[:100], NOW)
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", lambda batch: (_ for _ in ()).throw(StreamError("disk full")))
        with pytest.raises(StreamError):
            pipeline.take(polled[100:200], NOW)
    pipeline.take(polled[100:200], NOW)
    counts = store.counts()
    assert counts["records"] == 200 == counts["ticks"] + counts["duplicates"] + counts["rejects"]


def test_a_symbol_whose_records_move_to_another_partition_keeps_its_state(tmp_path):
    store = Store(tmp_path / "stream.sqlite")
    ticks = [tick for tick in TICKS if tick.symbol == "AAPL"][:200]
    bodies = [encode(tick) for tick in ticks]
    Pipeline(store, Step(RULE)).take(records(bodies[:100], "kinesis:s/parent"), NOW)
    Pipeline(store, Step(RULE)).take(records(bodies[90:], "kinesis:s/child"), NOW)
    assert store.counts()["duplicates"] == 10
    sides = in_batch([tick.price for tick in ticks], RULE.fast, RULE.slow)
    assert [signal.side for signal in reversed(store.signals(1_000))] == [side for side in sides if side]


def test_a_later_run_corrects_the_bars_that_an_earlier_one_closed(tmp_path):
    lake, store = stockkit.open_lake(str(tmp_path / "lake")), Store(tmp_path / "lake" / "stream.sqlite")
    bodies = [encode(tick) for tick in TICKS[:400]]
    for number, part in enumerate([bodies[:390:2], bodies[1:390:2], bodies[380:]]):
        pipeline = Pipeline(store, Step(RULE))
        pipeline.take(records(part, f"memory:run{number}/0"), NOW)
        pipeline.pass_time(NOW, [f"memory:run{number}/0"], at_end=True)
        archive.flush(lake, store)
        archive.correct(lake, store)
    bars, ticks = lake.read("bars_1m"), lake.read("ticks")
    assert not bars.duplicated(["symbol", "minute"]).any()
    assert (
        (bars["count"].sum(), bars["volume"].sum())
        == (len(ticks), ticks["size"].sum())
        == (400, sum(tick.size for tick in TICKS[:400]))
    )


@pytest.mark.parametrize("interval", ["tick", "1m"])
def test_a_store_that_is_lost_is_made_anew_from_the_lake_and_goes_on_exactly(tmp_path, interval):
    step, polled = Step(Rule(1, 3), interval=interval), records(BODIES)
    lakes = []
    for loses in (False, True):
        folder = tmp_path / str(loses)
        lake, path = stockkit.open_lake(str(folder / "lake")), folder / "lake" / "stream.sqlite"
        store = Store(path)
        Pipeline(store, step).take(polled[:800], NOW)
        archive.flush(lake, store)
        Pipeline(store, step).take(polled[800:1_000], NOW)  # not in the lake when the machine is lost
        if loses:
            store.close()
            for file in path.parent.glob("stream.sqlite*"):
                file.unlink()
            store = Store(path)
            assert recover(lake, store, step, NOW) == len(lake.read("ticks"))
            assert recover(lake, store, step, NOW) == 0
        last = store.last_offset(PARTITION)
        pipeline = Pipeline(store, step)
        pipeline.take(polled[last + 1 :], NOW)
        pipeline.pass_time(NOW, [PARTITION], at_end=True)
        archive.flush(lake, store)
        archive.correct(lake, store)
        lakes.append(lake)
    for table in ("ticks", "signals", "bars_1m", "dead_letters"):
        columns = [name for name in lakes[0].read(table).columns if name != "made_at"]
        pd.testing.assert_frame_equal(*(lake.read(table, columns=columns) for lake in lakes))


def test_many_small_commits_of_a_day_come_to_few_files(tmp_path):
    lake, store = stockkit.open_lake(str(tmp_path / "lake")), Store(tmp_path / "lake" / "stream.sqlite")
    pipeline, polled = Pipeline(store, Step(RULE)), records([encode(tick) for tick in TICKS])
    for at in range(0, 42 * 10, 10):
        pipeline.take(polled[at : at + 10], NOW)
        archive.flush(lake, store)
    before = lake.read("ticks")
    archive.compact(lake)
    assert len(lake.delta("ticks").file_uris()) == 1
    pd.testing.assert_frame_equal(lake.read("ticks"), before)
    assert lake.delta("ticks").to_pyarrow_table()["symbol"].to_pylist() == sorted(before["symbol"])
    pipeline.take(polled[at + 10 : at + 50], NOW)
    archive.flush(lake, store)
    assert lake.optimize("ticks") == {"files_added": 1, "files_removed": 2}
    symbols = lake.delta("ticks").to_pyarrow_table()["symbol"].to_pylist()
    assert symbols == sorted(symbols)
