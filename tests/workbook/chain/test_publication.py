"""Reports on S3: published whole or pointed to by nothing, over real sockets, with faults planted on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from types import SimpleNamespace

import pytest

from stockkit.aws import Session
from stockkit.errors import LakeError, RunError
from stockkit.workbook.chain import publication
from tests.aws import environment
from tests.conftest import ROOT, stockkit
from tests.s3_proxy import proxy, wait_for
from tests.workbook.test_manifest import example

OLD, NEW = "20261121T070000Z", "20261122T070000Z"
PAGES = {"01_x.html": "<p>x</p>", "01_x.ipynb": "{}", "index.html": "<p>index</p>"}


@pytest.fixture(autouse=True)
def own_staging(tmp_path, monkeypatch):
    monkeypatch.setattr(publication.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def bucket_of(name):
    Session().client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return f"s3://{name}/reports"


@pytest.fixture
def on_moto(aws):
    return bucket_of(f"reports-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def on_seaweed(seaweed_address, monkeypatch):
    environment(seaweed_address, monkeypatch)
    return f"s3://lake/{uuid.uuid4().hex[:8]}/reports"


@pytest.fixture(params=["seaweed", "moto"])
def place(request):
    return publication.open_reports(request.getfixturevalue(f"on_{request.param}"), ROOT)


@pytest.fixture
def between(on_moto, monkeypatch):
    """Reports on moto behind a proxy that fails as told."""
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as state:
        direct = publication.open_reports(on_moto, ROOT)
        direct.check()  # its client keeps the server's own address
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.address)
        through = publication.open_reports(on_moto, ROOT)
        object.__setattr__(through.bucket, "session", through.bucket.session.impatient(1.0))
        yield SimpleNamespace(proxy=state, place=through, direct=direct)


def make(place, run, *, status="succeeded", folder=None, **pages):
    """A run that has ended."""
    folder = folder or place.local / run
    folder.mkdir(parents=True)
    reason = None if status == "succeeded" else "planted"
    manifest = example(run=run, status=status, reason=reason)
    for name, text in {**PAGES, **pages, "run.json": json.dumps(manifest)}.items():
        (folder / name).write_text(text)
    return folder


def latest(place):
    body = place.bucket.read("latest.json")
    return json.loads(body)["href"] if body else None


def is_whole(place, name):
    """Whether a publication has all of its files, as they were summed up."""
    sums = json.loads(place.bucket.read(f"{name}/files.json"))["files"]
    bodies = {file: place.bucket.read(f"{name}/{file}") for file in sums}
    return all(body is not None and publication._sum(body) == sums[file] for file, body in bodies.items())


def test_a_run_is_published_whole_and_opens_in_a_browser(place):
    assert place.publish(make(place, OLD)) == f"{place.bucket}/{OLD}/index.html"
    assert place.bucket.names(OLD) == ["01_x.html", "01_x.ipynb", "files.json", "index.html", "run.json"]
    assert is_whole(place, OLD)
    assert latest(place) == f"{OLD}/index.html"
    assert f'href="{OLD}/index.html"' in place.bucket.read("index.html").decode()
    s3, (bucket, prefix) = Session().client("s3"), (place.bucket.bucket, place.bucket.prefix)
    kinds = {key: s3.head_object(Bucket=bucket, Key=f"{prefix}/{key}")["ContentType"]
             for key in ("index.html", f"{OLD}/01_x.html", f"{OLD}/01_x.ipynb", "latest.json")}  # fmt: skip
    html = "text/html; charset=utf-8"
    assert list(kinds.values()) == [html, html, "application/x-ipynb+json", "application/json"]
    assert not (place.local / OLD).exists()


def test_a_failed_run_is_published_but_never_the_latest(place):
    place.publish(make(place, OLD))
    place.publish(make(place, NEW, status="failed"))
    assert latest(place) == f"{OLD}/index.html"
    assert NEW in place.bucket.read("index.html").decode()


def test_an_older_run_that_ends_later_is_not_the_latest(place):
    for run in (NEW, OLD, f"{NEW}-10", f"{NEW}-9"):
        place.publish(make(place, run))
    assert latest(place) == f"{NEW}-10/index.html"


def test_a_run_that_goes_on_is_fetched_and_published_beside_what_it_was(place):
    place.publish(make(place, OLD, status="failed"))
    before = place.bucket.read(f"{OLD}/run.json")
    place.fetch(OLD)
    folder = place.local / OLD
    assert {path.name for path in folder.iterdir()} == {*PAGES, "run.json"}
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**manifest, "status": "succeeded", "reason": None}))
    assert place.publish(folder) == f"{place.bucket}/{OLD}.2/index.html"
    assert place.bucket.read(f"{OLD}/run.json") == before
    assert latest(place) == f"{OLD}.2/index.html"
    place.fetch(OLD)
    assert json.loads((folder / "run.json").read_text())["status"] == "succeeded"


def test_publishing_again_changes_nothing(place, tmp_path):
    folder = make(place, OLD, folder=tmp_path / OLD)
    assert place.publish(folder) == place.publish(folder)
    assert place.bucket.folders("") == [OLD]
    assert folder.is_dir()  # it is not of the staging folder


def test_runs_that_end_at_once_are_all_listed_and_the_newest_is_the_latest(place):
    runs = [f"20261121T07000{k}Z" for k in range(5)]
    places = [publication.BucketReports(place.bucket, place.local / str(k)) for k in range(5)]  # as on five machines
    folders = [make(one, run) for one, run in zip(places, runs, strict=True)]
    threads = [
        threading.Thread(target=one.publish, args=(folder,)) for one, folder in zip(places, folders, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = place.bucket.read("index.html").decode()
    assert [run for run in runs if run not in page] == []
    assert latest(place) == f"{runs[-1]}/index.html"


REQUESTS = 24  # more than a publication takes


@pytest.mark.parametrize("fault", ["denied", "slow", "cut", "lost", "hang"])
def test_whatever_fails_on_the_way_nothing_half_is_pointed_to_and_the_next_try_completes_it(between, fault):
    through, direct = between.place, between.direct
    through.publish(make(through, OLD))
    failed = 0
    for number in range(2, REQUESTS, 1 if fault == "denied" else 3):
        run = f"20261122T0700{number:02}Z"
        folder, seen = make(through, run), len(between.proxy.requests)
        between.proxy.fault = lambda *_, seen=seen, number=number: fault if at(between, seen) == number else ""
        before = latest(direct)
        if message := message_of(through, folder):
            failed += 1
            assert f"`stockkit report {folder} --publish {through.bucket}` goes on" in message
            assert folder.is_dir()
            assert latest(direct) == before or is_whole(direct, run)
            between.proxy.fault = lambda *_: ""
            through.publish(folder)
        assert latest(direct) == f"{run}/index.html"
        assert is_whole(direct, run)
        assert not folder.exists()
    assert failed >= 3
    assert not [name for name in direct.bucket.folders("") if "." in name]


def message_of(place, folder):
    """Why a run could not be published, "" where it was."""
    try:
        place.publish(folder)
        return ""
    except LakeError as error:
        return str(error)


def at(between, seen):
    """The number of the request that is under way, from 1."""
    return len(between.proxy.requests) - seen


PUBLISH = """
import sys
from pathlib import Path
from stockkit.workbook.chain import publication
place = publication.open_reports(sys.argv[1], Path("."))
place.publish(place.local / sys.argv[2])
"""


def test_a_publication_that_is_killed_half_way_is_completed_by_the_next_one(between):
    folder = make(between.place, OLD)
    between.proxy.fault = lambda method, path: "hang" if "01_x.ipynb" in path else ""
    command = [sys.executable, "-c", PUBLISH, str(between.place.bucket), OLD]
    with subprocess.Popen(command, cwd=ROOT) as running:
        wait_for(lambda: any("01_x.ipynb" in path for _, path in between.proxy.requests))
        running.send_signal(signal.SIGKILL)
    assert between.direct.bucket.names(OLD) == ["01_x.html", "files.json"]
    assert latest(between.direct) is None
    with pytest.raises(RunError, match="has no run 20261121T070000Z that is published whole"):
        publication.BucketReports(between.direct.bucket, between.direct.local / "elsewhere").fetch(OLD)
    between.proxy.fault = lambda method, path: ""
    between.place.publish(folder)
    assert is_whole(between.direct, OLD)
    assert latest(between.direct) == f"{OLD}/index.html"


def test_a_publication_that_is_interrupted_says_where_the_run_is(place, monkeypatch):
    folder = make(place, OLD)

    def interrupted(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr(publication.BucketReports, "_list_runs", interrupted)
    with pytest.raises(LakeError, match=r"it was interrupted\. It is kept in .*goes on"):
        place.publish(folder)
    monkeypatch.undo()
    assert folder.is_dir()


def test_a_run_that_was_half_published_and_then_went_on_is_published_beside_that(place):
    folder = make(place, OLD)
    place.bucket.put(f"{OLD}/files.json", b"of another publication")
    assert place.publish(folder) == f"{place.bucket}/{OLD}.2/index.html"


def test_a_store_that_would_let_files_change_is_refused(between):
    between.proxy.fault = lambda method, path: "careless"
    with pytest.raises(LakeError, match="does not heed the condition of a put"):
        between.place.publish(make(between.place, OLD))


@pytest.mark.parametrize(
    ("name", "body"),
    [("01_x.html", b"other"), ("files.json", b"{}"), ("files.json", b'{"files": {"../x": "0"}}'), ("files.json", b"[")],
)
def test_what_is_not_what_was_published_is_not_gone_on_with(place, name, body):
    place.publish(make(place, OLD, status="failed"))
    place.bucket.note(f"{OLD}/{name}", body)
    with pytest.raises(LakeError, match="cannot go on"):
        place.fetch(OLD)
    assert [path.name for path in place.local.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b'{"href": 5}', b"\xff"])
def test_a_pointer_that_leads_nowhere_is_replaced(place, body):
    place.bucket.note("latest.json", body)
    place.publish(make(place, OLD))
    assert latest(place) == f"{OLD}/index.html"


def test_what_is_no_run_is_not_published(place, tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(RunError, match="is no run that has ended"):
        place.publish(tmp_path / "x")
    for run in ("../x", "x", ""):
        with pytest.raises(RunError, match="is no run's id"):
            place.fetch(run)


@pytest.mark.parametrize("text", ["s3://Bucket/x", "s3://bucket/x?database=d", "gs://bucket/x", "s3://bucket/../x"])
def test_an_address_that_cannot_be_is_refused_in_words(text):
    with pytest.raises(LakeError, match=r"^--reports '(s3|gs)://"):
        publication.open_reports(text, ROOT)


def test_a_folder_is_where_reports_are_by_default(tmp_path):
    assert publication.open_reports(None, tmp_path).local == tmp_path / "reports"
    assert publication.open_reports(str(tmp_path / "x"), ROOT).local == tmp_path / "x"


def test_the_command_publishes_a_run_that_was_kept(on_moto, tmp_path):
    place = publication.open_reports(on_moto, ROOT)
    folder = make(place, OLD)
    done = stockkit(tmp_path, "report", str(folder), "--publish", on_moto)
    assert (done.returncode, done.stdout.strip()) == (0, f"{on_moto}/{OLD}/index.html"), done.stderr
    assert latest(place) == f"{OLD}/index.html"
