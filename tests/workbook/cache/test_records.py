"""Results are kept with the lake whole or not at all, and one that is not ours is as if it were not there."""

from __future__ import annotations

import json
import shutil

import pytest

from stockkit.aws import Session
from stockkit.files import Bucket, Folder
from stockkit.workbook.cache import records, reuse
from tests.workbook.cache.planted import Steps, plant, rewrite

WHERE = {"LocationConstraint": "eu-central-1"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A workbook whose step has run once."""
    root = tmp_path_factory.mktemp("ran") / "book"
    root.mkdir()
    (root / "data.csv").write_text("1\n")
    steps = Steps(root)
    steps.run(plant(root, "01_a", "open('data.csv').read()"))
    assert steps.unkept == ""
    return root


@pytest.fixture
def root(ran, tmp_path):
    shutil.copytree(ran, tmp_path / "book")
    return tmp_path / "book"


def outcome(root, files=None):
    decision = Steps(root, files).decide(root / "notebooks" / "01_a.ipynb")
    return "kept" if decision.kept else decision.why


def kept(root, ending):
    (path,) = root.glob(f"data/lake/runs/steps/01_a/*.{ending}")
    return path


def test_what_was_kept_is_taken_over(root):
    decision = Steps(root).decide(root / "notebooks" / "01_a.ipynb")
    assert decision.why == "nothing that it read has changed since run run-1"
    cells = json.loads(decision.kept.notebook)["cells"]
    assert [cell["outputs"][0]["text"] for cell in cells if cell["cell_type"] == "code"] == ["7", "7"]


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_record_that_is_cut_short_is_not_used(root, cut):
    path = kept(root, "json")
    path.write_bytes(path.read_bytes()[:cut])
    assert "cannot be used" in outcome(root)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.update(format=2),
        lambda facts: facts.update(basis=None),
        lambda facts: facts["basis"].update(extra=1),
        lambda facts: facts["observed"].pop("files"),
        lambda facts: facts["observed"].update(files=["data.csv"]),
        lambda facts: facts["observed"].update(tables={"prices": {"version": 1}}),
        lambda facts: facts.update(warnings=[1]),
        lambda facts: facts.update(run=None),
    ],
)
def test_a_record_of_another_form_is_not_used(root, change):
    rewrite(kept(root, "json"), change)
    assert "cannot be used" in outcome(root)


def test_a_record_that_one_byte_was_changed_in_is_not_used(root):
    path = kept(root, "json")
    path.write_bytes(path.read_bytes().replace(b'"data.csv": "', b'"dota.csv": "', 1))
    assert "it is damaged" in outcome(root)


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 100_000, b"\xff"])
def test_a_foreign_record_is_not_used(root, body):
    kept(root, "json").write_bytes(body)
    assert "cannot be used" in outcome(root)


def test_a_kept_notebook_that_is_damaged_or_gone_is_not_used(root):
    kept(root, "ipynb").write_bytes(kept(root, "ipynb").read_bytes().replace(b'"7"', b'"8"'))
    assert outcome(root) == "the kept notebook is damaged or gone"
    kept(root, "ipynb").unlink()
    assert outcome(root) == "the kept notebook is damaged or gone"


def test_a_notebook_of_which_the_record_was_never_written_is_not_used(root):
    kept(root, "json").unlink()
    assert outcome(root) == "no result is kept"


def test_the_last_results_are_kept_and_older_ones_go(root):
    steps = Steps(root)
    for value in range(2, 10):
        steps.run(root / "notebooks" / "01_a.ipynb", horizon=value)
    names = steps.files.names(records.folder("01_a"))
    assert len(names) == 2 * records.KEPT
    assert steps.run(root / "notebooks" / "01_a.ipynb", horizon=4) == "kept"
    assert steps.run(root / "notebooks" / "01_a.ipynb", horizon=3) == "parameter horizon was 9, is 3"


def test_two_workbooks_that_share_a_lake_do_not_take_wrong_results_of_each_other(root, tmp_path):
    lake = Folder(root / "data" / "lake")
    shutil.copytree(root, tmp_path / "second", ignore=shutil.ignore_patterns("lake"))
    assert outcome(tmp_path / "second", lake) == "kept"  # all that was read is the same there
    (tmp_path / "second" / "data.csv").write_text("2\n")
    assert outcome(tmp_path / "second", lake) == "the file data.csv changed"
    assert outcome(root, lake) == "kept"


def test_a_lake_that_cannot_be_written_is_a_reason_and_no_error(root, monkeypatch):
    monkeypatch.setattr(Folder, "put", lambda *given: (_ for _ in ()).throw(OSError("no space left")))
    steps = Steps(root)
    assert steps.run(root / "notebooks" / "01_a.ipynb", horizon=2) == "parameter horizon was 1, is 2"
    assert steps.unkept == "no space left"


def test_a_secret_among_the_parameters_is_not_kept(root):
    steps = Steps(root)
    path = root / "notebooks" / "01_a.ipynb"
    decision = steps.decide(path, horizon="hunter22")
    assert "hunter22" in decision.basis.shown["horizon"]
    put = steps.keep(decision, path, redact=lambda text: text.replace("hunter22", "***"))
    assert put == ""
    assert not any(b"hunter22" in file.read_bytes() for file in root.rglob("*.json"))


def test_results_are_kept_on_s3_as_well(root, aws):
    session = Session()
    session.client("s3").create_bucket(Bucket="kept-results", CreateBucketConfiguration=WHERE)
    lake = Bucket("kept-results", "lake", session)
    steps = Steps(root, lake)
    path = root / "notebooks" / "01_a.ipynb"
    assert steps.run(path) == "no result is kept"
    assert steps.run(path) == "kept"
    for value in range(2, 9):
        steps.run(path, horizon=value)
    assert len(lake.names(records.folder("01_a"))) == 2 * records.KEPT
    (root / "data.csv").write_text("2\n")
    assert steps.run(path, horizon=8) == "the file data.csv changed"


def test_a_forced_step_runs(root):
    decision = reuse.decide(root / "notebooks" / "01_a.ipynb", {"horizon": 1}, Steps(root).files, root, force=True)
    assert (decision.why, decision.kept) == ("it was asked for (--force)", None)
