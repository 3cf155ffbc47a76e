"""The modelling notebooks on little history: whatever there is, they go through and say what is missing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from stockkit import features
from stockkit.lake import feature_table
from stockkit.lake.tables import Lake, open_lake
from stockkit.market import simulate
from tests import cells
from tests.conftest import make_workbook

TRIED = ["random_walk", "drift", "ewma", "lasso"]


def own_data(folder: Path, counts: dict[str, int], calendar: str = "XNYS", seed: int = 0) -> Path:
    """A workbook beside a folder of simulated files, so many sessions a symbol."""
    workbook = make_workbook(folder)
    (workbook / "csv").mkdir()
    rng = np.random.default_rng(seed)
    for symbol, count in counts.items():
        bars = simulate.bars([symbol], count=count, rng=rng, calendar=calendar)
        (workbook / "csv" / f"{symbol}.csv").write_bytes(simulate.csv_bytes(bars))
    return workbook


def described(workbook: Path, symbols: list[str], **parameters: object) -> Lake:
    """The workbook's lake as 01 and 03 leave it, without the audit of 03, which no data change."""
    given = {"source": f"folder:{workbook / 'csv'}", "symbols": symbols} | parameters
    cells.run(workbook, "01_ingest", **given)
    lake = open_lake("data/lake", root=workbook)
    feature_table.update(lake, features.names("basic"))
    return lake


def modelled(workbook: Path, symbols: list[str], **parameters: object) -> dict[str, cells.Page]:
    """Notebooks 04, 05 and 00 on a lake that `described` left."""
    given = {"source": f"folder:{workbook / 'csv'}", "symbols": symbols, "tried": TRIED, "refit": 504} | parameters
    return cells.chain(workbook, ["04_model", "05_visualise", "00_overview"], **given)


@pytest.mark.parametrize(("count", "symbols"), [(1, 1), (20, 3), *itertools.product([100, 300, 600, 800], [1, 3, 6])])
def test_any_history_goes_through(tmp_path, count, symbols):
    names = [f"S{k}" for k in range(symbols)]
    workbook = own_data(tmp_path, dict.fromkeys(names, count))
    lake = described(workbook, names)
    pages = modelled(workbook, names)
    forecasts = lake.read("forecasts")
    assert set(forecasts["symbol"]) == (set(names) if count >= 100 else set())
    assert ("Left out: " in pages["04_model"].text) == (count < 600)


def test_a_late_start_goes_through(tmp_path):
    workbook = own_data(tmp_path, {"S0": 900, "S1": 900})
    described(workbook, ["S0", "S1"], start="2021-06-01")
    assert "S0" in modelled(workbook, ["S0", "S1"], start="2021-06-01")["04_model"].text


def test_all_notebooks_go_through_on_the_hundred_rows_of_a_free_key(tmp_path):
    workbook = own_data(tmp_path, {"IBM": 100})
    pages = cells.chain(workbook, source=f"folder:{workbook / 'csv'}", symbols=["IBM"], tried=TRIED)
    assert len(pages) == 6
    assert pages["04_model"].headlines["forecast"]["rows"][0]["symbol"] == "IBM"


def test_a_new_listing_has_the_intervals_of_the_others_and_the_page_says_so(tmp_path):
    workbook = own_data(tmp_path, {"OLD": 700, "ELDER": 700, "NEW": 120})
    lake = described(workbook, ["ELDER", "NEW", "OLD"])
    pages = modelled(workbook, ["ELDER", "NEW", "OLD"])
    rows = lake.read("forecasts").query("model == 'random_walk' and horizon == 1").set_index("symbol")
    assert rows[["lo90", "hi90"]].notna().all(axis=None)
    warning = "NEW has too little past of its own: its intervals are as wide as the errors of the other symbols ask for"
    assert warning in pages["04_model"].text
    assert warning in pages["04_model"].headlines["verdict"]["detail"]
