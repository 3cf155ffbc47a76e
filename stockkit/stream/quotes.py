"""The newest price of each symbol: in the store of the stream, or in a table of DynamoDB. The registry of such places.

Ticks come late, twice and out of order, and several processes may write. A quote is written only where it is newer than
what is there: by the time of its event, and of two of the same time by its number in the order of arrival. So whatever
the order of the writes, the newest one is there in the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stockkit.aws import Session, batch_get
from stockkit.errors import LakeError, ParamError, StreamError
from stockkit.market.ticks import Tick, quote_write
from stockkit.stream import registry
from stockkit.stream.store import Batch, Quote, Store

DEFAULT = "sqlite"
TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
WRITERS = 8  # requests at once: each quote is a conditional write of its own


class Quotes(Protocol):
    """Where quotes are kept."""

    def read(self, symbols: Sequence[str] | None = None) -> list[Quote]:
        """The newest quotes of these symbols, or of all; ascending by symbol; one without a quote lacks.

        Raises:
            StreamError: it cannot be read.
        """

    def write(self, quotes: Iterable[Quote]) -> None:
        """Write quotes, each unless a newer one is there.

        Raises:
            StreamError: not all of them were written; they can be written again.
        """


def newest(quotes: Iterable[Quote]) -> dict[str, Quote]:
    """The newest quote of each symbol."""
    kept: dict[str, Quote] = {}
    for quote in quotes:
        there = kept.get(quote.symbol)
        if there is None or (there.event_time, there.number) < (quote.event_time, quote.number):
            kept[quote.symbol] = quote
    return kept


@dataclass(frozen=True)
class Sqlite:
    """The store of a stream, which the pipeline writes with everything else of a micro-batch.

    Attributes:
        path: of the store.
    """

    path: Path

    def read(self, symbols: Sequence[str] | None = None) -> list[Quote]:
        """See `Quotes`."""
        if not self.path.exists():
            raise StreamError(f"no quotes yet: `stockkit stream run params/stream.yaml` makes {self.path}.")
        store = Store(self.path)
        try:
            return store.quotes(symbols)
        finally:
            store.close()

    def write(self, quotes: Iterable[Quote]) -> None:
        """See `Quotes`."""
        store = Store(self.path)
        try:
            store.commit(Batch(quotes=list(quotes)))
        finally:
            store.close()


@dataclass(frozen=True)
class DynamoDb:
    """A table of DynamoDB with the partition key `symbol` (a text); Lambda's `transform` writes the same items.

    Attributes:
        table: its name. session: whose account and region.
    """

    table: str
    session: Session = field(default_factory=Session)

    def read(self, symbols: Sequence[str] | None = None) -> list[Quote]:
        """See `Quotes`."""
        client = self._client()
        with _explained(self.table, "read"):
            items = _scan(client, self.table) if symbols is None else batch_get(client, self.table, sorted({*symbols}))
            return sorted(map(_quote, items))

    def write(self, quotes: Iterable[Quote]) -> None:
        """See `Quotes`."""
        client = self._client()
        with _explained(self.table, "written"), ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda quote: self._put(client, quote), newest(quotes).values()))

    def _put(self, client: Any, quote: Quote) -> None:
        from botocore.exceptions import ClientError

        tick = Tick(quote.symbol, quote.price, quote.size, quote.event_time, "", 0)
        try:
            client.put_item(TableName=self.table, **quote_write(tick, quote.arrival, number=quote.number))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":  # a newer one is there
                raise

    def _client(self) -> Any:
        try:
            return self.session.client("dynamodb")
        except LakeError as error:
            raise StreamError(f"quotes: dynamodb:{self.table} cannot be reached: {error}") from error


@contextmanager
def _explained(table: str, action: str) -> Iterator[None]:
    """Errors of AWS as one of the stream, with the way out."""
    from botocore.exceptions import BotoCoreError, ClientError

    what = f"the table {table} of DynamoDB cannot be {action}"
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        way = (
            "make it, with the text `symbol` as its partition key" if "NotFound" in code else "check the role's rights"
        )
        raise StreamError(f"{what} ({code}): {way}. Nothing is lost, the store has every quote.") from error
    except BotoCoreError as error:
        raise StreamError(f"{what}: {error} Nothing is lost, the store has every quote.") from error


def _scan(client: Any, table: str) -> list[Mapping[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def _quote(item: Mapping[str, Any]) -> Quote:
    """The quote of an item; the number of one that Lambda wrote is 0."""
    numbers = (int(item[name]["N"]) for name in ("price", "size", "event_time", "arrival", "number"))
    return Quote(item["symbol"]["S"], *numbers)


@dataclass(frozen=True)
class Entry:
    """A place of quotes: what opens it, given what follows its name and the store's path; what that is called."""

    open: Callable[[str, Path], Quotes]
    argument: str = ""


def _open_dynamodb(table: str, path: Path) -> Quotes:
    if not TABLE.fullmatch(table):
        raise ParamError(f"quotes: dynamodb:{table[:100]} names no table: 3 to 255 letters, digits, _, . and -.")
    return DynamoDb(table)


QUOTES: Mapping[str, Entry] = {
    DEFAULT: Entry(lambda argument, path: Sqlite(path)),
    "dynamodb": Entry(_open_dynamodb, "TABLE"),
}


def check(name: str) -> None:
    """Refuse what a `quotes` parameter cannot name.

    Raises:
        ParamError: there is no such place.
    """
    registry.look_up("quotes:", name, QUOTES)


def open_quotes(name: str, path: Path) -> Quotes:
    """Open a place of quotes.

    Args:
        name: "sqlite" or "dynamodb:TABLE". path: the store's.

    Raises:
        ParamError: there is no such place.
    """
    entry, argument = registry.look_up("quotes:", name, QUOTES)
    return entry.open(argument, path)


class Copies:
    """Keeps another place of quotes as new as the store."""

    def __init__(self, quotes: Quotes) -> None:
        self._quotes = quotes
        self._written: dict[str, Quote] = {}

    def bring(self, store: Store) -> int:
        """Write what the store has that was not written yet; how many quotes.

        Raises:
            StreamError: they were not all written; the next call writes them again.
        """
        changed = [quote for quote in store.quotes() if self._written.get(quote.symbol) != quote]
        if changed:
            self._quotes.write(changed)
            self._written |= {quote.symbol: quote for quote in changed}
        return len(changed)
