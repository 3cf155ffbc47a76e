"""A split that nobody listed, from the folder to the front page and back."""

from __future__ import annotations

import numpy as np
import pytest

from stockkit.market import corporate_actions, simulate
from tests.conftest import make_workbook, manifest_of, stockkit


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    workbook = make_workbook(tmp_path_factory.mktemp("book") / "workbook")
    for seed, symbol in enumerate(["IBM", "MSFT"]):
        bars = simulate.bars([symbol], count=120, last="2021-03-31", rng=np.random.default_rng(seed))
        if symbol == "IBM":
            before = bars.index < 60
            for name in ("open", "high", "low", "close"):
                bars[name] = bars[name].where(~before, bars[name] * 4)
        (folder / f"{symbol}.csv").write_bytes(simulate.csv_bytes(bars))
    return workbook, folder


def run(book, *words):
    workbook, folder = book
    symbols = "symbols=[IBM, MSFT]"
    source = f"source=folder:{folder}"
    return stockkit(workbook, "run", "params/sample.yaml", "-p", symbols, "-p", source, "--until", "01_ingest", *words)


def test_a_history_on_two_scales_is_incomplete_and_the_way_out_works(book):
    workbook, _ = book
    done = run(book)
    assert done.returncode == 3, done.stderr
    manifest = manifest_of(workbook)
    assert set(manifest["headlines"]["missing_symbols"]) == {"IBM"}
    assert len(manifest["headlines"]["gaps"]["IBM"]) == 60
    assert "Missing or incomplete: IBM" in (manifest["folder"] / "index.html").read_text()
    page = (manifest["folder"] / "01_ingest.html").read_text()
    assert "stockkit lake actions suggest" in page
    assert "4:1 leaves" in page
    suggested = stockkit(workbook, "lake", "actions", "suggest")
    assert "split 4:1" in suggested.stdout, suggested.stderr
    file = workbook / "actions.suggested.csv"
    assert corporate_actions.parse(file.read_bytes(), file="a")["value"].tolist() == [4.0]
    file.write_text(file.read_text() + "# mine\n")
    assert stockkit(workbook, "lake", "actions", "suggest").returncode == 2, "a file that was looked through stays"
    assert stockkit(workbook, "lake", "actions", "add", str(file)).returncode == 0
    assert "240 rows as known now" in stockkit(workbook, "lake", "rebuild").stdout
