"""What a commit says of itself, and what an error says of the commit."""

from __future__ import annotations

import http.server
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stockkit import open_lake
from stockkit.aws_errors import way_out
from stockkit.errors import LakeError
from stockkit.files import Bucket, Folder
from stockkit.lake import commits, frames
from stockkit.lake.tables import Lake
from tests.aws import environment
from tests.conftest import ROOT
from tests.lake.test_tables import frame


@pytest.fixture
def lake(tmp_path):
    lake = Lake(Folder(tmp_path), ROOT)
    lake.write("t", frame(["A", "B"]), symbols=["A", "B"])
    return lake


def test_a_write_returns_the_version_that_it_made_and_not_another_writers(lake):
    place = lake.location("t")

    def once(now):
        commits._write(place, now, commits.Rows(frames.to_arrow(frame(["A"], 2.0)), ["A"]))
        Lake(lake.files, ROOT).write("t", frame(["B"], 3.0), symbols=["B"])

    assert (commits.attempt(place, once).version(), lake.version("t")) == (1, 2)


def test_a_write_of_what_is_there_returns_the_version_that_it_saw(lake):
    place = lake.location("t")

    def once(now):
        Lake(lake.files, ROOT).write("t", frame(["B"], 3.0), symbols=["B"])

    assert (commits.attempt(place, once).version(), lake.version("t")) == (0, 1)
    assert lake.write("t", frame(["B"], 3.0), symbols=["B"]) == 1


def test_of_writers_at_once_each_gets_its_own_version(lake):
    def work(k):
        return Lake(lake.files, ROOT).write("t", frame([f"S{k}"], float(k)), symbols=[f"S{k}"])

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(work, range(6)))
    for k, version in enumerate(versions):
        delta = lake.delta("t")
        symbols = []
        for at in (version - 1, version):
            delta.load_as_version(at)
            symbols.append({part["symbol"] for part in delta.partitions()})
        assert symbols[1] - symbols[0] == {f"S{k}"}


def test_a_data_file_that_is_gone_is_an_error_with_the_way_out(lake):
    for uri in lake.delta("t").file_uris():
        (lake.folder / uri.removeprefix("file://")).unlink()
    with pytest.raises(LakeError, match=r"'t' in .* cannot be read: .*stockkit lake verify"):
        lake.read("t")


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("RequestTimeTooSkewed", "clock right"),
        ("Generic S3 error: ... <Code>RequestTimeTooSkewed</Code>", "clock right"),
        ("<Code>ExpiredToken</Code>", "expired: log in"),
        ("status: 403 Forbidden", "get-caller-identity"),
        ("SignatureDoesNotMatch", "get-caller-identity"),
        ("NoSuchBucket", "aws s3 mb"),
        ("AuthorizationHeaderMalformed", "another region"),
        ("SlowDown", "try again"),
    ],
)
def test_each_error_of_s3_has_its_own_way_out(text, way):
    assert way in way_out(text)


@pytest.fixture
def skewed(monkeypatch):
    """An S3 that refuses everything because the clock of this machine is wrong."""
    body = (b'<?xml version="1.0"?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request '
            b"time and the current time is too large.</Message></Error>")  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield
    server.shutdown()
    server.server_close()


def test_a_wrong_clock_is_not_to_be_tried_again(skewed, monkeypatch):
    lake = open_lake("s3://bucket/lake", root=ROOT)
    with pytest.raises(LakeError, match=r"RequestTimeTooSkewed.*Set this machine's clock right"):
        lake.read("t")
    monkeypatch.setattr(Bucket, "has_folder", lambda *_: True)
    with pytest.raises(LakeError, match=r"RequestTimeTooSkewed[\s\S]*Set this machine's clock right"):
        lake.read("t")
