"""A receiver of webhooks over a real socket, with bad days."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RESET, LATE = "reset", "late"  # it takes the alert, and then closes the connection at once, or never answers


class Receiver:
    """What arrived, and how the next requests are answered: status, (status, headers), `RESET` or `LATE`; else 200."""

    def __init__(self) -> None:
        self.days: list[Any] = []
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.go_on = threading.Event()
        self.address = ""

    @property
    def ids(self) -> list[str]:
        """The ids of what was taken, each once, as a receiver has to take them."""
        return list(dict.fromkeys(body["id"] for body in self.bodies))


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a port of its own while the block runs."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append((self.path, dict(self.headers)))
            day = state.days.pop(0) if state.days else 200
            if day in (RESET, LATE, 200):
                state.bodies.append(body)
            if day == LATE:
                state.go_on.wait(60)
                self.close_connection = True
            elif day == RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            else:
                self._answer(*day if isinstance(day, tuple) else (day, {}))

        def _answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *words: None  # type: ignore[method-assign]
        state.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            state.go_on.set()
            server.shutdown()
            thread.join()
