"""Alpha Vantage over real sockets: only a whole CSV gets through, and the key is nowhere to be seen."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import logging
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pandas as pd
import pytest

from stockkit.errors import BudgetSpent, LakeError, ParamError, SourceError, SymbolError
from stockkit.intake import ingest, sources
from stockkit.intake.sources import alphavantage
from stockkit.intake.sources.download import Limits, Patience
from stockkit.intake.sources.folder import PriceFolder
from stockkit.intake.sources.source import fetch_many
from stockkit.market import clean, corporate_actions
from tests.conftest import ROOT
from tests.intake import alphavantage_server as av
from tests.intake.alphavantage_server import Server, csv, json_of, status

CANARY = "CANARY7Q2WX9KEY0"
ADJUSTED = (
    b"timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient\r\n"
    b"2020-09-01,132.76,134.8,130.53,134.18,131.0,152470142,0.0000,1.0\r\n"
    b"2020-08-31,127.58,131.0,126.0,129.04,126.2,223505733,0.0000,4.0\r\n"
    b"2020-08-07,452.82,454.7,441.17,444.45,108.6,49511403,0.8200,1.0\r\n"
)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open the source on a server, with patience and limits fit for a test."""

    def opening(server: Server, name: str = "alphavantage", **changes) -> alphavantage.AlphaVantage:
        monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_URL", server.url)
        monkeypatch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", CANARY)
        monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_PER_SECOND", "0")
        source = sources.open_source(name, root=ROOT, lake=tmp_path / "lake")
        quick = {"patience": Patience(first=0.01, longest=2, jitter=0), "limits": Limits(read=0.3, total=0.5)}
        return dataclasses.replace(source, **{**quick, **changes})

    return opening


def test_the_bytes_are_handed_on_verbatim(opened):
    with Server(csv()) as server:
        assert opened(server).fetch("IBM") == av.PLAIN


def test_the_whole_history_is_asked_for_at_first_and_the_last_rows_after(opened):
    with Server(csv()) as server:
        source = opened(server)
        source.fetch("BRK.B")
        source.fetch("BRK.B", compact=True)
        asked = [{k: v for k, v in request.items() if k != "at"} for request in server.requests]
    common = {"path": "/query", "function": "TIME_SERIES_DAILY", "symbol": "BRK.B", "datatype": "csv", "apikey": CANARY}
    assert asked == [{**common, "outputsize": "full"}, {**common, "outputsize": "compact"}]


def test_a_plan_without_full_histories_never_asks_for_one(opened, monkeypatch):
    monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_OUTPUTSIZE", "compact")
    with Server(csv()) as server:
        opened(server).fetch("IBM")
        assert server.requests[0]["outputsize"] == "compact"


def test_the_adjusted_answer_tells_its_splits_and_dividends(opened):
    with Server(csv(ADJUSTED)) as server:
        source = opened(server, "alphavantage:adjusted")
        body = source.fetch("AAPL")
        assert server.requests[0]["function"] == "TIME_SERIES_DAILY_ADJUSTED"
    expected = corporate_actions.parse(
        b"symbol,ex_date,kind,value\nAAPL,2020-08-07,dividend,0.82\nAAPL,2020-08-31,split,4\n", file="expected"
    )
    pd.testing.assert_frame_equal(corporate_actions.read_events(body, "AAPL").actions, expected)
    assert corporate_actions.read_events(av.PLAIN, "IBM").actions.empty
    assert source.name == "alphavantage-adjusted"


def test_an_adjusted_answer_without_its_columns_is_refused(opened):
    with Server(csv()) as server, pytest.raises(SourceError, match="lacks split_coefficient, dividend_amount"):
        opened(server, "alphavantage:adjusted").fetch("AAPL")


def test_gzip_is_unpacked(opened):
    with Server(av.gzipped()) as server:
        assert opened(server).fetch("IBM") == av.PLAIN


def in_base64(key: str) -> str:
    return base64.urlsafe_b64encode(f"id:{key}".encode()).decode()


def in_url(key: str) -> str:
    return "".join(f"%{ord(sign):02x}" for sign in key)


BAD_DAYS = {
    "a throttle note": (json_of("Note", "Our standard API call frequency is 5 calls per minute and 500 calls per day."),
                        "5 calls per minute", 1),
    "a throttle information": (json_of("Information", av.BURST), "1 request per second", 1),
    "the day's limit": (json_of("Information", av.DAILY), "are used up; the next day starts", 1),
    "a premium endpoint": (json_of("Information", av.PREMIUM), "alphavantage in place of alphavantage:adjusted", 1),
    "an unknown symbol": (json_of("Error Message", "Invalid API call. Please retry, {key}."), "does not know the", 1),
    "a wrong key": (json_of("Error Message", "the parameter apikey {key} is invalid or missing."), "API key|apikey", 1),
    "an empty JSON": (csv(b"{}", kind="application/json"), "symbol is not known", 1),
    "a broken JSON": (csv(b'{"Note": "key ' + CANARY[:12].encode()), "cannot be read", 1),
    "deep JSON": (csv(b"[" * 100_000), "got JSON", 1),
    "an HTML page": (av.html, "HTML or XML page", 1),
    "a wrong content type": (csv(kind="image/png"), "content type 'image/png'", 1),
    "an empty body": (csv(b""), "the answer is empty", 1),
    "blank lines": (csv(b"\r\n\r\n"), "the answer is empty", 1),
    "a header alone": (csv(av.lines()[0]), "no rows", 1),
    "another CSV": (csv(b"symbol,name\nIBM,Business\n"), "lacks the column 'date'; its columns are symbol, name", 1),
    "the key in the header": (av.key_in_the_header, r"its columns are timestamp, \*\*\*\. Expected", 1),
    "the key in the rows": (av.key_in_the_csv, "repeats the key", 1),
    "the key in the rows in base64": (av.key_in_the_csv_as(in_base64), "repeats the key", 1),
    "the key in the rows as in a URL": (av.key_in_the_csv_as(in_url), "repeats the key", 1),
    "a byte that is no text": (csv(av.PLAIN[:-9] + b"\xe9\n"), "not UTF-8 text", 1),
    "a NUL in a later line": (csv(av.PLAIN[:-9] + b"\x00\n"), "NUL bytes", 1),
    "a CSV cut off mid-line": (csv(av.PLAIN[:-7]), "cut off", 1),
    "a declared length not reached": (av.cut_off_below_its_declared_length, "without sending complete message", 3),
    "more bytes than declared": (csv(Content_Length=str(len(av.PLAIN) - 9)), "cut off", 1),
    "a chunk that never comes": (av.cut_off_in_a_chunk, "peer closed connection|incomplete chunked", 3),
    "gzip cut off": (av.gzipped(keep=1500), "gzip stream that is cut off", 1),
    "gzip that is none": (csv(Content_Encoding="gzip"), "cannot be unpacked", 1),
    "an unknown encoding": (csv(Content_Encoding="br"), "unknown content encoding", 1),
    "a gzip bomb": (av.gzipped(bytes(3 * 2**20)), "more than 1 MiB", 1),
    "a huge body": (csv(av.PLAIN * 99), "more than 1 MiB", 1),
    "a redirect elsewhere": (av.redirect("https://{key}.example/"), r"points to \*\*\*.example", 1),
    "a redirect to itself": (av.redirect("/query"), "points to 127.0.0.1", 1),
    "forbidden": (status(403), r"HTTP 403 \(Forbidden\)", 1),
    "too many requests": (status(429), r"HTTP 429 .*Tried 3 times", 3),
    "a long Retry-After": (status(503, Retry_After="3600"), "come back in 3600 s", 1),
    "a server error": (status(500), "HTTP 500 .*Tried 3 times", 3),
    "an unheard-of status": (status(599), "HTTP 599 .unknown status", 3),
    "a slow answer": (av.slow(0.5), "did not answer in time .ReadTimeout", 3),
    "an endless trickle": (av.trickle, r"took more than 1\.5 s", 1),
    "a header by the byte": (av.header_by_the_byte, r"took more than 1\.5 s", 1),
    "a broken connection": (av.hang_up, "connection to 127.0.0.1 failed", 3),
}  # fmt: skip


@pytest.mark.parametrize("day", BAD_DAYS)
def test_a_bad_day_is_an_error_with_its_reason_and_the_key_is_nowhere(day, opened, tmp_path):
    answer, says, requests = BAD_DAYS[day]
    with Server(answer) as server, everything_logged() as log:
        source = opened(server, limits=Limits(size=2**20, read=0.2, total=1.5))
        with pytest.raises(SourceError, match=says) as caught:
            source.fetch("IBM")
        assert str(caught.value).startswith(("IBM (Alpha Vantage TIME_SERIES_DAILY): ", "alphavantage: all 25"))
        assert len(server.requests) == requests
        assert {request["apikey"] for request in server.requests} == {CANARY}
    seen = [log.getvalue(), repr(caught.value.args), repr(source), str(vars(source)), *chain(caught.value)]
    seen += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert "httpcore" in log.getvalue(), "the log does hold what the HTTP library says"
    assert not [text for text in seen if CANARY[:12].lower() in text.lower()]


class everything_logged:
    """All log records of all libraries, down to DEBUG, as a text."""

    def __enter__(self) -> io.StringIO:
        self.text, self.root = io.StringIO(), logging.getLogger()
        self.handler, self.level = logging.StreamHandler(self.text), self.root.level
        self.handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
        self.root.addHandler(self.handler)
        self.root.setLevel(logging.DEBUG)
        return self.text

    def __exit__(self, *_: object) -> None:
        self.root.removeHandler(self.handler)
        self.root.setLevel(self.level)


def chain(error: BaseException | None) -> list[str]:
    """Everything that an error and those behind it can show, with the local variables of each frame."""
    shown: list[str] = []
    while error is not None:
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames = [frame for frame in trace.stack if "/tests/" not in frame.filename]
        shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
        shown += [f"{frame.name} {frame.locals}" for frame in frames]
        error = error.__cause__ or error.__context__
    return shown


def test_the_search_for_the_key_would_find_it(opened):
    """The canary test can fail: without the filter and the transport, a plain client does log the key."""
    import httpx

    with Server(csv()) as server, everything_logged() as log:
        httpx.get(server.url, params={"apikey": "AnotherKey123"}, trust_env=False)
    assert "AnotherKey123" in log.getvalue()


def test_a_good_day_logs_no_key_either(opened):
    with Server(csv()) as server, everything_logged() as log:
        opened(server).fetch("IBM")
    assert "HTTP Request: GET" in log.getvalue()
    assert CANARY not in log.getvalue()


def test_an_unreachable_server_is_an_error_without_the_key(opened):
    with Server(csv()) as server:
        source = opened(server)
    with pytest.raises(SourceError, match=r"connection to 127\.0\.0\.1 failed") as caught:
        source.fetch("IBM")
    assert not [text for text in chain(caught.value) if CANARY in text]


def test_the_limit_on_a_request_is_for_all_its_attempts(opened):
    with Server(av.slow(30), av.slow(30), csv()) as server:
        source = opened(server, limits=Limits(read=0.2, total=0.3))
        with pytest.raises(SourceError, match=r"took more than 0\.3 s"):
            source.fetch("IBM")
        assert len(server.requests) == 2


def test_a_trouble_that_passes_costs_a_second_request(opened):
    with Server(status(503), csv()) as server:
        source = opened(server)
        assert source.fetch("IBM") == av.PLAIN
    assert source.budget.left() == 23


def test_a_retry_after_is_obeyed(opened):
    for wait in (lambda: "1", lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=3))):
        with Server(lambda handler, wait=wait: status(429, Retry_After=wait())(handler), csv()) as server:
            opened(server, patience=Patience(first=0.01, longest=4, jitter=0)).fetch("IBM")
            first, second = (request["at"] for request in server.requests)
        assert second - first > 0.9


def test_retries_stop_where_the_budget_does(opened, monkeypatch):
    monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_PER_DAY", "2")
    with Server(status(503)) as server:
        with pytest.raises(BudgetSpent, match="all 2 requests"):
            opened(server).fetch("IBM")
        assert len(server.requests) == 2


def test_a_day_that_the_provider_calls_spent_sends_no_further_request(opened):
    with Server(json_of("Information", av.DAILY)) as server:
        source = opened(server)
        for _ in range(3):
            with pytest.raises(BudgetSpent, match=r"New_York.*next day starts at .* UTC"):
                source.fetch("IBM")
        assert len(server.requests) == 1
        assert source.plan(["IBM"], {}) == ([], ["IBM"])
        assert source.resets_at() > source.now()


def test_a_throttle_for_speed_leaves_the_day_as_it_is(opened):
    with Server(json_of("Information", av.BURST)) as server:
        source = opened(server)
        with pytest.raises(SourceError, match="PER_SECOND"):
            source.fetch("IBM")
    assert source.budget.left() == 24


def test_a_bad_symbol_never_leaves_the_machine(opened):
    with Server(csv()) as server:
        with pytest.raises(SymbolError):
            opened(server).fetch("A'; DROP TABLE prices; --")
        assert server.requests == []


def window(body: bytes, source: alphavantage.AlphaVantage) -> clean.Cleaned:
    answer = clean.Answer("IBM", body, source.file("IBM"), pd.Timestamp("2026-11-21", tz="UTC"))
    ends = {"start": pd.Timestamp("1990-01-01"), "as_of": pd.Timestamp("2026-11-20")}
    return clean.clean({answer.symbol: [answer]}, corporate_actions.read_events(body, "IBM").actions, **ends)


def test_stale_shuffled_and_repeated_rows_pass_as_they_are_and_give_no_wrong_bar(opened):
    header, *rows = av.lines()
    odd = {
        "stale": header + b"".join(sorted(rows)[:50]),
        "out of order": header + b"".join(rows[::2] + rows[1::2]),
        "repeated": header + b"".join(rows + rows[:5]),
    }
    for fault, body in odd.items():
        with Server(csv(body)) as server:
            source = opened(server)
            got = window(source.fetch("IBM"), source)
        good = window(av.PLAIN, source).prices
        expected = good[good["date"].isin(got.prices["date"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(got.prices, expected)
        assert len(got.prices) == (50 if fault == "stale" else 300)
        assert set(got.rejects["rule"]) == ({"repeated_row"} if fault == "repeated" else set())


def test_no_bad_day_leaves_a_byte_in_the_raw_zone(opened, lake, monkeypatch):
    names = {f"S{n}": day for n, day in enumerate(BAD_DAYS) if day != "the day's limit"}
    monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_PER_DAY", "0")
    with Server(csv(), **{symbol: BAD_DAYS[day][0] for symbol, day in names.items()}) as server:
        source = opened(server, limits=Limits(size=2**20, read=0.2, total=1.5), patience=Patience(attempts=1))
        monkeypatch.setattr(ingest, "open_source", lambda *_, **__: source)
        got = ingest.fetch(lake, "alphavantage", [*names, "IBM"])
    assert set(got.failures) == set(names)
    assert [path.parent.name for path in (lake.folder / "raw").rglob("*.csv")] == ["symbol=IBM"]


def test_many_symbols_are_asked_for_a_few_at_a_time_with_progress(opened):
    def rest(handler):
        server.wait_for(most=4)
        time.sleep(0.02)  # in which a fifth would come, were there no limit
        handler.reply(av.PLAIN)

    symbols, seen, kept = [f"S{n}" for n in range(8)], [], {}

    def keep(symbol, body):
        if symbol == "S5":
            raise SourceError("not to be kept")
        kept[symbol] = body

    with Server(rest, S3=av.html) as server:
        source = opened(server, limits=Limits(read=60, total=90))
        failed = fetch_many(
            source, symbols, keep, compact={"S1": True}, on_done=lambda *progress: seen.append(progress)
        )
        sizes = {request["symbol"]: request["outputsize"] for request in server.requests}
    assert list(failed) == ["S3", "S5"]
    assert kept == dict.fromkeys([f"S{n}" for n in (0, 1, 2, 4, 6, 7)], av.PLAIN)
    assert sizes == {symbol: "compact" if symbol == "S1" else "full" for symbol in symbols}
    assert [(done, total) for _, done, total in seen] == [(n, 8) for n in range(1, 9)]
    assert server.most == 4, "neither all at once nor one by one"


def test_an_error_that_is_none_of_the_sources_stops_everything(tmp_path):
    class Broken(PriceFolder):
        def fetch(self, symbol, *, compact=False):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fetch_many(Broken("broken", tmp_path), ["A", "B"], lambda *_: None)


def test_a_lake_that_cannot_keep_an_answer_ends_the_asking(tmp_path):
    asked = []

    class Many(PriceFolder):
        def fetch(self, symbol, *, compact=False):
            asked.append(symbol)
            time.sleep(0.01)
            return b"x"

    def full(symbol, body):
        raise LakeError("no space left")

    with pytest.raises(LakeError, match="no space"):
        fetch_many(Many("many", tmp_path), [f"S{n}" for n in range(200)], full)
    assert len(asked) < 50


def test_the_source_cannot_be_copied_out_of_its_secret(opened):
    with Server(csv()) as server:
        source = opened(server)
    assert CANARY not in f"{source} {source!r} {vars(source)}"
    assert copy.copy(source).secret is source.secret


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("STOCKKIT_ALPHAVANTAGE_URL", "http://example.com/query", "must be https"),
        ("STOCKKIT_ALPHAVANTAGE_URL", f"https://x:{CANARY}@example.com", "without a user"),
        ("STOCKKIT_ALPHAVANTAGE_URL", f"https://example.com/?apikey={CANARY}", "without a user or a query"),
        ("STOCKKIT_ALPHAVANTAGE_URL", "ftp://example.com", "must be https"),
        ("STOCKKIT_ALPHAVANTAGE_URL", "https://", "must be https"),
        ("STOCKKIT_ALPHAVANTAGE_URL", "https://host:port", "no address"),
        ("STOCKKIT_ALPHAVANTAGE_PER_DAY", "2.5", "whole number"),
        ("STOCKKIT_ALPHAVANTAGE_PER_DAY", "many", "whole number"),
        ("STOCKKIT_ALPHAVANTAGE_PER_SECOND", "-1", "expected a number"),
        ("STOCKKIT_ALPHAVANTAGE_PER_SECOND", "nan", "expected a number"),
        ("STOCKKIT_ALPHAVANTAGE_OUTPUTSIZE", "all", "full or compact"),
        ("STOCKKIT_SECRET_ALPHAVANTAGE", "", "set the environment variable STOCKKIT_SECRET_ALPHAVANTAGE"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_sent(variable, value, says, monkeypatch, tmp_path):
    monkeypatch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", CANARY)
    monkeypatch.setenv(variable, value)
    with pytest.raises(ParamError, match=says) as caught:
        sources.open_source("alphavantage", root=tmp_path)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_public_address_is_the_default(monkeypatch, tmp_path):
    monkeypatch.delenv("STOCKKIT_ALPHAVANTAGE_URL", raising=False)
    monkeypatch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", CANARY)
    source = sources.open_source("alphavantage", root=tmp_path)
    assert str(source.url) == "https://www.alphavantage.co/query"
    assert (source.budget.per_day, source.budget.per_second) == (25, 1)
    assert source.budget.path == Path(tmp_path / "data" / "lake" / "budget.sqlite")
