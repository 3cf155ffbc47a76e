"""The page over HTTP: GET / is the page, GET /events what changes on it (server-sent events). Nothing can be changed.

Every browser reads at its own pace; one that takes nothing for some seconds is let go, and comes back by itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import TYPE_CHECKING, Any

from stockkit.errors import ParamError, StreamError
from stockkit.stream.watch.feed import Feed, Reader

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

POLL = 0.25  # seconds
CLIENTS = 64  # browsers at once
PATIENCE = 10.0  # seconds in which a browser has to take a message
SILENCE = 15.0  # seconds after which a line is sent although nothing changed, which tells who is gone
GRACE = 2  # seconds that connections get at the end
HERE = ("127.0.0.1", "localhost", "[::1]")  # the names under which a page on this machine is asked for
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
log = logging.getLogger(__name__)


class Hub:
    """The feed, what reads the store for it, and the browsers that wait for news."""

    def __init__(self, reader: Reader, ended: Callable[[], bool] = lambda: False) -> None:
        self.feed = Feed()
        self.clients = 0
        self.over = False
        self._reader, self._ended = reader, ended
        self._news = asyncio.Event()

    async def poll(self) -> None:
        """Read the store again and again, in a thread of its own, until the server ends."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            try:
                while not self._ended():
                    reading = await loop.run_in_executor(thread, self._reader.read)
                    if self.feed.take(reading, _now()):
                        self._tell()
                    await asyncio.sleep(POLL)
            finally:
                self.over = True
                self._tell()
                await asyncio.shield(loop.run_in_executor(thread, self._reader.close))

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self, gone: asyncio.Future[None]) -> None:
        """Until there is news, the browser is gone, or it is time for a sign of life."""
        news = asyncio.ensure_future(self._news.wait())
        awaited: set[asyncio.Future[Any]] = {news, gone}
        await asyncio.wait(awaited, timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()


class Events:
    """The ASGI application that pushes what changes to one browser after the other."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one browser until it is gone, is too slow, or the server ends."""
        hub = self._hub
        if hub.clients >= CLIENTS or scope["method"] != "GET":
            await _refuse(scope, receive, send, hub.clients)
            return
        hub.clients += 1
        gone = asyncio.ensure_future(_gone(receive))
        try:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for message in self._messages(gone):
                async with asyncio.timeout(PATIENCE):
                    await send({"type": "http.response.body", "body": message, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            log.info("event=slow client let go")
        finally:
            gone.cancel()
            hub.clients -= 1

    async def _messages(self, gone: asyncio.Future[None]) -> AsyncIterator[bytes]:
        hub, version = self._hub, 0
        yield b"retry: 2000\n\n"
        while not hub.over and not gone.done():
            if version < hub.feed.version:
                changes = hub.feed.since(version, _now())
                version = changes["version"]
                yield b"data: %s\n\n" % json.dumps(changes, separators=(",", ":")).encode()
            else:
                yield b": nothing new\n\n"
            if version == hub.feed.version:
                await hub.wait(gone)


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(scope: Any, receive: Any, send: Any, clients: int) -> None:
    from starlette.responses import PlainTextResponse

    if scope["method"] != "GET":
        refusal = PlainTextResponse("only GET.\n", 405, {**HEADERS, "allow": "GET"})
    else:
        why = f"{clients} pages are open already: close one.\n"
        refusal = PlainTextResponse(why, 503, {**HEADERS, "retry-after": "5"})
    await refusal(scope, receive, send)


def application(
    reader: Reader, *, names: tuple[str, ...] = HERE, ended: Callable[[], bool] = lambda: False
) -> Starlette:
    """The ASGI application of the page.

    Args:
        reader: of the store.
        names: hosts under which it may be asked for (a page of another site that points its name here is refused);
            any when empty.
        ended: tells when the server ends, so that browsers do not hold it up.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    hub = Hub(reader, ended)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(hub.poll())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    routes = [Route("/", _page, methods=["GET"]), Route("/events", Events(hub))]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.hub = hub
    return _Named(app, names) if names else app  # type: ignore[return-value]


class _Named:
    """An application that answers only where it is asked for under one of its names."""

    def __init__(self, app: Any, names: tuple[str, ...]) -> None:
        self._app, self._names = app, names
        self.state = app.state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import PlainTextResponse

        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            if name not in self._names:
                refusal = PlainTextResponse(f"ask for this page as {self._names[0]}.\n", 421, HEADERS)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _page(request: Request) -> Response:
    from starlette.responses import HTMLResponse

    nonce = secrets.token_urlsafe(16)
    text = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(text.replace("NONCE", nonce), headers={**HEADERS, "content-security-policy": policy})


def serve(reader: Reader, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page until SIGTERM or Ctrl-C.

    Args:
        reader: of the store.
        host: the address to listen on; where it is not of this machine alone, the page answers to any name.
        port: 0 for a free one.
        ready: gets the page's address when it can be opened.

    Raises:
        StreamError: it cannot listen there.
    """
    import uvicorn

    def ended() -> bool:
        return bool(server.should_exit)

    def end(*_: object) -> None:  # before uvicorn looks after signals itself, and when it hands them on at the end
        server.should_exit = True

    shown = f"[{host}]" if ":" in host else host
    app = application(reader, names=(*HERE, shown) if is_loopback(host) else (), ended=ended)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="on", ws="none", server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # a browser that was let go is no error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with _listener(host, port) as listener:
        ready(f"http://{shown}:{listener.getsockname()[1]}/")
        server.run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    Raises:
        ParamError: it is no address, nor localhost.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise ParamError(f"--host {host}: give an address, as in 127.0.0.1, ::1 or 0.0.0.0.") from error


def _listener(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise StreamError(f"cannot listen on {host} port {port}: {error}. Take another with --port.") from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a message waits up to 40 ms
    return listener


def _now() -> int:
    return time.time_ns() // 1_000
