from __future__ import annotations

import pandas as pd
import pytest

from stockkit.errors import ParamError
from stockkit.intake import sources
from stockkit.intake.sources.source import Opening, Source
from tests.conftest import ROOT


class Minimal(Source):
    """A source that says only what every source has to say."""

    name, concurrency = "minimal", 1

    def file(self, symbol):
        return symbol

    def fetch(self, symbol, *, compact=False):
        return b"date,open,high,low,close,volume\n2023-09-20,1,1,1,1,1\n"


def test_a_new_source_is_a_class_and_an_entry(monkeypatch):
    opened = []

    def open_minimal(opening: Opening) -> Source:
        opened.append(opening.argument)
        return Minimal()

    registry = {**sources.SOURCES, "minimal:PATH": sources.Entry(open_minimal, complete=True)}
    monkeypatch.setattr(sources, "SOURCES", registry)
    source = sources.open_source("minimal:a:b", root=ROOT)
    assert opened == ["a:b"]
    assert source.plan(["B", "A"], {}) == (["B", "A"], [])
    assert (source.actions(), source.resets_at()) == (None, None)
    assert pd.Timestamp.now("UTC") - source.now() < pd.Timedelta(minutes=5)
    assert sources.is_complete("minimal")


@pytest.mark.parametrize(
    ("filed_as", "complete"),
    [("sample", True), ("folder-1a2b3c4d", True), ("alphavantage", False), ("alphavantage-adjusted", False),
     ("yfinance", False), ("gone", False)],
)  # fmt: skip
def test_the_registry_knows_whose_answers_are_whole_histories(filed_as, complete):
    assert sources.is_complete(filed_as) == complete


def test_an_entry_says_what_the_source_needs():
    needs = {name: (entry.extra, entry.key) for name, entry in sources.SOURCES.items() if entry.extra or entry.key}
    assert needs == {
        "alphavantage": ("", "STOCKKIT_SECRET_ALPHAVANTAGE"),
        "alphavantage:adjusted": ("", "STOCKKIT_SECRET_ALPHAVANTAGE"),
        "yfinance": ("yfinance", ""),
    }


@pytest.mark.parametrize("name", ["folder:", "folder", "alphavantages", "sample:x", ""])
def test_a_name_that_is_in_no_entry_is_refused_with_those_that_are(name):
    with pytest.raises(ParamError, match=r"use one of sample, folder:PATH, alphavantage"):
        sources.open_source(name, root=ROOT)
