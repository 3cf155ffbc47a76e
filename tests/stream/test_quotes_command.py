"""`stockkit quotes` shows the newest prices and their age."""

from __future__ import annotations

import json
import time

import pytest

from stockkit.cli.quotes import age_of
from stockkit.stream.quotes import DynamoDb
from stockkit.stream.store import Batch, Quote, Store
from tests.conftest import stockkit
from tests.stream.test_quotes import make_table

NOW = time.time_ns() // 1_000
QUOTES = [
    Quote("META", 295_730_000, 100, NOW - 7_300_000_000, NOW, 3),
    Quote("AAPL", 1_189_370_500, 20, NOW - 86_400_000_000 * 3, NOW, 5),
    Quote("EURUSD=X", 1_085_312, 0, NOW + 36_000_000_000, NOW, 1),
]


@pytest.fixture
def workbook(tmp_path):
    (tmp_path / "data" / "lake").mkdir(parents=True)
    store = Store(tmp_path / "data" / "lake" / "stream.sqlite")
    store.commit(Batch(quotes=QUOTES))
    store.close()
    return tmp_path


def test_each_symbol_is_a_line_with_price_size_and_age(workbook):
    run = stockkit(workbook, "quotes")
    assert [line.split(maxsplit=3) for line in run.stdout.splitlines()] == [
        ["AAPL", "1,189.3705", "20", "3 d"],
        ["EURUSD=X", "1.085312", "0", "0 s"],
        ["META", "295.73", "100", "2 h"],
    ]


def test_symbols_are_shown_in_the_order_asked_for_and_an_unknown_one_is_named(workbook):
    run = stockkit(workbook, "quotes", "META", "APPL", "AAPL", "meta", "../x")
    assert run.returncode == 1
    assert [line.split()[0] for line in run.stdout.splitlines()] == ["META", "AAPL"]
    assert "no quote of 'APPL'. Did you mean 'AAPL'?" in run.stderr
    assert "no quote of 'meta'. Did you mean 'META'?" in run.stderr
    assert "no quote of '../x'." in run.stderr


def test_json_has_the_moment_and_the_age_in_seconds(workbook):
    (quote,) = json.loads(stockkit(workbook, "quotes", "META", "--json").stdout)
    assert (quote["symbol"], quote["price"], quote["size"]) == ("META", 295.73, 100)
    assert quote["event_time"].endswith("+00:00")
    assert quote["age"] >= 7_300


def test_quotes_of_a_table_of_dynamodb_are_shown_without_a_store(tmp_path, aws):
    DynamoDb(table := make_table()).write(QUOTES)
    run = stockkit(tmp_path, "quotes", "META", "--from", f"dynamodb:{table}")
    assert run.stdout.split(maxsplit=3)[:3] == ["META", "295.73", "100"]
    assert not (tmp_path / "data").exists()


def test_where_no_stream_ran_yet_the_command_that_makes_quotes_is_named_and_nothing_is_made(tmp_path):
    run = stockkit(tmp_path, "quotes")
    assert run.returncode == 2
    assert "stockkit stream run params/stream.yaml" in run.stderr
    assert list(tmp_path.iterdir()) == []
    store = tmp_path / "empty.sqlite"
    Store(store).close()
    assert "no quotes yet" in stockkit(tmp_path, "quotes", "--state", str(store)).stderr


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (7_300, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_an_age_is_told_in_one_unit(seconds, shown):
    assert age_of(seconds) == shown
