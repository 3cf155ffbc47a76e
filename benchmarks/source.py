"""Alpha Vantage's answers from this machine: a server process that holds each symbol's CSV in memory."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlsplit

import pandas as pd

from stockkit.market import simulate


@contextmanager
def serving(bars: pd.DataFrame, *, after: float = 0.0) -> Iterator[str]:
    """The address of a server that answers with each symbol's bars, `after` seconds, while the block runs."""
    answers = {symbol: simulate.csv_bytes(rows) for symbol, rows in bars.groupby("symbol")}
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=_serve, args=(answers, after, there), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/query"
    finally:
        server.terminate()
        server.join()


def _serve(answers: dict[str, bytes], after: float, port: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            time.sleep(after)
            body = answers[parse_qs(urlsplit(self.path).query)["symbol"][0]]
            self.send_response(200)
            self.send_header("Content-Type", "application/x-download")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(http.server_address[1])
    http.serve_forever()
