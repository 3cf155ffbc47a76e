"""The main job on the real sample, run as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil

import pandas as pd
import pytest

from stockkit.files import Folder
from stockkit.lake.tables import Lake, open_lake
from stockkit.records import ledger, registry
from stockkit.workbook.cache import observed, reuse
from stockkit.workbook.chain import plan
from tests.aws import environment
from tests.conftest import ROOT, SYMBOLS, make_workbook, manifest_of, stockkit, stockkit_process
from tests.workbook.test_manifest import check as check_manifest
from tests.workbook.test_report import loads

NOTEBOOKS = ["00_overview", "01_ingest", "02_query", "03_features", "04_model", "05_visualise"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """One run of the sample in a workbook of its own, with as many processes as a user's."""
    workbook = make_workbook(tmp_path_factory.mktemp("workbook"))
    (workbook / "data" / "sample").unlink()  # a folder of its own, as a clone has
    shutil.copytree(ROOT / "data" / "sample", workbook / "data" / "sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LOKY_MAX_CPU_COUNT")
        patch.delenv("STOCKKIT_WARM")
        done = stockkit_process(workbook, "run", "params/sample.yaml")
    assert done.returncode == 0, done.stderr
    return {**manifest_of(workbook), "workbook": workbook, "stdout": done.stdout, "stderr": done.stderr}


def test_the_run_is_green_and_ends_with_the_path_of_the_report(chain):
    last = chain["stdout"].splitlines()[-1]
    assert last == f"reports/{chain['run']}/index.html"
    assert (chain["workbook"] / last).is_file()
    assert (chain["status"], chain["reason"]) == ("succeeded", None)
    assert {step["name"] for step in chain["steps"]} == set(NOTEBOOKS)
    assert all(step["status"] == "succeeded" for step in chain["steps"])


def test_the_error_stream_holds_progress_and_nothing_else(chain):
    progress = re.compile(r"\[\d/6\] \S+ +succeeded +[\d.]+ s")
    assert [line for line in chain["stderr"].splitlines() if not progress.fullmatch(line)] == []


def test_prices_has_every_bar_of_the_sample(chain):
    lake = Lake(Folder(chain["workbook"] / "data" / "lake"), chain["workbook"])
    assert lake.count("prices") == 16_194 == 6 * 2_699
    assert lake.count("rejects") == lake.count("corrections") == 0
    assert lake.count("forecasts") == 6 * 13 * 2
    assert ledger.verify(lake).empty


def test_the_headlines_say_what_a_reader_wants_first(chain):
    headlines = chain["headlines"]
    assert headlines["as_of"] == "2023-09-21"
    assert [row["symbol"] for row in headlines["forecast"]["rows"]] == SYMBOLS
    assert {row["target_session"] for row in headlines["forecast"]["rows"]} == {"2023-09-22"}
    assert headlines["verdict"]["text"]
    for row in headlines["forecast"]["rows"]:
        assert row["lo95"] < row["lo90"] < row["lo80"] < row["mean"] < row["hi80"] < row["hi90"] < row["hi95"]


def test_intervals_hold_what_they_claim_for_every_symbol_and_horizon(chain):
    scores = Lake(Folder(chain["workbook"] / "data" / "lake"), chain["workbook"]).read("scores")
    walks = scores[scores["model"] == "random_walk"]
    assert len(walks) == 12
    assert walks["coverage90"].between(0.885, 0.915).all()


def test_the_verdict_makes_no_claim_on_the_sample(chain):
    assert chain["headlines"]["verdict"]["text"] == "Not distinguishable from the random walk"
    assert chain["headlines"]["drift"] == []


def test_the_head_of_the_ledger_is_in_the_manifest_and_verifies(chain):
    words = ["forecasts", "verify", "--head", chain["headlines"]["ledger_head"]]
    assert "156 forecasts are sealed" in stockkit(chain["workbook"], *words).stdout
    assert stockkit(chain["workbook"], "forecasts", "verify", "--head", "a" * 64).returncode == 1


def test_the_candidate_of_each_horizon_is_saved_and_champion(chain):
    listed = stockkit(chain["workbook"], "models", "list")
    assert (listed.returncode, listed.stdout.count("random_walk-h")) == (0, 2), listed
    lake = Lake(Folder(chain["workbook"] / "data" / "lake"), chain["workbook"])
    assert {registry.load(lake, f"h{horizon}").model for horizon in (1, 5)} == {"random_walk"}
    assert chain["headlines"]["forecast"]["model"] == "random_walk"


def test_each_step_names_the_table_versions_it_read_and_wrote(chain):
    steps = {step["name"]: step for step in chain["steps"]}
    assert steps["01_ingest"]["writes"] == {"prices": 0, "rejects": 0, "corrections": 0}
    assert steps["04_model"]["reads"] == {"prices": 0, "features": 0, "forecasts": 0}
    assert steps["04_model"]["writes"] == {"forecasts": 0, "scores": 0}


def test_every_page_is_there_and_every_figure_has_alt_text(chain):
    for name in NOTEBOOKS:
        page = (chain["folder"] / f"{name}.html").read_text()
        images = re.findall(r"<img[^>]*>", page)
        assert all(len(re.search(r'alt="([^"]*)"', image).group(1)) > 30 for image in images)
        assert len(images) >= (name not in ("02_query",)) * 1
    assert (chain["workbook"] / "reports" / "index.html").is_file()


def test_no_page_asks_anyone_for_anything(chain):
    pages = sorted(chain["folder"].glob("*.html"))
    assert len(pages) == 7
    assert [loads(page.read_text()) for page in pages] == [[]] * 7


def snapshot(workbook):
    """Names and bytes of the executed notebooks, and the multiset of table bytes by table."""
    notebooks = {path.name: path.read_bytes() for path in workbook.glob("reports/2*/*.ipynb")}
    tables = {}
    for path in workbook.glob("data/lake/tables/*/*/*.parquet"):
        key = "/".join(path.relative_to(workbook / "data" / "lake" / "tables").parts[:2])
        tables.setdefault(key, []).append(hashlib.sha256(path.read_bytes()).hexdigest())
    return notebooks, {key: sorted(value) for key, value in tables.items()}


def test_a_run_anew_in_plain_kernels_gives_the_same_bytes_in_tables_and_notebooks(chain, tmp_path):
    workbook = make_workbook(tmp_path / "again")
    assert stockkit_process(workbook, "run", "params/sample.yaml", "--until", "03_features").returncode == 0
    (notebooks, tables), (all_notebooks, all_tables) = snapshot(workbook), snapshot(chain["workbook"])
    assert len(all_tables) == 24, "prices, features, forecasts and scores of six symbols"
    assert len(tables) == 12, "04_model is run again in tests/test_own_data.py"
    assert notebooks == {name: all_notebooks[name] for name in notebooks}
    assert tables == {name: all_tables[name] for name in tables}


def test_an_executed_notebook_carries_no_time_path_or_duration(chain):
    for path in chain["folder"].glob("*.ipynb"):
        text = path.read_text()
        assert str(chain["workbook"]) not in text
        assert not re.search(r'"(duration|start_time|end_time|iopub[^"]*|input_path)"', text)


def test_the_pages_of_a_run_can_be_made_anew(chain):
    before = {path.name: path.read_bytes() for path in chain["folder"].glob("*.html")}
    done = stockkit(chain["workbook"], "report", chain["run"])
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in chain["folder"].glob("*.html")} == before


def test_the_lake_answers_on_the_command_line(chain):
    listed = stockkit(chain["workbook"], "lake", "tables")
    assert "prices" in listed.stdout
    asked = stockkit(
        chain["workbook"], "lake", "sql", "SELECT count(*) AS n FROM prices WHERE symbol = :s", "-p", "s=META", "--csv"
    )
    assert asked.stdout == "n\n2699\n"
    file = ["lake", "sql", "@sql/gaps.sql", "--csv", "-p", "symbols=META", "-p", "symbols=NVDA"]
    assert stockkit(chain["workbook"], *file).stdout.count("\n") == 5
    for words, says in ((["DROP TABLE prices"], "expected one SELECT"), (["@sql/nope.sql"], "cannot be read")):
        refused = stockkit(chain["workbook"], "lake", "sql", *words)
        assert (refused.returncode, says in refused.stderr) == (2, True), refused


def test_run_json_is_plain_json_as_its_schema_says(chain):
    text = (chain["folder"] / "run.json").read_text()
    run = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert run["run"] == chain["run"]
    check_manifest(run)


def test_the_same_notebooks_run_on_a_lake_on_s3(chain, seaweed_address, tmp_path, monkeypatch):
    environment(seaweed_address, monkeypatch)
    workbook, place = make_workbook(tmp_path), "s3://lake/chain/lake"
    done = stockkit_process(workbook, "run", "params/sample.yaml", "-p", f"lake={place}", "--until", "02_query")
    assert done.returncode == 0, done.stderr
    on_s3, here = open_lake(place), Lake(Folder(chain["workbook"] / "data/lake"), workbook)
    pd.testing.assert_frame_equal(on_s3.read("prices"), here.read("prices"))
    assert on_s3.history("prices")["run"].tolist() == [manifest_of(workbook)["run"]]
    for words in (["verify"], ["crawl"], ["tables"]):
        assert stockkit(workbook, "lake", *words, "--lake", place).returncode == 0
    assert not (workbook / "data" / "lake").exists()


def copy_or_link(source, target):
    """Files of tables are never changed in place."""
    return os.link(source, target) if source.endswith(".parquet") else shutil.copy2(source, target)


@pytest.fixture
def again(chain, tmp_path, monkeypatch):
    """A copy of the workbook and of the package, to change what has run."""
    left_out = shutil.ignore_patterns("reports", "__pycache__")
    workbook = shutil.copytree(
        chain["workbook"], tmp_path / "again", symlinks=True, ignore=left_out, copy_function=copy_or_link
    )
    for name in ("notebooks", "sql"):
        (workbook / name).unlink()
        shutil.copytree(ROOT / name, workbook / name)
    shutil.copytree(ROOT / "stockkit", tmp_path / "stockkit", ignore=left_out)
    monkeypatch.setattr(observed, "PACKAGE", str(tmp_path / "stockkit"))
    return workbook


def due(workbook, *overrides):
    """The notebooks that would run, by their numbers."""
    todo = plan.plan(workbook / "params" / "sample.yaml", overrides)
    decisions = {
        notebook.name: reuse.decide(
            notebook.path, {name: todo.parameters[name] for name in notebook.parameters}, todo.lake.files, workbook
        )
        for notebook in todo.chain
    }
    return " ".join(sorted(name[:2] for name, decision in decisions.items() if decision.kept is None))


def add_line(name):
    return lambda workbook: (workbook / name).write_text((workbook / name).read_text() + "\n")


def of_stockkit(name):
    return add_line(f"../stockkit/{name}")


def other_words(workbook):
    path = workbook / "notebooks" / "04_model.ipynb"
    path.write_text(path.read_text().replace("# Can we beat doing nothing", "# Can anybody beat doing nothing"))


def other_prices(workbook):
    lake = open_lake("data/lake", root=workbook)
    lake.write("prices", lake.read("prices", symbols=["AAPL"]).iloc[:-1], symbols=["AAPL"])


def other_champion(workbook):
    path = workbook / "data/lake/models/champion-h1/head.json"
    path.write_bytes(path.read_bytes() + b"\n")


MUTATIONS = {  # what is done after a run of the sample, and the notebooks that have to run then
    "nothing": (lambda workbook: None, ""),
    "a file of the sample": (add_line("data/sample/AAPL.csv"), "01"),
    "corporate actions": (add_line("data/sample/actions.csv"), "01"),
    "a question": (add_line("sql/gaps.sql"), "02"),
    "markdown": (other_words, ""),
    "lock": (lambda workbook: (workbook / "requirements.lock").write_text("pandas==9\n"), "00 01 02 03 04 05"),
    "a table by another writer": (other_prices, "00 01 02 03 04 05"),
    "a table deleted": (lambda workbook: shutil.rmtree(workbook / "data/lake/tables/scores"), "00 04 05"),
    "a champion": (other_champion, "00 04 05"),
    "a kept fit": (lambda workbook: shutil.rmtree(workbook / "data/lake/runs/fits", ignore_errors=True), ""),
    "a module of one notebook": (of_stockkit("market/clean.py"), "01"),
    "the audit": (of_stockkit("causality/verdicts.py"), "03 04"),
    "walks through the past": (of_stockkit("forecast/walk/backtest.py"), "00 04 05"),
    "what all import in the end": (of_stockkit("features/windows.py"), "00 01 02 03 04 05"),
    "one that none imports": (of_stockkit("stream/pipeline.py"), ""),
    "the command": (of_stockkit("cli/__init__.py"), ""),
    "the runner": (of_stockkit("workbook/chain/runner.py"), ""),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_exactly_those_notebooks_run_again_that_read_what_changed(again, mutation):
    change, expected = MUTATIONS[mutation]
    change(again)
    assert due(again) == expected


@pytest.mark.parametrize(("value", "expected"), [("horizon=5", "00 03 04 05"), ("seed=8", "00"), ("cost=5.0", "04")])
def test_exactly_those_notebooks_run_again_that_have_a_changed_parameter(again, value, expected):
    assert due(again, value) == expected


def test_a_second_run_takes_over_every_notebook_and_its_page(chain, again):
    done = stockkit(again, "run", "params/sample.yaml")
    assert done.returncode == 0, done.stderr
    second = manifest_of(again)
    assert {step["kept_from"] for step in second["steps"]} == {chain["run"]}
    assert snapshot(again) == snapshot(chain["workbook"])
    assert second["headlines"] == chain["headlines"]
    for name in NOTEBOOKS:
        text, before = ((run["folder"] / f"{name}.html").read_text() for run in (second, chain))
        assert text.count("<img") == before.count("<img")


def test_an_ingest_that_finds_nothing_new_makes_no_other_notebook_run(chain, again):
    done = stockkit(again, "run", "params/sample.yaml", "--force", "01_ingest", "--explain")
    assert done.returncode == 0, done.stderr
    assert "01_ingest runs: it was asked for (--force)" in done.stderr
    assert [step["name"] for step in manifest_of(again)["steps"] if not step["kept_from"]] == ["01_ingest"]
    assert snapshot(again) == snapshot(chain["workbook"])
