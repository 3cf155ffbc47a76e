"""A micro-batch is in the store with all that it came to, or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from stockkit.errors import StreamError
from stockkit.market.signals import Signal
from stockkit.stream.store import Batch, Fenced, Kept, Quote, Reach, Store

SIGNAL = Signal("tick:5/20:p/0:5", "AAPL", "buy", "tick", 1, 2, 1.5, 1.25)
BATCH = Batch(
    reaches={"p/0": Reach(None, 5, 60)},
    states={"AAPL": Kept(0, '{"n":1}', "p/0")},
    quotes=[Quote("AAPL", 100, 1, 50, 51, 3)],
    signals=[SIGNAL],
    alerts=[(SIGNAL.id, "console", "AAPL", "{}")],
    rows=b"rows",
    counts={"records": 6, "ticks": 3},
    now=70,
)
NEXT = Batch(reaches={"p/0": Reach(5, 6, 60)}, now=80)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "lake" / "stream.sqlite")
    yield opened
    opened.close()


def contents(store: Store) -> tuple[object, ...]:
    return (
        store.last_offset("p/0"), store.watermark("p/0"), store.states(["AAPL"]), store.quotes(), store.signals(),
        store.waiting("console", 10**18, 10), store.spooled(1), store.counts(), store.symbols_open("p/0"),
    )  # fmt: skip


def test_a_batch_is_stored_whole_and_another_connection_sees_it(store):
    store.commit(BATCH)
    last, watermark, states, quotes, signals, [alert], [chunk], counts, symbols = contents(Store(store.path))
    assert (last, watermark, symbols) == (5, 60, {"AAPL"})
    assert states == {"AAPL": Kept(1, '{"n":1}', "p/0")}
    assert (quotes, signals) == ([Quote("AAPL", 100, 1, 50, 51, 3)], [SIGNAL])
    assert (alert.id, alert.made_at, alert.attempts) == (SIGNAL.id, 70, 0)
    assert (chunk.rows, chunk.offsets) == (b"rows", {"p/0": 5})
    assert (counts["records"], counts["ticks"], counts["signals"]) == (6, 3, 0)


@pytest.mark.parametrize(
    "stale",
    [
        BATCH,
        Batch(reaches={"p/0": Reach(4, 6, 60)}),
        Batch(reaches={"q/0": Reach(3, 4, 0)}),
        Batch(reaches={"p/0": Reach(5, 6, 60)}, states={"AAPL": Kept(0, "{}")}),
        Batch(reaches={"p/0": Reach(5, 6, 60)}, states={"AAPL": Kept(2, "{}")}, rows=b"more"),
        Batch(reaches={"p/0": Reach(5, 6, 60)}, states={"META": Kept(1, "{}")}),
    ],
)
def test_a_batch_worked_out_from_what_another_consumer_changed_is_refused_and_nothing_of_it_stored(store, stale):
    store.commit(BATCH)
    before = contents(store)
    with pytest.raises(Fenced, match="another consumer"):
        store.commit(stale)
    assert contents(store) == before
    store.commit(NEXT)
    assert store.last_offset("p/0") == 6


def test_an_old_tick_never_overwrites_a_newer_quote(store):
    store.commit(BATCH)
    old, tie, new = (Quote("AAPL", 1, 1, 49, 99, 9), Quote("AAPL", 2, 1, 50, 99, 2), Quote("AAPL", 3, 1, 50, 99, 4))
    for offset, quote in enumerate([old, tie, new, old, tie], start=5):
        store.commit(Batch(reaches={"p/0": Reach(offset, offset + 1, 0)}, quotes=[quote]))
    assert store.quotes(["AAPL", "META"]) == [new]


def test_an_alert_is_made_once_and_settled_once(store):
    store.commit(BATCH)
    store.commit(Batch(reaches={"p/0": Reach(5, 6, 0)}, alerts=BATCH.alerts, signals=[SIGNAL]))
    [alert] = store.waiting("console", 100, 10)
    store.failed(alert, "no answer", 500)
    assert store.waiting("console", 499, 10) == []
    [again] = store.waiting("console", 500, 10)
    assert (again.id, again.attempts) == (alert.id, 1)
    store.sent([again], 510)
    store.given_up(again, "too late")
    assert store.alert_counts() == {"sent": 1}
    assert store.signals() == [SIGNAL]


def test_rows_wait_until_the_lake_has_them(store):
    store.commit(BATCH)
    store.commit(Batch(reaches={"p/0": Reach(5, 9, 0)}, rows=b"more rows"))
    first, second = store.spooled(10**6)
    assert [chunk.rows for chunk in store.spooled(1)] == [b"rows"]
    store.drop_spooled(first.number, first.offsets, [("AAPL", 60)])
    assert store.spooled(10**6) == [second]
    assert (store.archived(), store.late_minutes()) == ({"p/0": 5}, [("AAPL", 60)])
    store.drop_late_minutes([("AAPL", 60)])
    assert store.late_minutes() == []


def test_offsets_of_56_digits_are_kept(store):
    offset = int("4" * 56)
    store.commit(Batch(reaches={"k/0": Reach(None, offset, 0)}))
    store.commit(Batch(reaches={"k/0": Reach(offset, offset + 1, 0)}, rows=b"x"))
    assert store.last_offset("k/0") == offset + 1
    assert store.spooled(1)[0].offsets == {"k/0": offset + 1}


def test_thousands_of_symbols_are_asked_for_at_once(store):
    names = [f"S{k}" for k in range(1_200)]
    store.commit(Batch(states={name: Kept(0, "{}") for name in names}))
    assert set(store.states([*names, "OTHER"])) == set(names)


@pytest.mark.parametrize("body", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 500])
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path, body):
    path = tmp_path / "stream.sqlite"
    path.write_bytes(body)
    with pytest.raises(StreamError, match=r"stream\.sqlite"):
        Store(path)
    assert path.read_bytes() == body


def test_a_store_of_a_newer_stockkit_is_refused(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StreamError, match="newer stockkit"):
        Store(store.path)


CRASH = """
import os, sys
from pathlib import Path
from stockkit.stream.store import Batch, Kept, Reach, Store
store = Store(Path(sys.argv[1]))
store.commit(Batch(reaches={"p/0": Reach(None, 5, 0)}, states={"A": Kept(0, "{}")}, rows=b"rows"))
keep = store._keep
def die(*arguments):
    keep(*arguments)
    os._exit(9)
store._keep = die
store.commit(Batch(reaches={"p/0": Reach(5, 6, 0)}, states={"A": Kept(1, "{}")}, rows=b"more"))
"""


def test_a_process_that_dies_within_a_batch_leaves_the_one_before(tmp_path):
    path = tmp_path / "stream.sqlite"
    assert subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False).returncode == 9
    store = Store(path)
    assert (store.last_offset("p/0"), store.states(["A"])["A"].version, len(store.spooled(100))) == (5, 1, 1)
