"""boto3 over a network that loses answers after the service acted, and requests before it: nothing is doubled."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

from stockkit.aws import Session
from stockkit.cloud.lambdas.outbox import LEASE
from tests.cloud.lambdas.services import Amazon, Memory, event
from tests.cloud.lambdas.test_trend import Clock, function, ticks


@contextmanager
def losing(address: str, rng: Random) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A proxy before `address` that cuts some connections before the request went on, and some after; and which."""
    lost: list[tuple[str, str]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fate = rng.choice(["", "", "", "request", "answer"])
            if fate:
                lost.append((fate, self.headers["X-Amz-Target"]))
            if fate != "request":
                onward = HTTPConnection(urlsplit(address).netloc)
                onward.request("POST", self.path, body, dict(self.headers))
                answer = onward.getresponse()
                self._answer(answer.status, answer.getheaders(), answer.read()) if not fate else None
                onward.close()
            if fate:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() in ("content-type", "x-amzn-requestid"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", lost
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_lost_requests_and_answers_double_nothing_and_lose_nothing(aws, monkeypatch):
    records, clock, first = ticks([1 + (number * 7) % 11 for number in range(24)]), Clock(), 0
    expected = alerts_without_faults(records)
    with closing(Amazon()) as services, losing(aws, Random(5)) as (lossy, lost):
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", lossy)
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # boto3's pauses between retries
        made = function(services, clock, dynamodb=Session().client("dynamodb"))
        while first < len(records):
            answer = made.handle(event(records[first : first + 4], first=first))
            first += 0 if answer["batchItemFailures"] else 4
        assert any(fate == "answer" and call.endswith("TransactWriteItems") for fate, call in lost)
        clock.time += LEASE + 1
        function(services, clock).outbox.publish_waiting()

        assert services.item("states", "A")["number"]["N"] == str(len(records))
        assert {name for name, _ in services.messages()} == expected
        outbox = services.client("dynamodb").scan(TableName="outbox", ConsistentRead=True)["Items"]
        assert {item["id"]["S"] for item in outbox if "waiting" not in item} == expected


def alerts_without_faults(records: list[bytes]) -> set[str]:
    services = Memory()
    function(services).handle(event(records))
    names = {name for name, _ in services.messages()}
    assert len(names) > 5
    return names
