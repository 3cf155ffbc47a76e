"""`stockkit models` as a user runs it."""

from __future__ import annotations

import pytest

from stockkit.files import Folder
from stockkit.lake.tables import Lake
from stockkit.records import registry
from tests.conftest import ROOT, stockkit
from tests.records.saved_models import linear, origin, rows, trained


@pytest.fixture
def folder(tmp_path):
    """A workbook's folder whose lake holds two good models of lasso and a bad one, gbm."""
    lake = Lake(Folder(tmp_path / "data" / "lake"), ROOT)
    for mean in (0.1, 0.2):
        evidence = rows({"random_walk": 0.0, "lasso": 0.0})
        registry.save(lake, trained(linear(mean)), **origin(evidence=evidence))
    evidence = rows({"random_walk": 0.0, "lasso": 0.0, "gbm": 0.5})
    registry.save(lake, trained(model="gbm"), **origin(evidence=evidence))
    return tmp_path


def keys(folder):
    return list(registry.list_models(Lake(Folder(folder / "data" / "lake"), ROOT)).index)


def run(folder, *words, code=0):
    done = stockkit(folder, "models", *words, "--lake", str(folder / "data" / "lake"))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_models_are_promoted_listed_shown_and_rolled_back(folder):
    _, first, second = keys(folder)
    for key in (first, second):
        assert f"{key} is champion of horizon 1" in run(folder, "promote", key).stdout
    marks = {line.split()[0]: line.split()[-1] for line in run(folder, "list").stdout.splitlines()[1:]}
    assert (marks[first], marks[second]) == ("was", "champion")
    shown = run(folder, "show", "h1").stdout
    assert f"| Version | `{second}` |" in shown
    assert f"promoted: {second}" in shown
    assert f"{first} is champion of horizon 1 (entry 3)" in run(folder, "rollback", "1").stdout


def test_a_failed_gate_is_exit_code_1_with_the_reasons(folder):
    gbm, *_ = keys(folder)
    refusal = run(folder, "promote", gbm, code=1).stderr
    assert "did not pass the gate; nothing was changed" in refusal
    assert "Its squared error is larger than that of the random walk" in refusal
    assert "no champion" in run(folder, "show", "h1", code=2).stderr


def test_a_broken_model_is_listed_with_what_is_wrong_and_gives_exit_code_1(folder):
    key = keys(folder)[1]
    (folder / "data" / "lake" / "models" / key / "parameters.json").unlink()
    done = run(folder, "list", code=1)
    assert "parameters.json is missing" in done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_an_empty_lake_and_a_wrong_name_are_told(tmp_path):
    assert "no saved models yet" in run(tmp_path, "list").stdout
    assert "is no saved model" in run(tmp_path, "promote", "lasso", code=2).stderr
    assert "no champion: there is nothing to go back from" in run(tmp_path, "rollback", "1", code=2).stderr
