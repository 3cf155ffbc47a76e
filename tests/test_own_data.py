"""A user's own folder of exports: other layouts, dates and symbols, short histories, one symbol that is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest

from stockkit.files import Folder
from stockkit.lake.tables import Lake
from stockkit.market import simulate
from tests import cells
from tests.conftest import choose, make_workbook, manifest_of, stockkit_process
from tests.test_chain import snapshot


def nasdaq(folder, bars):
    bars["date"] = bars["date"].dt.strftime("%m/%d/%Y")
    prices = {name: "$" + bars[name].map(repr) for name in ("open", "high", "low", "close")}
    table = bars.assign(**prices)[["date", "close", "volume", "open", "high", "low"]]
    table.to_csv(folder / "ibm.csv", index=False, header=["Date", "Close/Last", "Volume", "Open", "High", "Low"])


def without_volume(folder, bars):
    text = bars.drop(columns=["symbol", "volume"]).to_csv(index=False, sep=";", decimal=",", lineterminator="\r")
    (folder / "MSFT.csv").write_bytes(text.encode("utf-16"))


def plain(folder, bars):
    (folder / "BRK.B.csv").write_bytes(simulate.csv_bytes(bars))


WRITE = {"IBM": nasdaq, "MSFT": without_volume, "BRK.B": plain}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    rng = np.random.default_rng(5)
    for symbol, count in {"IBM": 900, "MSFT": 300, "BRK.B": 40}.items():
        bars = simulate.bars([symbol], count=count, last="2019-06-28", rng=rng)
        WRITE[symbol](folder, bars)
    return folder


def run(workbook, folder, *words):
    """The chain with a few models; tests/test_chain.py runs all of them."""
    given = ["symbols=[IBM, MSFT, BRK.B, XYZ]", f"source=folder:{folder}", "horizon=5", "horizons=[5]",
             "tried=[random_walk, drift, lasso, ewma]"]  # fmt: skip
    return stockkit_process(workbook, "run", "params/sample.yaml", *(word for value in given for word in ("-p", value)),
                            *words)  # fmt: skip


@pytest.fixture(scope="module")
def chain(folder, tmp_path_factory):
    workbook = make_workbook(tmp_path_factory.mktemp("workbook"))
    done = run(workbook, folder)
    return {**manifest_of(workbook), "workbook": workbook, "done": done}


def test_every_notebook_runs_and_the_exit_code_tells_of_the_absent_symbol(chain):
    assert [step["error"] for step in chain["steps"]] == [None] * 6
    assert chain["done"].returncode == 3
    assert chain["status"] == "failed"
    assert "XYZ is not in the source" in chain["reason"]
    assert "XYZ is not in the source" in chain["done"].stderr


def test_the_report_says_so(chain):
    page = (chain["folder"] / "index.html").read_text()
    assert "XYZ is not in the source" in page


def test_the_page_says_how_each_file_was_read(chain):
    page = (chain["folder"] / "01_ingest.html").read_text()
    assert all(word in page for word in ("Nasdaq", "month first (MDY)", "decimal comma", "300 rows without a volume"))
    lake = Lake(Folder(chain["workbook"] / "data" / "lake"), chain["workbook"])
    assert lake.read("prices", symbols=["MSFT"])["volume"].isna().all()
    assert lake.read("features", symbols=["MSFT"])["volume_z_20"].isna().all()
    assert lake.read("features", symbols=["MSFT"])["rsi_14"].notna().any()


def test_the_others_go_on(chain):
    lake = Lake(Folder(chain["workbook"] / "data" / "lake"), chain["workbook"])
    assert lake.read("prices").groupby("symbol").size().to_dict() == {"BRK.B": 40, "IBM": 900, "MSFT": 300}
    rows = {row["symbol"]: row for row in chain["headlines"]["forecast"]["rows"]}
    assert rows["IBM"]["target_session"] == "2019-07-08", "five sessions on, the Fourth of July left out"
    assert rows["IBM"]["lo90"] < 0 < rows["IBM"]["hi90"]
    assert rows["MSFT"]["model"] == "random_walk"
    assert rows["MSFT"]["lo90"] < 0 < rows["MSFT"]["hi90"], "a year and a little: the interval that the others ask for"


def test_a_symbol_with_too_little_history_is_said_to_be_left_out(chain):
    assert "BRK.B" in chain["headlines"]["verdict"]["detail"]


def test_a_second_run_on_the_same_lake_changes_no_table_and_repeats_the_notebooks(chain, folder, tmp_path):
    workbook = shutil.copytree(chain["workbook"], tmp_path / "copy", symlinks=True)
    shutil.rmtree(workbook / "reports")
    before = snapshot(workbook)[1]
    choose(workbook, "01_ingest", "04_model")
    assert run(workbook, folder, "--force", "all").returncode == 3
    notebooks, after = snapshot(workbook)
    assert len(before) == 10, (
        "prices, features, forecasts and scores of three symbols, one of them too young for the last"
    )
    assert after == before
    assert notebooks == {name: (chain["folder"] / name).read_bytes() for name in ("01_ingest.ipynb", "04_model.ipynb")}


def nbval(folder, *notebooks):
    """Run executed notebooks once more and compare every output; figures by presence."""
    command = [sys.executable, "-m", "pytest", "-p", "nbval.plugin", "--nbval", "--nbval-current-env", "-q",
               "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder), *map(str, notebooks)]  # fmt: skip
    headless = {**os.environ, "STOCKKIT_RUN": "nbval", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=headless)


def planted(page, folder):
    """A copy of an executed notebook up to the first count of rows in words, in which that is another one."""
    notebook = nbformat.read(page, as_version=4)
    place = next(number for number, cell in enumerate(notebook.cells) if "300 rows" in str(cell.get("outputs", "")))
    notebook.cells = notebook.cells[: place + 1]
    path = folder / "planted.ipynb"
    path.write_text(nbformat.writes(notebook).replace("300 rows", "301 rows"))
    return path


def test_nbval_finds_the_same_numbers_again_and_would_notice_a_changed_one(chain):
    pages = sorted(chain["folder"].glob("0[0134]*.ipynb"))
    cells_of = {page: [cell for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code"]
                for page in [*pages, planted(pages[1], chain["folder"])]}  # fmt: skip
    done = nbval(chain["folder"], *cells_of)
    assert done.returncode == 1, done.stdout[-3000:]
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert [line for line in failed if "planted.ipynb" not in line] == []
    assert f"1 failed, {sum(map(len, cells_of.values())) - 1} passed" in done.stdout


def test_a_month_of_one_symbol_runs_through_and_says_that_nothing_can_be_judged(tmp_path):
    workbook = make_workbook(tmp_path / "book")
    bars = simulate.bars(["IBM"], count=21, last="2019-06-28", rng=np.random.default_rng(5))
    (tmp_path / "IBM.csv").write_bytes(simulate.csv_bytes(bars))
    pages = cells.chain(workbook, symbols=["IBM"], source=f"folder:{tmp_path}", horizons=[1, 5], refit=504)
    assert pages["04_model"].headlines["verdict"]["text"] == "Nothing could be judged"
