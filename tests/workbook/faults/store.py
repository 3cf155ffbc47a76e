"""A proxy before an S3 server that does what a store does on a bad day; run as ``store.py ADDRESS``, prints its port.

The first part of a key says which day it is; only data files suffer, so that it is the cell which meets it.
"""

from __future__ import annotations

import http.client
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

REFUSAL = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>planted</Message></Error>"


class Handler(BaseHTTPRequestHandler):
    """One request, passed on or spoilt."""

    protocol_version = "HTTP/1.1"
    upstream = ""

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        day = path.split("/")[2] if path.endswith(".parquet") else ""
        if day == "denied" and self.command == "PUT":
            self.reply(403, REFUSAL.format(code="AccessDenied").encode())
        elif day == "throttled" and self.command == "PUT":
            self.reply(503, REFUSAL.format(code="SlowDown").encode())
        else:
            if day == "slow":
                time.sleep(20)
            self.forward(body, cut=day == "truncated" and self.command == "GET")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_request

    def forward(self, body: bytes, *, cut: bool) -> None:
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        text = answer.read()
        names = {"content-length", "transfer-encoding", "connection"}
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in names}
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(text))
        self.reply(answer.status, text[: len(text) // 2] if cut else text, {**headers, "Content-Length": length})
        self.close_connection = cut

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Handler.upstream = urlsplit(sys.argv[1]).netloc
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
