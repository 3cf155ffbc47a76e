"""One HTTP answer, whole or not at all, asked for with a key that nothing can show.

The key is added below the HTTP client, in its transport: requests, log lines and exceptions of the client
never hold it. An answer may repeat it: errors are made anew where no local variable holds the answer, and raised
outside of `except` blocks, so that no traceback leads back to it, even one that shows variables.
"""

from __future__ import annotations

import math
import re
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from time import monotonic
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx
import stamina

from stockkit.errors import SourceError, SourceUnavailable
from stockkit.intake.secrets import Secret, keep_out_of_logs

LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))
HEADERS = {"Accept": "text/csv, application/json", "Accept-Encoding": "gzip", "User-Agent": "stockkit"}
LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


@dataclass(frozen=True)
class Limits:
    """What an answer may cost: bytes when unpacked, seconds to connect, to the next byte, and in all.

    `total` is the time of all attempts together, from the first connection to the last byte of the last answer; only
    the waits between attempts are not counted.
    """

    size: int = 64 * 1024 * 1024
    connect: float = 10.0
    read: float = 30.0
    total: float = 120.0


@dataclass(frozen=True)
class Patience:
    """How often to try, and how many seconds to wait in between: doubling from `first` to `longest`, plus jitter.

    A Retry-After up to `longest` is obeyed; a longer one ends the attempts.
    """

    attempts: int = 3
    first: float = 1.0
    longest: float = 60.0
    jitter: float = 1.0


@dataclass(frozen=True)
class Reply:
    """A complete answer with status 200: its bytes, unpacked, and its content type, lower case."""

    body: bytes = field(repr=False)
    content_type: str = field(repr=False)


@dataclass(frozen=True)
class KeyedRequest:
    """What to ask, and how: `http` from `client`, `url` and `params` without the key, `who` for messages."""

    http: httpx.Client
    url: httpx.URL
    params: Mapping[str, str]
    secret: Secret
    who: str
    limits: Limits
    patience: Patience


class _Deadline(threading.local):
    """When the request that this thread is sending has to be over, by the monotonic clock."""

    end = math.inf

    def left(self, timeout: float | None, error: type[httpx.TimeoutException]) -> float | None:
        """`timeout`, or less where the end is nearer; raises `error` after the end."""
        left = self.end - monotonic()
        if left <= 0:
            raise error("the whole request took too long")
        return min((limit for limit in (timeout, left) if limit is not None and limit < math.inf), default=None)


DEADLINE = _Deadline()


class _Timed:
    """A network stream of httpcore's that keeps to the deadline: a byte in time does not give the next one more."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        received: bytes = self._inner.read(max_bytes, DEADLINE.left(timeout, httpx.ReadTimeout))
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, DEADLINE.left(timeout, httpx.WriteTimeout))

    def start_tls(self, *words: Any, timeout: float | None = None, **more: Any) -> _Timed:
        return _Timed(self._inner.start_tls(*words, timeout=DEADLINE.left(timeout, httpx.ConnectTimeout), **more))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _TimedBackend:
    """httpcore's network backend, whose streams keep to the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, *words: Any, timeout: float | None = None, **more: Any) -> _Timed:
        return _Timed(self._inner.connect_tcp(*words, timeout=DEADLINE.left(timeout, httpx.ConnectTimeout), **more))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Again(SourceError):
    """A trouble that may pass; never leaves this module."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Keyed(httpx.BaseTransport):
    """Adds the key to the URL on its way out."""

    def __init__(self, inner: httpx.BaseTransport, parameter: str, secret: Secret) -> None:
        self._inner, self._parameter, self._secret = inner, parameter, secret

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._inner.handle_request(
            httpx.Request(
                request.method,
                request.url.copy_merge_params({self._parameter: self._secret.reveal()}),
                headers=request.headers,
                extensions=request.extensions,
            )
        )

    def close(self) -> None:
        self._inner.close()


def client(url: httpx.URL, *, parameter: str, secret: Secret, limits: Limits, connections: int) -> httpx.Client:
    """An HTTP client for one host, that sends `secret` as the query parameter `parameter`.

    It follows no redirect, which could carry the key elsewhere, and uses the environment's proxy, but not for
    the machine itself.
    """
    keep_out_of_logs(secret, LOGGERS)
    proxy = None if LOOPBACK.fullmatch(url.host) or proxy_bypass(url.host) else getproxies().get(url.scheme)
    transport = httpx.HTTPTransport(proxy=proxy, limits=httpx.Limits(max_connections=connections))
    pool: Any = transport._pool  # httpx has no limit on a whole request, and no other way to the sockets
    pool._network_backend = _TimedBackend(pool._network_backend)
    timeout = httpx.Timeout(limits.read, connect=limits.connect)
    return httpx.Client(
        transport=_Keyed(transport, parameter, secret), headers=HEADERS, timeout=timeout, follow_redirects=False
    )


def get(request: KeyedRequest, *, take: Callable[[], None]) -> Reply:
    """Ask until there is a whole answer; try again only after 429, 5xx, a time-out or a broken connection.

    Args:
        request: what to ask.
        take: called before each attempt, to count it; what it raises ends the attempts.

    Raises:
        SourceError: no attempt gave a whole answer; says why the last one did not, without the secret.
    """
    patience, left = request.patience, request.limits.total
    try:
        for attempt in stamina.retry_context(
            on=_wait,
            attempts=patience.attempts,
            timeout=None,
            wait_initial=patience.first,
            wait_max=patience.longest,
            wait_jitter=patience.jitter,
        ):
            with attempt:
                take()
                started = monotonic()
                try:
                    return _once(request, started + left)
                finally:
                    left -= monotonic() - started
    except _Again as error:
        reason = str(error)
    raise SourceUnavailable(f"{reason} Tried {patience.attempts} times; run again later.")


def _wait(error: Exception) -> bool | float:
    if not isinstance(error, _Again):
        return False
    return True if error.wait is None else error.wait


def _once(request: KeyedRequest, end: float) -> Reply:
    DEADLINE.end = end
    try:
        outcome = _ask(request)
    finally:
        DEADLINE.end = math.inf
    if isinstance(outcome, SourceError):
        raise outcome
    return outcome


def _ask(request: KeyedRequest) -> Reply | SourceError:
    host, who, scrub = request.url.host, request.who, request.secret.scrub
    try:
        with request.http.stream("GET", request.url, params=request.params) as response:
            _check_status(response, request.secret, request.patience)
            return Reply(_body(response, request.limits), response.headers.get("content-type", "").lower())
    except httpx.TimeoutException as error:
        if monotonic() >= DEADLINE.end:
            return SourceUnavailable(f"{who}: {host} took more than {request.limits.total:g} s to answer.")
        return _Again(f"{who}: {host} did not answer in time ({type(error).__name__}).")
    except httpx.TransportError as error:
        return _Again(f"{who}: the connection to {host} failed ({type(error).__name__}: {scrub(str(error))}).")
    except _Again as error:
        return _Again(f"{who}: {error}", error.wait)
    except SourceError as error:
        return type(error)(f"{who}: {error}")


def _check_status(response: httpx.Response, secret: Secret, patience: Patience) -> None:
    code, host = response.status_code, response.url.host
    if code == HTTPStatus.OK:
        return
    reason = f"{host} answered HTTP {code} ({responses.get(code, 'unknown status')})."
    if response.has_redirect_location:
        target = secret.scrub(response.url.join(response.headers["location"]).host)
        raise SourceError(f"{reason} It points to {target or 'nowhere'}; redirects are not followed with a key.")
    if code != HTTPStatus.TOO_MANY_REQUESTS and code < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise SourceError(reason)
    wait = retry_after(response.headers.get("retry-after", ""))
    if wait is not None and wait > patience.longest:
        raise SourceUnavailable(f"{reason} It asks to come back in {wait:.0f} s: run again then.")
    raise _Again(reason, wait)


def retry_after(text: str) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date); None without one."""
    if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _body(response: httpx.Response, limits: Limits) -> bytes:
    """The whole body, unpacked here: the client's own decoder takes a cut-off gzip stream for a whole one."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise SourceError(f"{response.url.host} sent an unknown content encoding.")
    unzip = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
    parts, size = [], 0
    for chunk in response.iter_raw():
        piece = _unpack(unzip, chunk, limits.size - size + 1) if unzip else chunk
        parts.append(piece)
        size += len(piece)
        if size > limits.size:
            raise SourceError(f"{response.url.host} sent more than {limits.size / 2**20:.0f} MiB: no daily bars.")
    if unzip and (not unzip.eof or unzip.unused_data):
        raise SourceError(f"{response.url.host} sent a gzip stream that is cut off.")
    return b"".join(parts)


def _unpack(unzip: zlib._Decompress, chunk: bytes, most: int) -> bytes:
    try:
        return unzip.decompress(chunk, most)
    except zlib.error:
        raise SourceError("the answer says that it is gzip, and cannot be unpacked.") from None
