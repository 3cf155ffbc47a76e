"""The chain on a source that answers over HTTP and counts requests; the key must be nowhere afterwards."""

from __future__ import annotations

import json

import pytest

from tests.conftest import make_workbook, stockkit_process
from tests.intake import alphavantage_server as av

CANARY = "CANARY7Q2ZKEY"


@pytest.fixture
def workbook(tmp_path, monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", CANARY)
    monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_PER_DAY", "2")
    monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_PER_SECOND", "0")
    return make_workbook(tmp_path / "book")


def ingest(workbook, server, monkeypatch, *words):
    monkeypatch.setenv("STOCKKIT_ALPHAVANTAGE_URL", server.url)
    done = stockkit_process(
        workbook, "run", "params/sample.yaml", "-p", "source=alphavantage", "--until", "01_ingest", *words
    )
    newest = max(workbook.glob("reports/2*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    return done, json.loads(newest.read_text()), newest.parent


def everywhere(folder, *streams):
    """The files and streams that hold the key."""
    files = [str(path) for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    return files + [stream for stream in streams if CANARY in stream]


def test_a_run_plans_with_its_allowance_and_says_what_waits(workbook, monkeypatch):
    with av.Server(av.csv()) as server:
        done, manifest, folder = ingest(workbook, server, monkeypatch, "-p", "symbols=[AAA, IBM, ZZZ]")
        assert sorted(request["symbol"] for request in server.requests) == ["AAA", "IBM"]
        assert done.returncode == 3, "nothing is known of the third symbol yet"
        assert "ZZZ waits" in manifest["headlines"]["missing_symbols"]["ZZZ"]
        page = (folder / "index.html").read_text()
        assert "ZZZ waits" in page
        again, manifest, _ = ingest(workbook, server, monkeypatch, "-p", "symbols=[AAA, IBM]")
        assert len(server.requests) == 2
    assert again.returncode == 3, "no symbol could be asked for: what was said before stands, and nothing is fresh"
    assert "No symbol could be asked for" in manifest["reason"]
    assert set(manifest["headlines"]["missing_symbols"]) == {"AAA", "IBM"}
    assert everywhere(workbook, done.stdout, done.stderr, again.stdout, again.stderr) == []


def test_on_a_bad_day_the_key_that_the_provider_repeats_is_nowhere(workbook, monkeypatch):
    with av.Server(av.json_of("Information", av.DAILY)) as server:
        done, manifest, _ = ingest(workbook, server, monkeypatch, "-p", "symbols=[IBM]")
        assert server.requests[0]["apikey"] == CANARY
    assert done.returncode == 1
    assert manifest["status"] == "failed"
    assert everywhere(workbook, done.stdout, done.stderr) == []


def test_the_search_for_the_key_finds_it(tmp_path):
    (tmp_path / "file").write_text(f"x{CANARY}x")
    assert len(everywhere(tmp_path, f"said {CANARY}")) == 2


def test_without_a_key_no_notebook_starts_and_the_way_to_give_one_is_said(workbook, monkeypatch):
    monkeypatch.delenv("STOCKKIT_SECRET_ALPHAVANTAGE")
    done = stockkit_process(workbook, "run", "params/sample.yaml", "-p", "source=alphavantage", "-p", "symbols=[IBM]")
    assert done.returncode == 2
    assert "STOCKKIT_SECRET_ALPHAVANTAGE" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workbook / "reports").exists()


def test_a_second_source_that_denies_the_splits_is_told_in_the_report(workbook, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    for symbol in ("AAPL", "META"):
        (other / f"{symbol}.csv").write_bytes((workbook / "data" / "sample" / f"{symbol}.csv").read_bytes())
    (other / "actions.csv").write_text("symbol,ex_date,kind,value\nAAPL,2014-06-09,split,7\n")
    words = ["-p", "symbols=[AAPL, META]", "-p", f"check=folder:{other}", "--until", "01_ingest"]
    done = stockkit_process(workbook, "run", "params/sample.yaml", *words)
    assert done.returncode == 3, done.stderr
    (path,) = workbook.glob("reports/2*/run.json")
    manifest = json.loads(path.read_text())
    assert any("AAPL: a split on 2020-08-31 is not applied" in warning for warning in manifest["warnings"])
    assert set(manifest["headlines"]["missing_symbols"]) == {"AAPL"}, "before a split in dispute no bar is trusted"
    assert manifest["headlines"]["gaps"]["AAPL"][-1] == "2020-08-28"
    assert manifest["headlines"]["rows"] == 2699 + 770
    assert "is not applied" in (path.parent / "index.html").read_text()
