"""Runs of the chain that meet on a lake, or whose reports go to S3: small planted notebooks, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid

import pytest

from stockkit import open_lake
from stockkit.workbook.chain import claims, lease, publication
from tests.aws import environment
from tests.conftest import make_workbook, stockkit
from tests.s3_proxy import proxy
from tests.workbook.test_runner import add, gone, wait_for

SLEEP = (
    "import os, time\nopen('started', 'w').write(str(os.getpid()))\nwhile not os.path.exists('go'): time.sleep(0.05)"
)


@pytest.fixture
def workbook(tmp_path):
    return make_workbook(tmp_path / "book", own_notebooks=True)


@pytest.fixture
def on_seaweed(seaweed_address, monkeypatch, tmp_path):
    environment(seaweed_address, monkeypatch)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(publication.tempfile, "tempdir", str(tmp_path))
    return f"s3://lake/{uuid.uuid4().hex[:8]}"


def chosen(workbook, *names, lake="data/lake"):
    (workbook / "params" / "own.yaml").write_text(f"notebooks: [{', '.join(names)}]\nlake: {lake}\n")


def started(workbook, *words):
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml", *words]
    return subprocess.Popen(command, cwd=workbook, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def manifests(workbook):
    paths = sorted(workbook.glob("reports/2*/run.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_a_second_run_waits_or_is_refused_and_one_that_is_killed_is_followed_at_once(workbook):
    add(workbook, "01_x", SLEEP)
    chosen(workbook, "01_x")
    with started(workbook) as first:
        kernel = wait_for(lambda: int((workbook / "started").read_text()))
        (run,) = manifests(workbook)
        run = run.removesuffix(".partial")
        refused = stockkit(workbook, "run", "params/own.yaml", "--wait", "0")
        assert refused.returncode == 1
        assert f"data/lake is in use by run {run} (process {first.pid} of " in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert len(manifests(workbook)) == 1
        with started(workbook) as second:
            assert f"waits for run {run} " in second.stderr.readline()
            first.send_signal(signal.SIGKILL)
            (workbook / "go").touch()
            out, err = second.communicate(timeout=120)
            assert second.returncode == 0, (out, err)
        assert wait_for(lambda: gone(kernel))
    assert sorted(run["status"] for run in manifests(workbook).values()) == ["failed", "succeeded"]


def test_a_run_that_is_stopped_while_it_waits_leaves_nothing(workbook):
    add(workbook, "01_x", "1")
    chosen(workbook, "01_x")
    with lease.taken(open_lake(str(workbook / "data" / "lake")), "other"), started(workbook) as waiting:
        assert "waits for run other" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(timeout=120) == 130
    assert manifests(workbook) == {}


def test_a_run_that_loses_its_lake_fails_and_ends_its_kernels(workbook, on_seaweed, monkeypatch):
    monkeypatch.setattr(lease, "EVERY", 0.2)
    monkeypatch.setattr(lease, "TICK", 0.1)
    lake = open_lake(on_seaweed)
    add(workbook, "01_x", SLEEP)
    chosen(workbook, "01_x", lake=on_seaweed)

    def breaks():
        wait_for(lambda: int((workbook / "started").read_text()))
        lake.files.note(claims.KEY, claims.encode(claims.this_process("thief")))

    thread = threading.Thread(target=breaks)
    thread.start()
    done = stockkit(workbook, "run", "params/own.yaml")
    thread.join()
    (run,) = manifests(workbook).values()
    assert done.returncode in (1, 4)
    assert run["status"] == "failed"
    assert "the lease on the lake was lost to run thief" in run["reason"]
    assert wait_for(lambda: gone(int((workbook / "started").read_text())))


def test_reports_on_s3_are_published_and_a_failed_run_goes_on_from_there(workbook, on_seaweed):
    add(workbook, "01_x", "open('ran', 'a').write('x')")
    add(workbook, "02_y", "assert __import__('os').path.exists('go'), 'planted'")
    chosen(workbook, "01_x", "02_y")
    words = ["--reports", f"{on_seaweed}/reports"]
    failed = stockkit(workbook, "run", "params/own.yaml", *words)
    assert failed.returncode == 1
    page = failed.stdout.strip()
    run = page.split("/")[-2]
    assert page == f"{on_seaweed}/reports/{run}/index.html"
    place = publication.open_reports(f"{on_seaweed}/reports", workbook)
    assert place.bucket.read("latest.json") is None
    (workbook / "go").touch()
    done = stockkit(workbook, "run", "--resume", run, *words)
    assert (done.returncode, done.stdout.strip()) == (0, f"{on_seaweed}/reports/{run}.2/index.html"), done.stderr
    assert (workbook / "ran").read_text() == "x"
    assert json.loads(place.bucket.read("latest.json"))["run"] == run
    assert not (workbook / "reports").exists()


def test_a_run_that_was_stopped_is_published_and_goes_on_elsewhere(workbook, on_seaweed, monkeypatch, tmp_path):
    add(workbook, "01_x", "open('ran', 'a').write('x')")
    add(workbook, "02_y", SLEEP)
    chosen(workbook, "01_x", "02_y")
    words = ["--reports", f"{on_seaweed}/reports"]
    with started(workbook, "--jobs", "1", *words) as running:
        wait_for(lambda: int((workbook / "started").read_text()))
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=120) == 130
    place = publication.open_reports(f"{on_seaweed}/reports", workbook)
    (run,) = place.bucket.folders("")
    assert "--resume" in json.loads(place.bucket.read(f"{run}/run.json"))["reason"]
    (workbook / "go").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(publication.tempfile, "tempdir", str(tmp_path / "elsewhere"))
    done = stockkit(workbook, "run", "--resume", run, *words)
    assert (done.returncode, done.stdout.strip()) == (0, f"{on_seaweed}/reports/{run}.2/index.html"), done.stderr
    assert (workbook / "ran").read_text() == "x"


def test_a_run_that_cannot_be_published_has_failed_and_is_kept(workbook, on_seaweed, monkeypatch):
    add(workbook, "01_x", "1")
    chosen(workbook, "01_x")
    words = ["--reports", f"{on_seaweed}/reports"]
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as between:
        between.fault = lambda method, path: "denied" if method == "PUT" else ""
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        failed = stockkit(workbook, "run", "params/own.yaml", *words)
        assert failed.returncode == 1
        assert "is not published: cannot write s3://lake/" in failed.stderr
        assert "AccessDenied" in failed.stderr
        command = failed.stderr.split("`stockkit ")[1].split("`")[0].split()
        between.fault = lambda method, path: ""
        done = stockkit(workbook, *command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{on_seaweed}/reports/")
