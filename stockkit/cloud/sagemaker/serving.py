"""A saved model behind HTTP, by SageMaker's inference contract: GET /ping and POST /invocations on one port.

The contract is in the SageMaker AI developer guide, "Custom Inference Code with Hosting Services": the container is
started with the word `serve`, answers /ping within 2 s, gets SIGTERM when it is to end and SIGKILL 30 s later.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stockkit.cloud.sagemaker import content_types, openapi, responses, rows
from stockkit.cloud.sagemaker.connections import Limits, Lingering
from stockkit.errors import ForecastError, RequestError, StockkitError
from stockkit.forecast.models.protocol import Series
from stockkit.forecast.walk.trained import Trained

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MAX_BODY = 6 * 2**20  # bytes: what batch transform sends at most unless told otherwise (MaxPayloadInMB)
GRACE = 25  # seconds that running requests get after SIGTERM
KEEP_ALIVE = 75  # seconds that an idle connection stays open: longer than a load balancer's 60
FAULT = "a fault of the server; its log says which."
LOG = logging.getLogger("stockkit.serving")


@dataclass
class Served:
    """What the server holds: nothing until the model is loaded, then the model with what its rows must have."""

    max_body: int
    max_rows: int
    limits: Limits = field(default_factory=Limits)
    reading: int = 0  # bytes of the bodies that are being read
    contract: rows.Contract | None = None

    def put(self, trained: Trained) -> None:
        """Serve `trained` from now on."""
        self.contract = rows.Contract.for_model(trained, self.max_rows)

    def get(self) -> rows.Contract:
        """The model with its contract; RequestError (503) where it is not loaded yet."""
        if self.contract is None:
            raise RequestError("the model is being loaded: try again in a few seconds.", status=503)
        return self.contract


def application(
    model: Trained | Callable[[], Trained],
    *,
    max_body: int = MAX_BODY,
    max_rows: int = rows.MAX_ROWS,
    limits: Limits | None = None,
    on_failure: Callable[[BaseException], None] | None = None,
) -> Starlette:
    """The ASGI application that serves one model.

    Args:
        model: what to serve, or a function that loads it; while it runs, /ping answers 503.
        max_body: bytes of a request's body; more is 413, and is not kept.
        max_rows: rows of a request; more is 400.
        limits: of connections and bodies.
        on_failure: called with the error when the model cannot be loaded.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect
    from starlette.routing import Route

    served = Served(max_body, max_rows, limits or Limits())
    if isinstance(model, Trained):
        served.put(model)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = None if isinstance(model, Trained) else asyncio.create_task(_load(served, model))
        if task and on_failure:
            task.add_done_callback(lambda done: _tell(done, on_failure))
        yield
        if task:
            task.cancel()

    routes = [
        Route("/ping", _ping, methods=["GET"]),
        Route("/invocations", _invocations, methods=["POST"]),
        Route("/openapi.json", _document, methods=["GET"]),
        Route("/", _page, methods=["GET"]),
    ]
    handlers: Any = {
        RequestError: _refused, HTTPException: _no_such, ClientDisconnect: _gone, Exception: _fault,
    }  # fmt: skip
    lingering = Middleware(Lingering, seconds=served.limits.linger)
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan, middleware=[lingering])
    app.state.served = served
    return app


async def _load(served: Served, load: Callable[[], Trained]) -> None:
    trained = await asyncio.to_thread(_warm, load)
    served.put(trained)
    LOG.info(f"event=loaded model={trained.model} horizon={trained.horizon} symbols={len(trained.symbols)}")


def _warm(load: Callable[[], Trained]) -> Trained:
    """Load, and forecast once: the libraries that a model needs are imported now, not in the first request."""
    trained = load()
    days = np.arange("2000-01-01", "2000-02-10", dtype="datetime64[D]").astype("datetime64[ns]")
    blank = np.full((len(days), len(trained.features)), np.nan)
    for symbol in trained.symbols[:1]:
        with suppress(ForecastError):  # these rows mean nothing; a request's rows get the message
            trained.forecast(Series(symbol, days, np.linspace(10, 11, len(days)), blank, trained.features))
    return trained


def _tell(done: asyncio.Task[None], on_failure: Callable[[BaseException], None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error:
        on_failure(error)


async def _ping(request: Request) -> Response:
    trained = _served(request).get().trained
    used = {"features": len(trained.features), "features_used": list(trained.used)}
    return _json({"status": "ok", "model": trained.model, "horizon": trained.horizon, **used})


async def _invocations(request: Request) -> Response:
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response

    served, headers = _served(request), request.headers
    contract = served.get()
    kind = content_types.content_type(headers.get("content-type"), headers.get("content-encoding"))
    wanted = content_types.accepted(headers.get("accept"), kind)
    body = await _body(request, served)
    # in a thread, so that /ping answers during a large batch or a slow model; it costs no more (benchmarks/serving.py)
    try:
        answer = await run_in_threadpool(_answer, contract, body, kind, wanted)
    except RequestError:
        raise
    except Exception as error:  # here, as one that went further up would have the connection closed under the client
        LOG.exception("event=fault path=/invocations")
        raise RequestError(FAULT, status=500) from error
    return Response(answer, media_type=wanted)


def _answer(contract: rows.Contract, body: bytes, kind: str, wanted: str) -> bytes:
    forecasts = responses.forecast(contract.trained, rows.read(body, kind, contract))
    return responses.write(contract.trained, forecasts, wanted)


async def _body(request: Request, served: Served) -> bytes:
    """The body, kept no further than its limit and that of all bodies; starlette's own limit would answer in text."""
    limit, limits = served.max_body, served.limits
    too_long = RequestError(f"the body is over {limit:,} bytes: send fewer rows at a time.", status=413)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body):
            async for chunk in request.stream():
                body += chunk
                served.reading += len(chunk)
                if len(body) > limit:
                    raise too_long
                if served.reading > limits.bodies:
                    raise RequestError("too many requests are being read: try again in a few seconds.", status=503)
        return bytes(body)
    except TimeoutError as error:
        what = f"the body was not there after {limits.body:g} s: {len(body):,} bytes had come."
        raise RequestError(what, status=408) from error
    finally:
        served.reading -= len(body)


async def _document(request: Request) -> Response:
    served = _served(request)
    return _json(openapi.document(served.get(), max_body=served.max_body))


async def _page(request: Request) -> Response:
    from starlette.responses import HTMLResponse

    host, port = request.scope["server"]  # not the Host header, which anyone can write
    return HTMLResponse(openapi.page(_served(request).get().trained, f"http://{host}:{port}/"))


def _served(request: Request) -> Served:
    return request.app.state.served


def _json(document: dict[str, Any], status: int = 200, headers: Any = None) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(document, status, headers)


def _error(what: str, status: int, *, field: str = "", headers: Any = None) -> Response:
    return _json({"error": {"field": field or None, "message": what}}, status, headers)


async def _refused(_: Request, error: RequestError) -> Response:
    return _error(str(error), error.status, field=error.field)


async def _no_such(request: Request, error: Any) -> Response:
    known = "GET /ping, POST /invocations, GET /openapi.json, GET /"
    what = f"{request.method} {request.scope['path'][:60]}: there are {known}."
    return _error(what, error.status_code, headers=error.headers)


async def _gone(_: Request, error: Exception) -> Response:
    return _error("the body ended early.", 400)  # nobody reads it, and it is no fault of ours


async def _fault(_: Request, error: Exception) -> Response:
    return _error(FAULT, 500)


def serve(load: Callable[[], Trained], *, host: str, port: int, max_body: int = MAX_BODY) -> None:
    """Serve until SIGTERM or SIGINT; running requests may end (25 s), then the process ends with exit code 0.

    Args:
        load: loads the model; runs while /ping already answers (503). What it raises ends the server and is raised.
        host: the address to listen on. port: the port; 0 takes a free one, which the log tells.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # while loading; and uvicorn raises it again after its work
    failures: list[BaseException] = []

    def stop(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    server = uvicorn_server(application(load, max_body=max_body, on_failure=stop))
    with _listener(host, port) as listener:
        LOG.info(f"event=listening host={host} port={listener.getsockname()[1]}")
        server.run(sockets=[listener])
    if failures:
        raise failures[0]


def uvicorn_server(app: Starlette) -> Any:
    """The server of an application, by the limits that it was made with."""
    import uvicorn

    from stockkit.cloud.sagemaker.http_protocol import protocol

    limits = app.state.served.limits
    return uvicorn.Server(
        uvicorn.Config(
            app, http=protocol(limits), log_config=None, access_log=False, lifespan="on", ws="none",
            server_header=False, timeout_graceful_shutdown=GRACE, timeout_keep_alive=KEEP_ALIVE,
        )
    )  # fmt: skip


def _listener(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise StockkitError(f"cannot listen on {host} port {port}: {error}. Take another with --port.") from error
    # asyncio does this only for sockets that name their protocol; without it an answer waits 40 ms for the client
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
