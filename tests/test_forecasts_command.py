"""`stockkit forecasts` as a user runs it."""

from __future__ import annotations

import pytest

from stockkit.files import Folder
from stockkit.lake.tables import Lake
from stockkit.records import ledger
from tests.conftest import stockkit
from tests.records.ledger_rows import VERSIONS, made


@pytest.fixture
def folder(tmp_path):
    lake = Lake(Folder(tmp_path / "lake"), tmp_path)
    for day in ("2023-09-18", "2023-09-19"):
        ledger.seal(lake, made(as_of=day), **VERSIONS)
    return tmp_path


def run(folder, *words):
    return stockkit(folder, "forecasts", *words, "--lake", "lake")


def test_verify_tells_the_number_and_the_head_and_finds_a_tampered_row(folder):
    lake = Lake(Folder(folder / "lake"), folder)
    head = ledger.head(lake)
    done = run(folder, "verify", "--head", head)
    assert (done.returncode, done.stdout) == (0, f"8 forecasts are sealed, head {head}\n"), done.stderr
    lake.delta("forecasts").update(updates={"mean": "0.5"}, predicate="number = 3")
    done = run(folder, "verify")
    assert done.returncode == 1
    assert "edited" in done.stdout
    assert "1 problem in the forecasts of" in done.stderr


def test_list_shows_the_newest_ones_of_a_symbol_or_model(folder):
    done = run(folder, "list", "--symbol", "^GSPC")
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 3), done.stderr
    assert "2023-09-19" in lines[1]
    assert "-1.64" in lines[1]
    csv = run(folder, "list", "--model", "drift", "--csv").stdout.splitlines()
    assert csv[0].startswith("made_at,as_of,symbol,model")
    assert [line.split(",")[2] for line in csv[1:]] == ["AAPL", "^GSPC"]


def test_export_names_the_files_and_who_has_none(folder):
    done = run(folder, "export")
    assert done.returncode == 0, done.stderr
    assert [line.rpartition("/")[2] for line in done.stdout.splitlines()] == ["AAPL.csv", "^GSPC.csv"]
    done = run(folder, "export", "MSFT", "AAPL")
    assert (done.returncode, "AAPL.csv" in done.stdout, "MSFT" in done.stderr) == (1, True, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["list", "--symbol", "MSFT"], 1, "no forecast of symbol 'MSFT' is sealed"),
        (["list", "--symbol", "../x"], 2, "is not a symbol"),
        (["export", "A'; DROP"], 2, "is not a symbol"),
        (["verify", "--head", "0xabc"], 2, "is no hash"),
        (["verify", "--head", "a" * 64], 1, "1 problem"),
    ],
)
def test_a_wrong_command_is_one_clear_error(folder, words, code, says):
    done = run(folder, *words)
    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


@pytest.mark.parametrize("word", ["list", "verify", "export"])
def test_without_the_table_the_error_names_the_command_that_makes_it(tmp_path, word):
    done = run(tmp_path, word)
    assert done.returncode == 2
    assert "stockkit run" in done.stderr
