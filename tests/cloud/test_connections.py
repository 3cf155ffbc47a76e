"""A client that stalls, trickles, floods or does not listen costs the server little, and the others nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import httpx
import pytest

from stockkit.cloud.sagemaker.connections import Limits
from tests.cloud import served

HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
MAX_BODY = 2**20
SHORT = Limits(headers=1.0, body=1.0, answer=1.0, linger=5.0, connections=24, bodies=4 * MAX_BODY)
PATIENCE = 60.0  # seconds that a test waits for what comes after one


@pytest.fixture(scope="module")
def app():
    return served.application(max_body=MAX_BODY, limits=SHORT)


@pytest.fixture(scope="module")
def address(app) -> Iterator[tuple[str, int]]:
    with served.running(app) as url:
        yield "127.0.0.1", httpx.URL(url).port


def connected(address, sent: bytes = b"") -> socket.socket:
    raw = socket.create_connection(address, timeout=PATIENCE)
    raw.sendall(sent)
    return raw


def heard(raw: socket.socket) -> bytes:
    """All that is said until the server closes."""
    parts = []
    while part := raw.recv(2**16):
        parts.append(part)
    return b"".join(parts)


def ping(address) -> int:
    return httpx.get("http://{}:{}/ping".format(*address), timeout=PATIENCE).status_code


def body(size: int) -> bytes:
    return HEAD + b"Content-Length: %d\r\n" % size


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b"HTTP/1.1 408 "),
        (b"GET /ping HT", b"HTTP/1.1 408 "),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 "),
        (body(100) + b"\r\n{", b"HTTP/1.1 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"HTTP/1.1 408 "),
    ],
)
def test_a_request_that_stalls_is_answered_408_and_its_connection_closed(address, sent, status):
    with closing(connected(address, sent)) as raw:
        assert heard(raw).startswith(status)
    assert ping(address) == 200


def test_a_head_that_trickles_byte_by_byte_does_not_get_more_time(address):
    with closing(connected(address)) as raw:
        ended = threading.Event()

        def trickle() -> None:
            for byte in b"GET /ping HTTP/1.1\r\nX: " + b"x" * 10**6:
                try:
                    raw.sendall(bytes([byte]))
                except OSError:
                    return
                if ended.wait(0.05):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert raw.recv(2**16).startswith(b"HTTP/1.1 408 ")
        finally:
            ended.set()
            thread.join()


def test_a_second_request_on_a_connection_has_its_own_time_for_its_head(address):
    with closing(connected(address, b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")) as raw:
        answer = b""
        while not answer.endswith(b"}"):
            answer += raw.recv(2**16)
        raw.sendall(b"GET /ping HT")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert heard(raw).startswith(b"HTTP/1.1 408 ")


def test_bodies_that_stall_hold_no_more_than_all_bodies_may_and_nothing_for_good(app, address):
    with ExitStack() as stack:
        for _ in range(20):
            raw = connected(address, body(MAX_BODY) + b"\r\n")
            stack.callback(raw.close)
            raw.setblocking(False)
            with suppress(BlockingIOError):
                raw.send(b"x" * (MAX_BODY - 1))
            assert app.state.served.reading <= SHORT.bodies + 2**17
    deadline = time.monotonic() + PATIENCE
    while app.state.served.reading and time.monotonic() < deadline:
        time.sleep(0.05)
    assert app.state.served.reading == 0
    assert ping(address) == 200


def test_a_connection_too_many_is_answered_503_and_the_next_one_after_others_ended_is_served(address):
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connected(address, b"GET"))) for _ in range(SHORT.connections + 8)]
        answers = [heard(raw) for raw in opened]
    assert {answer.split(b" ")[1] for answer in answers} == {b"503", b"408"}
    assert ping(address) == 200


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/invocations", b"application/json", b"413"),
        ("/invocations", b"text/html", b"415"),
        ("/nowhere", b"text/csv", b"404"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_all_before_it_listens_gets_the_refusal_and_no_reset(address, path, kind, status, chunked):
    """As urllib does, which asks for the connection to be closed too."""
    size = 8 * 2**20
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\n" % (path.encode(), kind)
    sent = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size if chunked else b"Content-Length: %d\r\n\r\n" % size
    with closing(connected(address, head + sent + b"x" * size + (b"\r\n0\r\n\r\n" if chunked else b""))) as raw:
        answer = heard(raw)
    assert answer.split(b" ")[1] == status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_a_client_that_waits_to_be_asked_for_a_body_over_the_limit_is_refused_at_once(address):
    sent = body(10**9) + b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
    with closing(connected(address, sent)) as raw:
        assert heard(raw).startswith(b"HTTP/1.1 413 ")


def test_an_answer_that_nobody_takes_is_given_up(address):
    rows = json.dumps({"rows": [served.row()] * 3000}).encode()
    request = body(len(rows)) + b"\r\n" + rows
    deadline = time.monotonic() + PATIENCE
    with closing(socket.socket()) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(PATIENCE)
        raw.connect(address)
        with suppress(OSError):  # a reset or a broken pipe ends it; a time-out of the client's own would, too
            while time.monotonic() < deadline:
                raw.sendall(request)
        assert time.monotonic() < deadline
    assert ping(address) == 200
