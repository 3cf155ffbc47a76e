"""Frames of yfinance's shape become bars as traded; Yahoo itself is not reached from here."""

from __future__ import annotations

import importlib
import inspect
import sys

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ParamError, SourceError
from stockkit.intake import sources
from stockkit.intake.sources import yahoo
from stockkit.market import clean, corporate_actions
from stockkit.market.answers.layouts import PRICE_COLUMNS
from tests.conftest import ROOT, SYMBOLS, lacking


def as_yahoo_gives(prices: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """One symbol's trusted bars in the shape of yfinance's `history`: split-adjusted, 32-bit, in exchange time."""
    days = prices["date"]
    index = pd.DatetimeIndex(days).tz_localize("America/New_York").rename("Date")
    splits = known[known["kind"] == "split"].set_index("ex_date")["value"]
    noisy = {name.title(): prices[name].astype("float32").astype("float64").to_numpy() for name in PRICE_COLUMNS}
    return pd.DataFrame(
        {
            **noisy,
            "Adj Close": noisy["Close"] * 0.9,
            "Volume": prices["volume"].to_numpy(),
            "Dividends": prices["dividend"].to_numpy(),
            "Stock Splits": splits.reindex(days).fillna(0.0).to_numpy(),
        },
        index=index,
    )


@pytest.fixture(scope="module")
def known():
    return corporate_actions.parse((ROOT / "data" / "sample" / "actions.csv").read_bytes(), file="actions.csv")


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_bars_as_traded_and_their_events_come_back(symbol, prices, known):
    bars = prices[prices["symbol"] == symbol].reset_index(drop=True)
    listed = known[(known["symbol"] == symbol) & known["ex_date"].isin(bars["date"])].reset_index(drop=True)
    body = yahoo.as_traded(as_yahoo_gives(bars, listed), symbol)
    answer = clean.Answer(symbol, body, "yahoo", bars["known_at"].iloc[0])
    events = corporate_actions.read_events(body, symbol).actions
    trusted, conflicts = corporate_actions.agree(listed, events)
    assert len(trusted) == len(listed)
    assert conflicts.empty
    again = clean.clean({answer.symbol: [answer]}, events, start=bars["date"].min(), as_of=bars["date"].max()).prices
    assert list(again["date"]) == list(bars["date"])
    for column in ("close", "close_raw", "open"):
        assert np.allclose(again[column], bars[column], rtol=1e-6)
    assert (again["volume"] - bars["volume"]).abs().max() <= bars["split_factor"].max()


def frame(**columns) -> pd.DataFrame:
    base = {
        "Open": [10.0, 10.0, 11.0], "High": [11.0, 11.0, 12.0], "Low": [9.0, 9.0, 10.0], "Close": [10.0, 10.5, 11.5],
        "Volume": [400, 400, 300], "Dividends": [0.25, 0.0, 0.5], "Stock Splits": [0.0, 4.0, 0.0],
    }  # fmt: skip
    index = pd.DatetimeIndex(["2020-08-28", "2020-08-31", "2020-09-01"], tz="America/New_York", name="Date")
    return pd.DataFrame({**base, **columns}, index=index)


def test_what_lies_before_a_split_is_scaled_back_and_the_day_itself_is_not():
    assert yahoo.as_traded(frame(), "AAPL").decode().splitlines() == [
        "timestamp,open,high,low,close,volume,dividend_amount,split_coefficient",
        "2020-08-28,40,44,36,40,100,1,1",
        "2020-08-31,10,11,9,10.5,400,0,4",
        "2020-09-01,11,12,10,11.5,300,0.5,1",
    ]


def test_the_last_rows_alone_are_scaled_by_the_splits_among_them():
    assert yahoo.as_traded(frame(), "AAPL", last=2).decode().splitlines()[1].startswith("2020-08-31,10,")


def test_the_noise_of_32_bits_is_cut_and_nothing_more():
    noisy = yahoo.as_traded(frame(Close=[39.360001, 39.119999, 0.00012345]), "GME").decode()
    assert [line.split(",")[4] for line in noisy.splitlines()[1:]] == ["157.44", "39.12", "0.00012345"]


def test_a_missing_value_stays_missing_and_is_rejected():
    body = yahoo.as_traded(frame(Close=[10.0, np.nan, 11.5], Volume=[4.0, np.nan, 3.0]), "AAPL")
    answer = clean.Answer("AAPL", body, "yahoo", pd.Timestamp("2020-09-03", tz="UTC"))
    window = {"start": pd.Timestamp("2020-01-01"), "as_of": pd.Timestamp("2020-09-02")}
    got = clean.clean({answer.symbol: [answer]}, corporate_actions.read_events(body, "AAPL").actions, **window)
    assert list(got.rejects["rule"]) == ["missing_value"]


def test_rows_out_of_order_come_out_ascending():
    assert yahoo.as_traded(frame()[::-1], "AAPL") == yahoo.as_traded(frame(), "AAPL")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (frame()[:0], "no rows"),
        (frame().drop(columns="Stock Splits"), "lacks Stock Splits"),
        (frame(**{"Repaired?": [False, True, False]}), "has repaired prices"),
    ],
)
def test_a_frame_that_cannot_be_trusted_is_refused(given, says):
    with pytest.raises(SourceError, match=says):
        yahoo.as_traded(given, "GME")


def test_without_the_extra_the_way_to_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(ParamError, match=r"pip install 'stockkit\[yfinance\]'"):
        sources.open_source("yfinance", root=ROOT)


class FakeYfinance:
    """The library's door alone: what was asked, and a frame or an error for an answer."""

    def __init__(self, answer: pd.DataFrame | Exception) -> None:
        self.answer, self.asked = answer, {}

    def Ticker(self, symbol: str) -> FakeYfinance:
        self.asked["symbol"] = symbol
        return self

    def history(self, **asked) -> pd.DataFrame:
        self.asked |= asked
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_yahoo_is_asked_for_unrepaired_bars_with_their_actions(monkeypatch):
    library = FakeYfinance(frame())
    monkeypatch.setitem(sys.modules, "yfinance", library)
    source = sources.open_source("yfinance", root=ROOT)
    assert source.fetch("BRK-B", compact=True) == yahoo.as_traded(frame(), "BRK-B")
    asked = {name: library.asked[name] for name in ("symbol", "auto_adjust", "actions", "repair", "period")}
    assert asked == {"symbol": "BRK-B", "auto_adjust": False, "actions": True, "repair": False, "period": "6mo"}


def test_whatever_yfinance_raises_becomes_one_kind_of_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", FakeYfinance(RuntimeError("no price data found")))
    with pytest.raises(SourceError, match=r"AAPL .Yahoo Finance.: RuntimeError: no price data found"):
        sources.open_source("yfinance", root=ROOT).fetch("AAPL")


def test_the_installed_library_takes_these_arguments(monkeypatch):
    try:
        history = importlib.import_module("yfinance.scrapers.history")
    except ImportError:
        lacking("yfinance", "the extra yfinance is missing")
    names = set(inspect.signature(history.PriceHistory.history).parameters)
    library = FakeYfinance(frame())
    monkeypatch.setitem(sys.modules, "yfinance", library)
    yahoo.Yahoo().fetch("AAPL")
    assert set(library.asked) - {"symbol"} <= names
