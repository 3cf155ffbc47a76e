"""What a connection may cost: time to send a request and to take its answer, how many there are, and bytes held.

uvicorn has a limit for idle connections only: half a header, half a body or an answer that nobody reads would stay for
ever. `stockkit.cloud.sagemaker.http_protocol` keeps the limits that lie below a request; bodies are read by `serving`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Limits of one server.

    Attributes:
        headers, body, answer: seconds in which a request's head, its body and the taking of its answer must be over.
        linger: seconds for which a body that was refused is still read and thrown away, so that the client gets to
            read the answer and not a reset.
        connections: at once; one more is answered 503.
        bodies: bytes of all bodies that are being read; a request that would hold more is answered 503.
    """

    headers: float = 10.0
    body: float = 60.0
    answer: float = 60.0
    linger: float = 5.0
    connections: int = 256
    bodies: int = 64 * 2**20


@dataclass(frozen=True)
class Lingering:
    """An ASGI application whose answers are completed only when the rest of the request's body has been read."""

    app: Any
    seconds: float

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        more = _has_body(scope["headers"])

        async def receiving() -> Any:
            nonlocal more
            message = await receive()
            more = more and message.get("more_body", False)
            return message

        async def sending(message: Any) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not (last and more):
                await send(message)
                return
            await send(message | {"more_body": True})
            try:
                async with asyncio.timeout(self.seconds):
                    while more:
                        await receiving()
            except TimeoutError:
                pass  # the time is over; the connection is closed
            await send({"type": "http.response.body", "body": b""})

        await self.app(scope, receiving, sending)


def _has_body(headers: Any) -> bool:
    """Whether a body is on its way: a client that waits to be asked for it (100-continue) is not asked."""
    named = dict(headers)
    if named.get(b"expect", b"").lower() == b"100-continue":
        return False
    return b"transfer-encoding" in named or named.get(b"content-length", b"0") != b"0"
