"""A stand-in for Alpha Vantage: a real HTTP server on this machine, with its good and bad days.

The good answers have the layout of the provider's documentation; the refusals have the wording that users report.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from stockkit.market import simulate

Answer = Callable[["Handler"], None]
BARS = simulate.bars(["IBM"], count=300, last="2026-11-20", rng=np.random.default_rng(5))
PLAIN = simulate.csv_bytes(BARS)
BURST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly (1 "
    "request per second). You may subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to "
    "lift the free key rate limit (25 requests per day), raise the per-second burst limit, and instantly unlock all "
    "premium endpoints"
)
DAILY = (
    "We have detected your API key as {key} and our standard API rate limit is 25 requests per day. Please subscribe "
    "to any of the premium plans at https://www.alphavantage.co/premium/ to instantly remove all daily rate limits."
)
PREMIUM = (
    "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the premium plans at "
    "https://www.alphavantage.co/premium/ to instantly unlock all premium endpoints"
)


def lines(body: bytes = PLAIN) -> list[bytes]:
    return body.splitlines(keepends=True)


class Handler(BaseHTTPRequestHandler):
    """One request; `key` and `symbol` are what the client sent."""

    server: Any
    key = symbol = ""

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.key, self.symbol = asked.get("apikey", ""), asked.get("symbol", "")
        home: Server = self.server.home
        home.requests.append({"at": time.time(), "path": urlsplit(self.path).path, **asked})
        with home.under_way():
            home.answer_of(self.symbol, len(home.requests))(self)

    def reply(self, body: bytes, *, status: int = 200, kind: str = "application/x-download", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server:
    """A running server: `url`, what it was asked (`requests`), how many at once (`most`), and what it answers.

    Args:
        answers: what to do for each request in turn, the last one for ever; or by symbol in `by_symbol`.
    """

    def __init__(self, *answers: Answer, **by_symbol: Answer) -> None:
        self.answers, self.by_symbol = answers, by_symbol
        self.requests: list[dict[str, Any]] = []
        self.most = self._now = 0
        self._counted = threading.Condition()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a request while it is answered."""
        with self._counted:
            self._now += 1
            self.most = max(self.most, self._now)
            self._counted.notify_all()
        try:
            yield
        finally:
            with self._counted:
                self._now -= 1

    def wait_for(self, most: int, *, patience: float = 30.0) -> bool:
        """Wait until so many requests were under way at once; False where they never were."""
        with self._counted:
            return self._counted.wait_for(lambda: self.most >= most, patience)

    def answer_of(self, symbol: str, count: int) -> Answer:
        return self.by_symbol.get(symbol) or self.answers[min(count, len(self.answers)) - 1]

    def __enter__(self) -> Server:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.home = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def csv(body: bytes = PLAIN, **headers: str) -> Answer:
    return lambda handler: handler.reply(body, **headers)


def json_of(word: str, text: str) -> Answer:
    def answer(handler: Handler) -> None:
        body = json.dumps({word: text.format(key=handler.key)}).encode()
        handler.reply(body, kind="application/json")

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(code, f"no {handler.key}")
        for name, value in {"Content-Length": "0", "X-Key": handler.key, **headers}.items():
            handler.send_header(name.replace("_", "-"), value.format(key=handler.key))
        handler.end_headers()

    return answer


def redirect(target: str) -> Answer:
    return status(302, Location=target + "?apikey={key}")


def cut_off_below_its_declared_length(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PLAIN)))
    handler.end_headers()
    handler.wfile.write(b"".join(lines()[:100]))
    handler.close_connection = True


def cut_off_in_a_chunk(handler: Handler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    part = b"".join(lines()[:100])
    handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def slow(seconds: float) -> Answer:
    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        hang_up(handler)

    return answer


def trickle(handler: Handler) -> None:
    """Bytes that keep coming, each in time, and never end."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b"timestamp,")
            time.sleep(0.02)
    except OSError:
        handler.close_connection = True


def header_by_the_byte(handler: Handler) -> None:
    """A header whose bytes come one at a time, each in time, and never end."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Wait: ")
        for _ in range(200):
            handler.wfile.write(b"a")
            time.sleep(0.02)
    except OSError:
        pass
    handler.close_connection = True


def gzipped(body: bytes = PLAIN, *, keep: int | None = None) -> Answer:
    return lambda handler: handler.reply(gzip.compress(body)[:keep], Content_Encoding="gzip")


def html(handler: Handler) -> None:
    page = f"<!DOCTYPE html><html><body>503, your key {handler.key}</body></html>"
    handler.reply(page.encode(), kind="text/html")


def key_in_the_header(handler: Handler) -> None:
    handler.reply(f"timestamp,{handler.key}\n".encode() + PLAIN)


def key_in_the_csv(handler: Handler) -> None:
    handler.reply(PLAIN + f"# key {handler.key}\n".encode())


def key_in_the_csv_as(form: Callable[[str], str]) -> Answer:
    return lambda handler: handler.reply(PLAIN + f"# key {form(handler.key)}\n".encode())
