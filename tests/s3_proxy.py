"""A proxy between a client of S3 and a server, over real sockets, that fails as a plan says."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CODES = {"denied": (403, "AccessDenied"), "slow": (503, "SlowDown"), "broken": (500, "InternalError"),
         "unknown": (501, "NotImplemented")}  # fmt: skip
CONDITIONS = {"if-match", "if-none-match"}
KEPT_BACK = {"connection", "expect", "transfer-encoding", "content-length"}


@dataclass
class Proxy:
    """What a proxy does and has seen.

    Attributes:
        fault: of method and path, what goes wrong with a request: "" nothing; "denied", "slow", "broken" or "unknown"
            an answer of S3; "cut" the connection ends in the middle of what is sent, or of the answer; "lost" it ends
            before the answer to what was done; "hang" nothing comes for long; "careless" the server never sees the
            conditions of a put.
        requests: method and path of each.
    """

    server: str
    address: str = ""
    fault: Callable[[str, str], str] = lambda method, path: ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def proxy(server: str) -> Iterator[Proxy]:
    """A proxy before the server at this address while the block runs."""
    state = Proxy(server)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) as listening:
        listening.daemon_threads = True
        listening.block_on_close = False
        state.address = f"http://127.0.0.1:{listening.server_address[1]}"
        threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield state
        finally:
            state.ended.set()
            listening.shutdown()


def _handler(state: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, *words: Any) -> None:
            pass

        def relay(self) -> None:
            state.requests.append((self.command, self.path))
            fault = state.fault(self.command, self.path)
            length = int(self.headers.get("Content-Length") or 0)
            if fault == "cut" and length:
                self.rfile.read(length // 2)
                self.close_connection = True
                return
            body = self.rfile.read(length)
            if fault == "hang":
                state.ended.wait(60)
                self.close_connection = True
            elif fault in CODES:
                self.refuse(*CODES[fault])
            else:
                self.forward(body, fault)

        def refuse(self, status: int, code: str) -> None:
            text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>planted</Message></Error>'
            self.answer(status, {"Content-Type": "application/xml"}, b"" if self.command == "HEAD" else text.encode())

        def forward(self, body: bytes, fault: str) -> None:
            left_out = KEPT_BACK | (CONDITIONS if fault == "careless" else set())
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            headers["Content-Length"] = str(len(body))
            upstream = http.client.HTTPConnection(state.server.removeprefix("http://"), timeout=60)
            try:
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    upstream.putheader(name, value)
                upstream.endheaders(body)
                got = upstream.getresponse()
                content = got.read()
            finally:
                upstream.close()
            if fault == "lost":
                self.close_connection = True
                return
            self.answer(got.status, dict(got.getheaders()), content, half=fault == "cut")

        def answer(self, status: int, headers: dict[str, str], body: bytes, *, half: bool = False) -> None:
            lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name.lower() not in KEPT_BACK]
            length = headers.get("Content-Length", len(body)) if self.command == "HEAD" else len(body)
            head = f"HTTP/1.1 {status} planted\r\n{''.join(lines)}Content-Length: {length}\r\n\r\n"
            with suppress(OSError):
                self.wfile.write(head.encode("latin-1") + (body[: len(body) // 2] if half else body))
                self.wfile.flush()
            self.close_connection = self.close_connection or half

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = relay

    return Handler


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
