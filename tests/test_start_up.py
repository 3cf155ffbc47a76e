"""What a command has imported by the time it says that it cannot start: nothing that takes long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import exchange_calendars
import nbformat
import pytest

from stockkit.errors import ParamError
from stockkit.market import sessions
from tests.conftest import ROOT, make_workbook

HEAVY = ["IPython", "boto3", "deltalake", "duckdb", "exchange_calendars", "jsonschema", "matplotlib", "nbclient",
         "nbconvert", "nbformat", "numpy", "pandas", "papermill", "pyarrow", "rfc3987_syntax", "scipy", "sklearn",
         "sqlglot", "talib", "zmq"]  # fmt: skip
PROBE = """
import contextlib, io, json, sys, typer
import stockkit.cli as cli

for words in {commands}:
    sys.argv = ["stockkit", *words]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as done:
            code = done.code
    heavy = sorted({heavy} & set(sys.modules))
    print(json.dumps([code, out.getvalue(), err.getvalue(), heavy]))
"""
HELPS = [[], ["run"], ["report"], ["doctor"], ["audit"], ["quotes"], ["serve"], ["train"], ["lake"], ["lake", "sql"],
         ["lake", "actions"], ["stream"], ["stream", "run"], ["forecasts", "list"], ["models"]]  # fmt: skip
REFUSED = {
    "horizn=3": "Did you mean 'horizon'?",
    "horizon=x": "horizon must be a whole number",
    "horizon=999": "horizon must be 1 to 252 sessions",
    "horizon=2": "is not among horizons",
    "symbols=[AAPL, A;B]": "'A;B' is not a symbol",
    "calendar=XNYZ": "Did you mean 'XNYS'?",
    "calendar=XNYS +2023-W37-6": "overrules no day",
    "as_of=yesterday": "as_of must be a day",
    "start=2023-W37-6": "start must be a day",
    "dates=YDM": "dates must be auto or DMY",
    "allow=[non_positive]": "non_positive_price",
    "groups=[basics]": "basic",
    "tried=[random_walk, lasso_]": "lasso",
    "engine=sparc": "engine must be local or spark",
    "source=samples": "sample",
    "lake=s3://": "lake",
}


def probed(*commands: list[str], plant: str = "", folder: Path = ROOT) -> list[tuple[int, str, str, list[str]]]:
    """Code, output, error output and the heavy modules that are there after each of some commands of one process."""
    code = plant + PROBE.format(commands=json.dumps(commands), heavy=set(HEAVY))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_help_imports_nothing_that_takes_long():
    for words, (code, out, _, heavy) in zip(HELPS, probed(*([*words, "--help"] for words in HELPS)), strict=True):
        assert (code, heavy) == (0, []), words
        assert f"Usage: stockkit {' '.join(words)}".rstrip() in out


def test_a_parameter_is_refused_before_anything_is_imported_that_takes_long():
    commands = (["run", "params/sample.yaml", "-p", pair] for pair in REFUSED)
    for (pair, message), (code, out, err, heavy) in zip(REFUSED.items(), probed(*commands), strict=True):
        assert (code, out, heavy) == (2, "", []), pair
        assert message in " ".join(err.split())


def test_a_parameter_of_a_stream_is_refused_as_early():
    pairs = {"fast=30": "averages need 1 <= fast < slow", "speed=x": "speed must be a number"}
    commands = (["run", "params/stream.yaml", "-p", pair] for pair in pairs)
    for (pair, message), (code, _, err, heavy) in zip(pairs.items(), probed(*commands), strict=True):
        assert (code, heavy) == (2, []), (pair, err)
        assert message in err


def test_an_import_that_is_planted_is_found():
    ((_, _, _, heavy),) = probed(["--version"], plant="import sqlglot")
    assert heavy == ["sqlglot"]


def test_a_run_imports_no_grammars_and_one_for_which_nothing_has_changed_nothing_that_takes_long(tmp_path):
    workbook = make_workbook(tmp_path / "book", own_notebooks=True)
    parameters = nbformat.v4.new_code_cell('lake = "data/lake"', metadata={"tags": ["parameters"]})
    document = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell("print(1)")])
    document.metadata["stockkit"] = {"reads": [], "writes": []}
    nbformat.write(document, workbook / "notebooks" / "01_x.ipynb")
    (workbook / "params" / "own.yaml").write_text("notebooks: [01_x]\nlake: data/lake\n")
    ((code, _, _, heavy),) = probed(["run", "params/own.yaml"], folder=workbook)
    assert (code, "papermill" in heavy, "rfc3987_syntax" in heavy) == (0, True, False)
    ((code, _, err, heavy),) = probed(["run", "params/own.yaml"], folder=workbook)
    assert (code, heavy) == (0, [])
    assert "kept: nothing that it read has changed" in err


def test_the_names_of_calendars_are_those_of_the_library():
    assert sorted(sessions.NAMES) == sorted(exchange_calendars.get_calendar_names())


@pytest.mark.parametrize("day", ["+2023-02-30", "+1677-01-01", "2023-09-16", "+2023-W37-6", "+2023-9-16"])
def test_a_day_that_cannot_be_is_refused_without_the_library(day):
    with pytest.raises(ParamError, match="overrules no day"):
        sessions.check(f"XNYS {day}")
