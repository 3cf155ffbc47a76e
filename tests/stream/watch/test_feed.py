"""What the page shows of a store, and what of it changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stockkit.market import ticks
from stockkit.market.signals import Rule
from stockkit.stream.bus.protocol import Record
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.store import Store
from stockkit.stream.watch import feed
from stockkit.stream.watch.feed import Feed, Reader

NOW = 1_795_669_000_000_000


class Stream:
    """A pipeline that takes prices into a store."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self._pipeline, self._offset = Pipeline(self.store, Step(Rule(1, 2))), 0

    def take(self, symbol: str, *prices: int, now: int = NOW) -> None:
        self.take_all([(symbol, price) for price in prices], now=now)

    def take_all(self, prices: list[tuple[str, int]], now: int = NOW) -> None:
        records = []
        for symbol, price in prices:
            self._offset += 1
            tick = ticks.Tick(symbol, price * 1_000_000, 1, now + self._offset, "test", self._offset)
            records.append(Record("test", self._offset, ticks.encode(tick), now))
        self._pipeline.take(records, now)


@pytest.fixture
def stream(tmp_path):
    return Stream(tmp_path / "s.sqlite")


def pulled(reader: Reader, shown: Feed, version: int, now: int = NOW) -> dict:
    shown.take(reader.read(), now)
    return shown.since(version, now)


def test_after_a_version_only_what_changed_is_told_each_price_once(stream):
    reader, shown = Reader(stream.store.path), Feed()
    stream.take("META", 300)
    stream.take("NFLX", 400)
    first = pulled(reader, shown, 0)
    assert first["all"]
    assert {row["symbol"]: row["points"] for row in first["rows"]} == {"META": [300_000_000], "NFLX": [400_000_000]}
    stream.take("META", 301)
    second = pulled(reader, shown, first["version"])
    assert not second["all"]
    [row] = second["rows"]
    assert (row["symbol"], row["points"], row["first"], row["price"]) == (
        "META",
        [301_000_000],
        300_000_000,
        301_000_000,
    )
    stream.take("META", 302)
    third = pulled(reader, shown, second["version"])
    slow = shown.since(first["version"], NOW)  # of a client that missed the one before
    assert [row["points"] for row in third["rows"]] == [[302_000_000]]
    assert [row["points"] for row in slow["rows"]] == [[301_000_000, 302_000_000]]
    assert json.loads(json.dumps(slow)) == slow


def test_nothing_new_is_no_version(stream):
    reader, shown = Reader(stream.store.path), Feed()
    stream.take("META", 300)
    assert shown.take(reader.read(), NOW)
    assert not shown.take(reader.read(), NOW + 250_000)
    assert shown.since(shown.version, NOW)["rows"] == []


def test_signals_are_told_once_newest_last_and_stand_in_their_row(stream):
    reader, shown = Reader(stream.store.path), Feed()
    stream.take("META", 3, 2, 1, 4, 5, 1)
    first = pulled(reader, shown, 0)
    assert [signal["side"] for signal in first["signals"]] == ["buy", "sell"]
    assert first["rows"][0]["signal"] == first["signals"][-1]
    stream.take("META", 9)
    second = pulled(reader, shown, first["version"])
    assert [(signal["side"], signal["price"]) for signal in second["signals"]] == [("buy", 9_000_000)]
    assert pulled(reader, shown, second["version"])["signals"] == []


def test_however_long_it_runs_what_is_kept_is_bounded(stream, monkeypatch):
    monkeypatch.setattr(feed, "ROWS", 2)
    reader, shown = Reader(stream.store.path), Feed()
    stream.take_all([("A", 1), ("B", 1), ("C", 1)])
    assert pulled(reader, shown, 0)["hidden"] == 1
    for price in range(2, 300):
        stream.take_all([("A", price % 7 + 1), ("C", price)])
        shown.take(reader.read(), NOW + price * 250_000)
    message = shown.since(0, NOW)
    assert [row["symbol"] for row in message["rows"]] == ["A", "B"]
    assert (len(message["rows"][0]["points"]), len(message["signals"])) == (feed.POINTS, feed.SIGNALS)
    assert len(shown._ticks) < 30


def test_ticks_a_second_are_those_of_the_last_seconds_and_none_when_nothing_comes(stream):
    reader, shown = Reader(stream.store.path), Feed()
    stream.take("META", 1)
    shown.take(reader.read(), NOW)
    stream.take("META", *range(2, 12))
    assert pulled(reader, shown, 0, NOW + 1_000_000)["rate"] == 10.0
    assert pulled(reader, shown, 0, NOW + 9_000_000)["rate"] == 0.0


def test_a_store_that_is_not_there_yet_is_waited_for_and_never_made(tmp_path):
    path = tmp_path / "lake" / "s.sqlite"
    reader, shown = Reader(path), Feed()
    message = pulled(reader, shown, 0)
    assert "There is no stream in" in message["trouble"]
    assert not path.parent.exists()
    Stream(path).take("META", 300)
    message = pulled(reader, shown, message["version"])
    assert (message["trouble"], [row["symbol"] for row in message["rows"]]) == ("", ["META"])


def test_of_a_store_made_anew_nothing_of_the_one_before_is_shown(tmp_path, stream):
    reader, shown = Reader(stream.store.path), Feed()
    stream.take("META", 300)
    before = pulled(reader, shown, 0)
    stream.store.close()
    for path in tmp_path.glob("s.sqlite*"):
        path.unlink()
    gone = pulled(reader, shown, before["version"])
    assert "There is no stream" in gone["trouble"]
    assert gone["counts"]["ticks"] == 1  # what was there stays on the page, with the trouble above it
    Stream(stream.store.path).take("NFLX", 400)
    message = pulled(reader, shown, gone["version"])
    assert message["all"]
    assert [row["symbol"] for row in message["rows"]] == ["NFLX"]


def test_a_file_that_is_no_store_is_said_and_kept(tmp_path):
    path = tmp_path / "s.sqlite"
    path.write_text("no database" * 1000)
    message = pulled(Reader(path), Feed(), 0)
    assert "not a database" in message["trouble"]
    assert path.read_text().startswith("no database")


def test_named_symbols_alone_are_shown(stream):
    stream.take_all([("META", 3), ("META", 2), ("META", 4), ("NFLX", 3), ("NFLX", 2), ("NFLX", 4)])
    message = pulled(Reader(stream.store.path, ["NFLX"]), Feed(), 0)
    assert {row["symbol"] for row in message["rows"]} == {"NFLX"}
    assert {signal["symbol"] for signal in message["signals"]} == {"NFLX"}
