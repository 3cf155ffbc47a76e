"""The page over real sockets: what is pushed, to whom, and how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from stockkit.errors import ParamError
from stockkit.stream.watch import server
from stockkit.stream.watch.feed import Reader
from tests.conftest import stockkit
from tests.stream.watch.test_feed import Stream


@pytest.fixture
def stream(tmp_path):
    return Stream(tmp_path / "s.sqlite")


@contextmanager
def running(stream: Stream) -> Iterator[tuple[int, Any]]:
    """The port of a server of the page in this process, and its hub."""
    app = server.application(Reader(stream.store.path), ended=lambda: web.should_exit)
    web = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none", timeout_graceful_shutdown=2))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1], app.state.hub
        finally:
            web.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


class Client:
    """A browser's connection to the events."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request("GET", "/events")
        self.answer = self.connection.getresponse()

    def message(self) -> dict[str, Any]:
        """The next message."""
        while not (line := self.answer.readline()).startswith(b"data: "):
            assert line, "the events ended"
        return json.loads(line.removeprefix(b"data: "))

    def until(self, true) -> dict[str, Any]:
        """The first message of which something is true."""
        while not true(message := self.message()):
            pass
        return message


def get(port: int, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_browser_gets_everything_and_then_what_changes(stream):
    stream.take("META", 300)
    stream.take("NFLX", 400)
    with running(stream) as (port, _):
        client = Client(port)
        assert client.answer.getheader("content-type") == "text/event-stream; charset=utf-8"
        first = client.until(lambda message: message["rows"])
        assert [row["symbol"] for row in first["rows"]] == ["META", "NFLX"]
        stream.take("META", 301)
        second = client.until(lambda message: message["rows"])
        assert [(row["symbol"], row["points"]) for row in second["rows"]] == [("META", [301_000_000])]
        assert second["counts"]["ticks"] == 3
        again = Client(port).message()  # one that comes back gets all of it
        assert (again["all"], len(again["rows"])) == (True, 2)


def test_a_browser_that_takes_nothing_holds_up_nobody_and_is_let_go(stream, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    monkeypatch.setattr(server, "POLL", 0.005)
    symbols = [f"S{k}" for k in range(200)]
    with running(stream) as (port, hub), socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        client = Client(port)
        until(lambda: hub.clients == 2)
        price = 1
        while hub.clients == 2:
            price += 1
            stream.take_all([(symbol, price) for symbol in symbols])
            newest = client.until(lambda message: message["counts"].get("ticks") == (price - 1) * 200)  # noqa: B023
            assert price < 3_000, "the slow one is still there"
        assert newest["rows"][-1]["price"] == price * 1_000_000
        assert hub.clients == 1


def test_no_more_browsers_than_a_limit_and_one_that_leaves_makes_room(stream, monkeypatch):
    monkeypatch.setattr(server, "CLIENTS", 2)
    with running(stream) as (port, hub):
        first, second = Client(port), Client(port)
        second.message()
        status, headers, text = get(port, "/events")
        assert (status, headers["retry-after"]) == (503, "5")
        assert "2 pages are open already" in text
        first.connection.sock.close()
        first.answer.close()
        until(lambda: hub.clients < 2)
        assert Client(port).message()["all"]


def test_the_page_can_only_be_read_and_only_under_the_names_of_this_machine(stream):
    with running(stream) as (port, _):
        status, headers, text = get(port)
        assert status == 200
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
        assert get(port, Host=f"localhost:{port}")[0] == 200
        for path in ("/", "/events"):
            assert get(port, path, Host=f"rebound.example:{port}")[0] == 421
            assert get(port, path, "POST")[0] == 405
        assert get(port, "/../../etc/passwd")[0] == 404


def test_two_visits_do_not_share_what_lets_the_script_run(stream):
    with running(stream) as (port, _):
        assert get(port)[1]["content-security-policy"] != get(port)[1]["content-security-policy"]


@pytest.fixture
def started(tmp_path, stream):
    """`stockkit stream watch` in a process of its own, and its port."""
    (tmp_path / "lake").mkdir()
    command = [sys.executable, "-m", "stockkit.cli", "stream", "watch", "--port", "0", "--lake", str(tmp_path / "lake"),
               "--state", str(stream.store.path)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        line = run.stdout.readline()
        assert f"{stream.store.path} on http://127.0.0.1:" in line, run.stderr.read()
        yield run, int(line.split("127.0.0.1:")[1].split("/")[0])
        run.kill()


def test_sigterm_ends_it_at_once_with_success_though_a_browser_listens(started, stream):
    run, port = started
    stream.take("META", 300)
    client = Client(port)
    assert client.until(lambda message: message["rows"])["rows"][0]["symbol"] == "META"
    run.send_signal(signal.SIGTERM)
    assert run.wait(20) == 0
    assert run.stderr.read() == ""
    with pytest.raises(AssertionError, match="the events ended"):
        client.until(lambda message: False)


def test_other_machines_are_let_in_only_where_it_is_asked_for_twice(tmp_path):
    done = stockkit(tmp_path, "stream", "watch", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "lets other machines in: say so with --others" in done.stderr
    assert stockkit(tmp_path, "stream", "watch", "--host", "example.org").returncode == 2
    assert server.is_loopback("127.0.0.7")
    assert server.is_loopback("::1")
    assert not server.is_loopback("::")
    with pytest.raises(ParamError, match="give an address"):
        server.is_loopback("-")


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = stockkit(tmp_path, "stream", "watch", "--port", str(port))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_a_symbol_that_is_none_is_refused(tmp_path):
    done = stockkit(tmp_path, "stream", "watch", "--symbols", "META,<b>")
    assert done.returncode == 2
    assert "'<b>' is not a symbol" in done.stderr
