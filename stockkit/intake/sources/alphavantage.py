"""Alpha Vantage as a source: its daily bars as CSV, as traded, within its free allowance.

Its refusals come with HTTP status 200, as JSON even where CSV was asked for, and repeat the key. All that is not
a whole CSV of daily bars is a `SourceError` here; the bytes of one that is are handed on verbatim.
"""

from __future__ import annotations

import json
import math
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import pandas as pd

from stockkit.errors import ParamError, SourceError
from stockkit.intake.secrets import Secret, resolve
from stockkit.intake.sources import download
from stockkit.intake.sources.budget import BUDGET_FILE, Budget, share_out
from stockkit.intake.sources.source import Opening, Quote, Source
from stockkit.market import schema, sessions
from stockkit.market.answers import headers, text

PUBLIC_URL = "https://www.alphavantage.co/query"
REFERENCE = "secret://alphavantage"
FUNCTIONS = {"alphavantage": "TIME_SERIES_DAILY", "alphavantage:adjusted": "TIME_SERIES_DAILY_ADJUSTED"}
QUOTE = "GLOBAL_QUOTE"
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
EVENTS = ("split_coefficient", "dividend_amount")
CSV_TYPES = ("", "text/csv", "text/plain", "application/csv", "application/x-download", "application/octet-stream")
TOO_FAST = re.compile(r"per second|per minute|spread(ing)? out|burst", re.IGNORECASE)
DAY_SPENT = re.compile(r"per day|daily", re.IGNORECASE)
HINTS = {
    "premium": "It is not in the free plan: use the source alphavantage in place of alphavantage:adjusted, and for "
    "the last 100 days only, which are free, set STOCKKIT_ALPHAVANTAGE_OUTPUTSIZE=compact.",
    "apikey": "Check STOCKKIT_SECRET_ALPHAVANTAGE; a free key is at https://www.alphavantage.co/support/#api-key.",
    "Invalid API call": "Probably it does not know the symbol.",
}


@dataclass(frozen=True)
class AlphaVantage(Source):
    """Alpha Vantage's daily bars.

    Args:
        name: how the raw zone files its answers.
        function: TIME_SERIES_DAILY, or TIME_SERIES_DAILY_ADJUSTED (paid plans), which also tells splits and dividends.
        url: of the endpoint.
        secret: the key.
        budget: counts the requests.
        full: ask for the whole history at first; otherwise only ever for the last 100 rows.
        concurrency: how many answers may be under way at once.
    """

    name: str
    function: str
    url: httpx.URL
    secret: Secret
    budget: Budget
    full: bool = True
    concurrency: int = 4
    limits: download.Limits = field(default_factory=download.Limits)
    patience: download.Patience = field(default_factory=download.Patience)
    _http: httpx.Client = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        http = download.client(
            self.url, parameter="apikey", secret=self.secret, limits=self.limits, connections=self.concurrency
        )
        object.__setattr__(self, "_http", http)
        weakref.finalize(self, http.close)

    def now(self) -> pd.Timestamp:
        """The present second, UTC."""
        return pd.Timestamp(int(self.budget.clock()), unit="s", tz="UTC")

    def file(self, symbol: str) -> str:
        """What was asked for, for messages."""
        return f"Alpha Vantage {self.function}"

    def fetch(self, symbol: str, *, compact: bool = False) -> bytes:
        """The bytes of one symbol's bars, the last 100 rows when `compact`, else its whole history.

        Raises:
            SymbolError: before anything is sent. BudgetSpent: no request is left today.
            SourceError: no whole CSV of daily bars; says what came instead, without the key.
        """
        who = f"{symbol} ({self.file(symbol)})"
        size = "full" if self.full and not compact else "compact"
        reply = self._ask(who, function=self.function, symbol=symbol, outputsize=size, datatype="csv")
        trouble = self._trouble(reply, symbol, who)
        if trouble:
            raise trouble
        return reply.body

    def quote(self, symbol: str, *, calendar: str = sessions.DEFAULT) -> Quote:
        """The price of GLOBAL_QUOTE, one request. On the free plan it changes once a day, when the session is over.

        Alpha Vantage tells the day of the price and no time. Its time here is that day's closing bell, or, where the
        bell has not rung yet, the second of asking.

        Raises:
            SymbolError: before anything is sent. BudgetSpent: no request is left today.
            SourceError: no quote; says what came instead, without the key.
        """
        who = f"{symbol} (Alpha Vantage {QUOTE})"
        outcome = self._quoted(self._ask(who, function=QUOTE, symbol=symbol), symbol, who, calendar)
        if isinstance(outcome, SourceError):
            raise outcome
        return outcome

    def _ask(self, who: str, **params: str) -> download.Reply:
        """One answer to a question, which is about `params["symbol"]`."""
        schema.check_symbol(params["symbol"])
        request = download.KeyedRequest(self._http, self.url, params, self.secret, who, self.limits, self.patience)
        return download.get(request, take=self.budget.take)

    def _quoted(self, reply: download.Reply, symbol: str, who: str, calendar: str) -> Quote | SourceError:
        """The quote of an answer, or what is wrong with it, in an error made where nothing else holds the answer."""
        try:
            answer = json.loads(reply.body)
            fields = answer["Global Quote"]
            price, day = float(fields["05. price"]), pd.Timestamp(fields["07. latest trading day"])
            volume = str(fields.get("06. volume"))
            closing = sessions.hours(day, calendar)[-1][1]
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            return self._no_quote(reply.body, who)
        if not 0 < price < float("inf"):
            return SourceError(f"{who}: {price!r} is no price.")
        moment = min(closing, int(self.budget.clock()) * 1_000_000)
        return Quote(symbol, float(f"{price:.10g}"), 0, moment, (str(day.date()), price, volume))

    def _no_quote(self, body: bytes, who: str) -> SourceError:
        if text.first_sign(body) not in (b"{", b"["):
            return SourceError(f"{who}: expected a quote as JSON, got something else.")
        return self._refusal(body, who, wanted="a quote")

    def plan(self, symbols: Sequence[str], oldest: Mapping[str, pd.Timestamp | None]) -> tuple[list[str], list[str]]:
        """The symbols to ask for now, oldest data first, and those for the next day (see `budget.share_out`)."""
        return share_out(symbols, oldest, self.budget.left())

    def resets_at(self) -> pd.Timestamp | None:
        """When requests are to be had again, UTC; None where they are not limited."""
        return self.budget.resets_at() if self.budget.per_day else None

    def _trouble(self, reply: download.Reply, symbol: str, who: str) -> SourceError | None:
        """What is wrong with an answer, as an error whose traceback does not lead to the answer's text."""
        try:
            self._check(reply, symbol, who)
        except SourceError as error:
            return type(error)(str(error))
        return None

    def _check(self, reply: download.Reply, symbol: str, who: str) -> None:
        """What every answer is held to (`answers.headers`), and what is Alpha Vantage's own."""
        body = reply.body
        if text.first_sign(body) in (b"{", b"["):
            raise self._refusal(body, who)
        first = next((line for line in headers.head(body, who) if line.strip()), "")
        names = headers.of_lines([self.secret.scrub(first)], symbol, who).names  # an error may quote the line
        wanted = COLUMNS + (EVENTS if self.function.endswith("ADJUSTED") else ())
        if missing := [name for name in wanted if name not in names]:
            raise SourceError(f"{who}: no CSV of daily bars: its first line lacks {', '.join(missing)}.")
        kind = reply.content_type.partition(";")[0].strip()
        if kind not in CSV_TYPES:
            raise SourceError(f"{who}: expected CSV, got the content type {self.secret.scrub(kind)[:60]!r}.")
        if not text.first_sign(body, len(text.first_line(body))):
            raise SourceError(f"{who}: the CSV has a header but no rows.")
        if not body.endswith(b"\n"):
            raise SourceError(f"{who}: the CSV is cut off: its last line has no end. Nothing of it is used.")
        if self.secret.is_in(body):
            raise SourceError(f"{who}: the answer repeats the key, so it is not kept.")

    def _refusal(self, body: bytes, who: str, *, wanted: str = "CSV") -> SourceError:
        """What a JSON answer means; scrubbed before it is shortened, lest half of a key remain."""
        message = " ".join(self.secret.scrub(_message(body)).split())
        if not TOO_FAST.search(message) and DAY_SPENT.search(message):
            return self.budget.spend()
        hint = next((advice for word, advice in HINTS.items() if word.lower() in message.lower()), "")
        if TOO_FAST.search(message):
            hint = "Lower STOCKKIT_ALPHAVANTAGE_PER_SECOND, or run again in a minute."
        return SourceError(f"{who}: expected {wanted}, got JSON: {message[:300]} {hint}".rstrip())


def _message(body: bytes) -> str:
    """What a JSON answer says under Note, Information or Error Message; its text is not repeated when broken."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return "it cannot be read."
    if answer == {"Global Quote": {}}:
        answer = {}
    if isinstance(answer, dict):
        answer = next((answer[key] for key in ("Error Message", "Information", "Note") if key in answer), answer)
    return str(answer) if answer else "it is empty. Probably the symbol is not known."


def open_alphavantage(opening: Opening) -> AlphaVantage:
    """Alpha Vantage as the environment describes it.

    STOCKKIT_ALPHAVANTAGE_URL is the address (https, or http on this machine; ``/query`` is added where it has no
    path), _PER_DAY (25) and _PER_SECOND (1) the allowance, 0 for no limit, and _OUTPUTSIZE ``full`` or ``compact``.

    The name that it is opened by is a key of `FUNCTIONS`.

    Raises:
        ParamError: no key, or a setting that cannot be.
    """
    size = os.environ.get("STOCKKIT_ALPHAVANTAGE_OUTPUTSIZE", "full")
    if size not in ("full", "compact"):
        raise ParamError(f"STOCKKIT_ALPHAVANTAGE_OUTPUTSIZE is {size!r}: expected full or compact.")
    per_day, per_second = _number("PER_DAY", 25), _number("PER_SECOND", 1)
    return AlphaVantage(
        name=opening.name.replace(":", "-"),
        function=FUNCTIONS[opening.name],
        url=_endpoint(os.environ.get("STOCKKIT_ALPHAVANTAGE_URL") or PUBLIC_URL),
        secret=resolve(REFERENCE, opening.secrets_client),
        budget=Budget(opening.lake / BUDGET_FILE, per_day=math.floor(per_day), per_second=per_second),
        full=size == "full",
    )


def _number(name: str, default: float) -> float:
    text = os.environ.get(f"STOCKKIT_ALPHAVANTAGE_{name}") or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9 or 0 < number < 1e-6 or (name == "PER_DAY" and number % 1):
        kind = "a whole number" if name == "PER_DAY" else "a number"
        raise ParamError(f"STOCKKIT_ALPHAVANTAGE_{name} is {text!r}: expected {kind}, 0 for no limit.")
    return number


def _endpoint(text: str) -> httpx.URL:
    """The address, when the key is safe on its way there."""
    wanted = "STOCKKIT_ALPHAVANTAGE_URL must be https://host[:port][/path], or http:// for this machine only"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ParamError(f"{wanted}; what it holds is no address.") from None
    safe = url.scheme == "https" or (url.scheme == "http" and download.LOOPBACK.fullmatch(url.host))
    if not safe or not url.host or url.userinfo or url.query:
        raise ParamError(f"{wanted}, without a user or a query; found {url.scheme}://{url.host}.")
    return url if url.path.strip("/") else url.copy_with(path="/query")
