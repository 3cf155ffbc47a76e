"""The chain on somebody else's symbols: no sentence speaks of the sample's, and one forecast is shown everywhere."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest

from stockkit.cli import serving
from stockkit.cloud.sagemaker import responses, rows
from stockkit.forecast.judge.intervals import BOUNDS
from stockkit.lake.tables import open_lake
from stockkit.market import simulate
from stockkit.records import registry
from tests import cells
from tests.conftest import SYMBOLS, make_workbook

OWN = ["0005.HK", "0700.HK", "9988.HK"]
OF_THE_SAMPLE = [
    "famous", "six symbols", "Januaries", "New York", "20(1[3-9]|2[0-3])", "a dozen", "seconds", "NASDAQ", "XNYS",
    "Which two", "which ends in", *SYMBOLS,
]  # fmt: skip


def workbook_of(folder, drift):
    workbook = make_workbook(folder)
    (workbook / "csv").mkdir()
    bars = simulate.bars(
        OWN, count=900, last="2009-06-30", drift=drift, volatility=0.01, rng=np.random.default_rng(2), calendar="XHKG"
    )
    for symbol, history in bars.groupby("symbol"):
        (workbook / "csv" / f"{symbol}.csv").write_bytes(simulate.csv_bytes(history))
    return workbook


@pytest.fixture(scope="module")
def winning(tmp_path_factory):
    """Symbols that rise by 0.5 % a day, so that a model that says so beats the random walk; all notebooks."""
    workbook = workbook_of(tmp_path_factory.mktemp("winning"), 0.005)
    given = {"source": f"folder:{workbook / 'csv'}", "symbols": OWN, "calendar": "XHKG"}
    pages = cells.chain(workbook, **given, tried=["random_walk", "drift", "lasso", "ewma"], refit=504)
    return {"lake": open_lake("data/lake", root=workbook), "pages": pages, "workbook": workbook, "given": given}


def test_no_sentence_speaks_of_the_sample(winning):
    mistaken = [
        f"{name}: {match[0][:200]}"
        for (name, page), words in itertools.product(winning["pages"].items(), OF_THE_SAMPLE)
        for match in re.finditer(rf".*\b{words}\b.*", page.text)
        if not match[0].startswith("**Caught:**")  # of the bars that the audit makes for itself
    ]
    assert mistaken == []


def test_a_planted_word_is_found():
    assert all(re.search(rf"\b{words}\b", text) for words, text in [("New York", "the New York exchange"),
                                                                   (OF_THE_SAMPLE[4], "it ends in 2023.")])  # fmt: skip


def test_the_model_that_won_is_shown_sealed_and_served_alike(winning):
    lake, pages = winning["lake"], winning["pages"]
    shown = pages["04_model"].headlines["forecast"]
    assert shown["model"] == "drift"
    assert [row["symbol"] for row in shown["rows"]] == OWN
    for name in ("00_overview", "05_visualise"):
        mine = pages[name].names["forecasts"].set_index("symbol")
        assert mine["model"].tolist() == ["drift"] * 3
        assert "those of `drift`" in pages[name].text
        for row in shown["rows"]:
            assert [mine.loc[row["symbol"], key] for key in ("mean", *BOUNDS)] == pytest.approx(
                [row[key] for key in ("mean", *BOUNDS)], abs=1e-6
            )
    trained = registry.load(lake, "h1")
    assert trained.model == "drift"
    prices = lake.read("prices", symbols=OWN)
    sent = [
        {"symbol": row["symbol"], "date": f"{row['date']:%Y-%m-%d}", "close": row["close"]}
        for row in prices.to_dict("records")
    ]
    body = json.dumps({"rows": sent}).encode()
    answered = responses.forecast(trained, rows.read(body, rows.JSON, rows.Contract.for_model(trained)))
    answer = {row[0]: dict(zip(responses.FIELDS, row, strict=True)) for row in answered}  # the last row of each symbol
    sealed = lake.read("forecasts").query("model == 'drift' and horizon == 1").set_index("symbol")
    for row in shown["rows"]:
        got = answer[row["symbol"]]
        assert got["as_of"] == row["as_of"] == f"{sealed.loc[row['symbol'], 'as_of']:%Y-%m-%d}"
        for key in ("mean", "sigma", *BOUNDS):
            assert got[key] == pytest.approx(sealed.loc[row["symbol"], key], rel=1e-9)


def test_a_candidate_by_name_is_shown_where_it_is_served(winning):
    page = cells.run(winning["workbook"], "04_model", **winning["given"], tried=["random_walk", "drift", "lasso"],
                     candidate="lasso", refit=504)  # fmt: skip
    champion = registry.load(winning["lake"], "h1").model
    assert page.headlines["forecast"]["model"] == champion
    after = cells.run(winning["workbook"], "05_visualise", **winning["given"])
    assert set(after.names["forecasts"]["model"]) == {champion}


def test_where_nothing_won_the_random_walk_is_shown_and_served(tmp_path):
    workbook = workbook_of(tmp_path, 0.0)
    given = {"source": f"folder:{workbook / 'csv'}", "symbols": OWN, "calendar": "XHKG"}
    pages = cells.chain(
        workbook,
        ["01_ingest", "03_features", "04_model", "00_overview"],
        **given,
        tried=["random_walk", "drift"],
        groups=["calendar"],
    )
    assert pages["04_model"].headlines["forecast"]["model"] == "random_walk"
    assert registry.load(open_lake("data/lake", root=workbook), "h1").model == "random_walk"
    assert set(pages["00_overview"].names["forecasts"]["model"]) == {"random_walk"}


def test_the_example_of_serve_is_a_row_of_the_lake_that_is_answered_as_sealed(winning):
    trained = registry.load(winning["lake"], "h1")
    body = serving._example(trained, str(winning["lake"].folder)).encode()
    (answered,) = responses.forecast(trained, rows.read(body, rows.JSON, rows.Contract.for_model(trained)))
    answer = dict(zip(responses.FIELDS, answered, strict=True))
    sealed = (
        winning["lake"]
        .read("forecasts")
        .query(f"model == '{answer['model']}' and horizon == 1 and symbol == '{OWN[0]}'")
    )
    assert answer["symbol"] == OWN[0]
    assert answer["mean"] == pytest.approx(sealed["mean"].iloc[-1])
    assert answer["price"] is not None


@pytest.mark.parametrize("name", ["00_overview", "02_query", "05_visualise"])
def test_a_symbol_without_prices_is_said_not_dropped(winning, name):
    page = cells.run(winning["workbook"], name, **winning["given"] | {"symbols": [*OWN, "9999.HK"]})
    assert "9999.HK" in page.text
    assert "the lake has no prices of it" in page.text
