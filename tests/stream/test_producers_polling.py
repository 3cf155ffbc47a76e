"""Live quotes over real sockets: what is new is sent once, a bad answer costs its symbol a round, no key is shown."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import threading
from datetime import UTC, datetime

import pytest

from stockkit.errors import ParamError, StreamError
from stockkit.intake.sources import open_source
from stockkit.intake.sources.download import Limits, Patience
from stockkit.market import ticks
from stockkit.stream import producers
from stockkit.stream.producers import Settings, polling
from tests.conftest import ROOT, lacking
from tests.intake import alphavantage_server as av
from tests.intake.alphavantage_server import Server, csv, json_of, status

CANARY = "CANARY7Q2WX9KEY0"
CLOSING = int(datetime(2023, 9, 21, 20, tzinfo=UTC).timestamp()) * 1_000_000


class Rounds(threading.Event):
    """A stop that is set after so many rounds; notes how long each wait for the next one would have been."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left, self.waits = count, []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        self.left -= 1
        if self.left <= 0:
            self.set()
        return self.is_set()


def quoted(price, day="2023-09-21", volume=63_047_900):
    """A GLOBAL_QUOTE as Alpha Vantage's documentation shows it."""

    def answer(handler):
        answer = {"01. symbol": handler.symbol, "02. open": "174.5500", "05. price": f"{price:.4f}",
                "06. volume": str(volume), "07. latest trading day": day, "08. previous close": "175.4900"}  # fmt: skip
        handler.reply(json.dumps({"Global Quote": answer}).encode(), kind="application/json")

    return answer


@pytest.fixture
def polled(tmp_path, monkeypatch):
    """The ticks of so many rounds of Alpha Vantage's quotes, and the stop that counted them."""

    def polling_of(server, count, symbols=("IBM",), now="2023-09-22T12:00", **changes):
        monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_URL", server.url)
        monkeypatch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", CANARY)
        monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_PER_SECOND", "0")
        source = open_source("alphavantage", root=ROOT, lake=tmp_path / "lake")
        moment = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
        budget = dataclasses.replace(source.budget, clock=lambda: moment + 60 * (len(stop.waits)), **changes)
        quick = {"patience": Patience(1), "limits": Limits(read=0.5, total=20)}
        stop = Rounds(count)
        settings = Settings(symbols=symbols, interval=60.0, stop=stop)
        batches = list(polling.rounds(dataclasses.replace(source, budget=budget, **quick), settings))
        bodies = [message.body for batch in batches for message in batch.messages]
        return ticks.transform(bodies, now=int(moment + 10**7) * 1_000_000), stop

    return polling_of


def test_a_quote_is_sent_once_and_a_closed_day_s_at_its_closing_bell(polled):
    with Server(quoted(147.38), quoted(147.38), quoted(146.9, "2023-09-22"), quoted(146.9, "2023-09-22")) as server:
        known, stop = polled(server, 4, now="2023-09-23T12:00")
        asked = [{name: value for name, value in one.items() if name != "at"} for one in server.requests]
    day = 86_400_000_000
    assert known == [ticks.Tick("IBM", 147_380_000, 0, CLOSING, "alphavantage", CLOSING),
                     ticks.Tick("IBM", 146_900_000, 0, CLOSING + day, "alphavantage", CLOSING + day)]  # fmt: skip
    assert asked[0] == {"path": "/query", "function": "GLOBAL_QUOTE", "symbol": "IBM", "apikey": CANARY}
    assert stop.waits == [60.0] * 4


def test_while_the_session_lasts_a_quote_s_time_is_that_of_asking_and_only_a_change_is_sent(polled):
    with Server(quoted(147.1), quoted(147.1), quoted(147.2), quoted(147.2, volume=63_050_000)) as server:
        known, _ = polled(server, 4, now="2023-09-21T15:00")
    start = CLOSING - 5 * 3_600_000_000
    assert [(tick.price, (tick.event_time - start) // 60_000_000) for tick in known] == [
        (147_100_000, 0),
        (147_200_000, 2),
        (147_200_000, 3),
    ]
    assert all(tick.sequence == tick.event_time for tick in known)


BAD_DAYS = {
    "a rate note": (json_of("Information", av.BURST), "expected a quote, got JSON: .*1 request per second"),
    "too many requests": (status(429), "HTTP 429"),
    "an HTML page": (av.html, "expected a quote as JSON, got something else"),
    "a missing symbol": (csv(b'{"Global Quote": {}}', kind="application/json"), "Probably the symbol is not known"),
    "a wrong key": (json_of("Error Message", "the parameter apikey {key} is invalid."), "Check STOCKKIT_SECRET"),
    "a slow answer": (av.slow(0.8), "did not answer in time"),
    "no price": (csv(b'{"Global Quote": {"05. price": "None", "07. latest trading day": "2023-09-21"}}'), "a quote"),
    "price 0": (quoted(0.0), "0.0 is no price"),
    "no day": (quoted(147.1, day="never"), "expected a quote"),
    "cut off": (csv(b'{"Global Quote": {"01. symbol": "IB'), "cannot be read"),
    "a list": (csv(b"[1, 2]"), "expected a quote, got JSON"),
}


@pytest.mark.parametrize("day", BAD_DAYS)
def test_a_bad_answer_costs_its_symbol_a_round_and_no_other(day, polled, caplog):
    bad, says = BAD_DAYS[day]
    with Server(META=quoted(295.73), IBM=bad) as server:
        (tick,), stop = polled(server, 2, symbols=("IBM", "META"), per_day=0)
        assert [sum(request["symbol"] == symbol for request in server.requests) for symbol in ("IBM", "META")] == [2, 2]
    assert tick.symbol == "META"
    assert stop.waits[0] == 60.0
    (first,) = [record.getMessage() for record in caplog.records if "quotes=missing" in record.getMessage()]
    assert "IBM (Alpha Vantage GLOBAL_QUOTE)" in first
    assert re.search(says, first)
    assert CANARY not in caplog.text


def test_a_spent_allowance_is_waited_for_until_the_provider_s_next_day(polled, caplog):
    with Server(quoted(147.1)) as server:
        known, stop = polled(server, 2, symbols=("IBM", "META", "AAPL"), per_day=2)
        assert len(server.requests) == 2
    assert len(known) == 2
    assert stop.waits[0] == 16 * 3_600, "from 08:00 to midnight in New York"
    assert "all 2 requests of 2023-09-22 (America/New_York) are used up" in caplog.text


def test_where_no_symbol_has_a_quote_at_first_it_is_an_error_without_the_key(polled):
    with (
        Server(json_of("Error Message", "Invalid API call, {key}.")) as server,
        pytest.raises(
            StreamError, match=r"no quote of any symbol was to be had: IBM .*does not know the symbol"
        ) as error,
    ):
        polled(server, 3)
    assert CANARY not in str(error.value)


def test_a_stop_ends_it_within_a_round():
    class Source:
        name, concurrency = "none", 1

    settings = Settings(symbols=["IBM"])
    settings.stop.set()
    assert list(polling.rounds(Source(), settings)) == []


def test_live_producers_need_symbols_and_daily_sources_have_no_quotes(monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", CANARY)
    with pytest.raises(ParamError, match="alphavantage needs symbols"):
        producers.open_producer("alphavantage", Settings())
    with pytest.raises(ParamError, match="the source sample has daily bars alone"):
        open_source("sample", root=ROOT).quote("AAPL")
    monkeypatch.delenv("STOCKKIT_SECRET_ALPHAVANTAGE")
    with pytest.raises(ParamError, match="STOCKKIT_SECRET_ALPHAVANTAGE"):
        producers.open_producer("alphavantage", Settings(symbols=["IBM"]))


def chart(price, time):
    """Yahoo's chart of a day, as its version 8 answers."""

    def answer(handler):
        period = {"timezone": "EDT", "start": 1_695_303_000, "end": 1_695_326_400, "gmtoffset": -14_400}
        meta = {"currency": "USD", "symbol": "AAPL", "exchangeName": "NMS", "instrumentType": "EQUITY",
                "regularMarketPrice": price, "regularMarketTime": time, "gmtoffset": -14_400, "timezone": "EDT",
                "exchangeTimezoneName": "America/New_York", "dataGranularity": "1d", "range": "1d", "priceHint": 2,
                "currentTradingPeriod": {name: {**period} for name in ("pre", "regular", "post")},
                "validRanges": ["1d", "5d", "max"]}  # fmt: skip
        values = {name: [price] for name in ("open", "high", "low", "close")} | {"volume": [100]}
        result = {"meta": meta, "timestamp": [1_695_303_000],
                  "indicators": {"quote": [values], "adjclose": [{"adjclose": [price]}]}}  # fmt: skip
        handler.reply(json.dumps({"chart": {"result": [result], "error": None}}).encode(), kind="application/json")

    return answer


NOT_FOUND = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found for this symbol"}}}


@pytest.fixture
def yahoo(tmp_path, monkeypatch):
    """So many rounds of the installed yfinance, asking a server of this machine."""
    try:
        base, cache, data, history = (
            importlib.import_module(f"yfinance.{name}") for name in ("base", "cache", "data", "scrapers.history")
        )
    except ImportError:
        lacking("yfinance", "the extra yfinance is missing")
    cache.set_cache_location(str(tmp_path))
    monkeypatch.setattr(base, "_tz_info_fetch_ctr", 2)  # it does not look for a missing zone on other pages
    monkeypatch.setattr(data.YfData, "_get_cookie_and_crumb", lambda *words: ("crumb", "basic"))

    def polling_of(server, count, symbols=("AAPL",)):
        for module in (base, history):
            monkeypatch.setattr(module, "_BASE_URL_", server.url)
        settings = Settings(symbols=symbols, stop=Rounds(count), root=ROOT)
        batches = producers.open_producer("yfinance", settings)
        bodies = [message.body for batch in batches for message in batch.messages]
        return ticks.transform(bodies, now=2 * CLOSING)

    return polling_of


def test_yahoo_s_last_trade_is_sent_once_and_an_older_one_never(yahoo):
    seconds = CLOSING // 1_000_000
    answers = [(189.3699951171875, seconds), (189.3699951171875, seconds), (189.5, seconds - 60), (189.4, seconds + 2)]
    zone = chart(1.0, seconds)  # the library asks once more at first, for the zone
    with Server(zone, *(chart(price, time) for price, time in answers)) as server:
        known = yahoo(server, 4)
        assert {request["path"] for request in server.requests} == {"/v8/finance/chart/AAPL"}
    assert [tuple(tick) for tick in known] == [
        ("AAPL", 189_370_000, 0, CLOSING, "yfinance", CLOSING),
        ("AAPL", 189_400_000, 0, CLOSING + 2_000_000, "yfinance", CLOSING + 2_000_000),
    ]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (status(429), "RateLimit"),
        (av.html, r"AAPL \(Yahoo Finance\)"),
        (lambda handler: handler.reply(json.dumps(NOT_FOUND).encode(), status=404), "No data found"),
        (chart(None, 1_695_326_400), "no quote: price None"),
        (chart(0.0, 1_695_326_400), "0.0 is no price"),
        (av.hang_up, r"AAPL \(Yahoo Finance\)"),
    ],
    ids=["429", "HTML", "missing", "no price", "price 0", "hung up"],
)
def test_a_bad_day_of_yahoo_s_is_an_error_in_a_sentence(yahoo, bad, says):
    with (
        Server(bad) as server,
        pytest.raises(StreamError, match=r"no quote of any symbol was to be had: AAPL .*") as error,
    ):
        yahoo(server, 1)
    assert re.search(says, str(error.value))
