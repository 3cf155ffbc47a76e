"""uvicorn's HTTP/1.1 with limits: on the time for a head and for taking an answer, and on the number of connections."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from stockkit.cloud.sagemaker.connections import Limits


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """The HTTP/1.1 protocol of uvicorn with `limits`."""
    return type("Limited", (_Limited,), {"limits": limits})


class _Limited(H11Protocol):
    limits = Limits()
    head_timer: asyncio.TimerHandle | None = None
    answer_timer: asyncio.TimerHandle | None = None
    ended = False  # the answer is sent; what still comes is thrown away

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections: try again in a few seconds.")
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self.ended or self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._stop("head_timer")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop("head_timer")
        self._stop("answer_timer")
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # the rest of a refused body: it has been read for long enough
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.answer_timer = self.loop.call_later(self.limits.answer, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop("answer_timer")
        super().resume_writing()

    def _expect_head(self) -> None:
        """Once for each head, however many pieces it comes in."""
        if self.head_timer is None:
            late = partial(self._end, HTTPStatus.REQUEST_TIMEOUT, "the head of the request took too long.")
            self.head_timer = self.loop.call_later(self.limits.headers, late)

    def _stop(self, name: str) -> None:
        timer = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)

    def _end(self, status: HTTPStatus, what: str) -> None:
        if self.transport.is_closing():
            return
        body = json.dumps({"error": {"field": None, "message": what}}).encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.write_eof()
        self.ended = True
        self.loop.call_later(self.limits.linger, self.transport.close)  # at once would reset what is on its way
