"""Ticks: one trade or quote of one symbol, read from a record of a bus and checked. Standard library alone.

A record is JSON in UTF-8, version 1, perhaps gzipped; what else it names is ignored::

    {"v":1,"symbol":"AAPL","price":189.37,"size":100,"event_time":1695303000123456,"source":"sim","sequence":17}

Prices are integers of a millionth inside, so that sums neither drift nor depend on the order.

Example:
    >>> tick = Tick("AAPL", 189_370_000, 100, 1_695_303_000_123_456, "sim", 17)
    >>> [read] = transform([encode(tick)], now=tick.event_time)
    >>> read == tick
    True
    >>> [read] = transform([b'{"v":1,"symbol":"AAPL"'], now=tick.event_time)
    >>> read.reason
    'not JSON'
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from stockkit.market.symbols import MAX_SYMBOL, is_symbol

VERSION = 1
SCALE = 1_000_000  # a price of 1.00 is this integer; the lake's float64 column gives it back as round(price * SCALE)
MAX_PRICE = 1e9  # in the currency; below 2**53 / SCALE, so that a float64 holds every price exactly enough
MAX_SIZE = 2**53
MAX_SEQUENCE = 2**63 - 1
MAX_SOURCE = 64  # characters
MAX_BYTES = 65_536  # of a record, unpacked
EARLIEST = 946_684_800_000_000  # 2000-01-01 UTC in microseconds: what comes before it is in seconds or milliseconds
AHEAD = 60_000_000  # microseconds that a source's clock may be ahead of ours
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GZIP = b"\x1f\x8b"


class Tick(NamedTuple):
    """One trade or quote.

    Attributes:
        symbol: as `stockkit.market.symbols`. price: millionths of the currency, above 0. size: shares, 0 for a quote.
        event_time: microseconds since 1970, UTC. source: who sent it.
        sequence: its number there; a second one of the same source, symbol and sequence is a duplicate.
    """

    symbol: str
    price: int
    size: int
    event_time: int
    source: str
    sequence: int


class Reject(NamedTuple):
    """A record that is no tick: the reason (one of `REASONS`), what exactly is wrong, and its bytes as they came."""

    reason: str
    detail: str
    body: bytes


REASONS: Mapping[str, str] = {
    "not JSON": "the record is no JSON text in UTF-8, or nested too deep",
    "not an object": "the record is JSON, but no object",
    "unknown version": f"`v` is not {VERSION}",
    "bad symbol": "`symbol` is missing or no symbol",
    "unknown symbol": "the symbol is none of those that are listened to",
    "bad price": "`price` is missing, no number, not above 0, a billion or more, or finer than a millionth",
    "bad size": "`size` is missing or no whole number of shares from 0 on",
    "bad time": "`event_time` is missing, no integer of microseconds, no text with an offset from UTC, or before 2000",
    "from the future": "`event_time` is more than a minute after the moment of reading",
    "bad source": f"`source` is missing or no text of 1 to {MAX_SOURCE} printable characters",
    "bad sequence": "`sequence` is missing or no integer from 0 to 2**63 - 1",
    "too large": f"the record has more than {MAX_BYTES:,} bytes, unpacked",
    "bad gzip": "the record starts as gzip does but cannot be unpacked",
    "too late": "the sequence lies in a gap that was given up, where a late tick and a duplicate look the same",
}


def as_datetime(time: int) -> datetime:
    """Microseconds since 1970 UTC as a moment."""
    return EPOCH + timedelta(microseconds=time)


def encode(tick: Tick) -> bytes:
    """A tick as a record."""
    symbol, price, size, event_time, source, sequence = tick
    fields = {
        "v": VERSION, "symbol": symbol, "price": price / SCALE, "size": size, "event_time": event_time,
        "source": source, "sequence": sequence,
    }  # fmt: skip
    return json.dumps(fields, separators=(",", ":")).encode()


def quote_write(tick: Tick, arrival: int, *, number: int = 0, sequence: str = "") -> dict[str, Any]:
    """A tick as the newest quote of its symbol in a table of DynamoDB: a PutItem that never overwrites a newer one.

    Args:
        tick: its symbol is the key; price, size and event_time are numbers, as in `Tick`.
        arrival: microseconds since 1970 UTC.
        number: of the tick in its symbol's order of arrival; of two of one event_time the greater one stays.
        sequence: its place in the bus, which tells that where the writer knows no number.
    """
    numbers = {"price": tick.price, "size": tick.size, "event_time": tick.event_time, "arrival": arrival}
    item = {"symbol": {"S": tick.symbol}}
    item |= {name: {"N": str(value)} for name, value in (numbers | {"number": number}).items()}
    if sequence:
        item["sequence"] = {"S": sequence}
    order = "sequence" if sequence else "number"
    return {
        "Item": item,
        "ConditionExpression": "attribute_not_exists(event_time) OR event_time < :time "
        "OR (event_time = :time AND #order < :order)",
        "ExpressionAttributeNames": {"#order": order},
        "ExpressionAttributeValues": {":time": item["event_time"], ":order": item[order]},
    }


def transform(records: Sequence[bytes], *, now: int, symbols: Container[str] | None = None) -> list[Tick | Reject]:
    """Read records; one tick or reject for each, in order. Nothing in a record raises.

    Args:
        records: bytes as they came from the bus.
        now: the moment of reading, microseconds since 1970 UTC.
        symbols: those that are listened to; any symbol when None.
    """
    latest = now + AHEAD
    objects = _flat_objects(records)
    if objects is None:
        return [_read(body, latest, symbols) for body in records]
    ticks = [_tick(fields, latest, symbols) for fields in objects]
    return [
        tick if tick is not None else _read(body, latest, symbols) for tick, body in zip(ticks, records, strict=True)
    ]


def _flat_objects(records: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """The objects of records parsed at once, a third faster than one by one; None where only one by one is certain.

    Every record is one object without another one inside, for there are as many opening braces as records, as many
    closing ones, each boundary of records lies between a closing and an opening one, and all of them parse as objects.
    """
    if not records or max(map(len, records)) > MAX_BYTES:
        return None
    count, joined = len(records), b"\n".join(records)
    if (
        joined.count(b"\n") != count - 1
        or joined.count(b"}\n{") != count - 1
        or not joined.count(b"{") == joined.count(b"}") == count
    ):
        return None
    try:
        objects: list[Any] = json.loads("[" + str(joined.replace(b"\n", b","), "utf-8") + "]")
    except (ValueError, RecursionError):
        return None
    return objects if len(objects) == count and all(type(fields) is dict for fields in objects) else None


def _tick(fields: dict[str, Any], latest: int, symbols: Container[str] | None) -> Tick | None:
    """The tick of an object as most producers write it; None where it needs a second look."""
    try:
        symbol, price, size = fields["symbol"], fields["price"], fields["size"]
        time, source, sequence = fields["event_time"], fields["source"], fields["sequence"]
        if (
            fields["v"] == VERSION
            and fields["v"] is not True
            and type(symbol) is str
            and len(symbol) <= MAX_SYMBOL
            and _is_symbol(symbol)
            and (symbols is None or symbol in symbols)
            and type(price) is float
            and 0 < price < MAX_PRICE
            and (exact := round(price * SCALE)) / SCALE == price
            and type(size) is int
            and 0 <= size <= MAX_SIZE
            and type(time) is int
            and EARLIEST <= time <= latest
            and type(source) is str
            and len(source) <= MAX_SOURCE
            and _is_source(source)
            and type(sequence) is int
            and 0 <= sequence <= MAX_SEQUENCE
        ):
            return tuple.__new__(Tick, (symbol, exact, size, time, source, sequence))
    except KeyError:
        pass
    return None


def _read(body: bytes, latest: int, symbols: Container[str] | None) -> Tick | Reject:
    """The tick of any record that is one, or why it is none."""
    try:
        fields = _fields(_unpacked(body))
        symbol, time = _symbol(fields, symbols), _event_time(fields.get("event_time"), latest)
        price = _price(fields.get("price"))
        size = _whole("size", fields.get("size"), MAX_SIZE)
        source, sequence = _source(fields.get("source")), _whole("sequence", fields.get("sequence"), MAX_SEQUENCE)
    except _Refused as refused:
        return Reject(refused.reason, refused.detail, body)
    return Tick(symbol, price, size, time, source, sequence)


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def _unpacked(body: bytes) -> bytes:
    """The text of a record; at most MAX_BYTES are ever unpacked."""
    if body.startswith(GZIP):
        packed = zlib.decompressobj(wbits=31)
        try:
            text = packed.decompress(body, MAX_BYTES + 1)
        except zlib.error as error:
            raise _Refused("bad gzip", str(error)) from None
        if len(text) <= MAX_BYTES and not packed.eof:
            raise _Refused("bad gzip", "it ends early")
        body = text
    if len(body) > MAX_BYTES:
        raise _Refused("too large", f"more than {MAX_BYTES:,} bytes")
    return body


def _fields(text: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(str(text, "utf-8"))
    except RecursionError:
        raise _Refused("not JSON", "nested too deep") from None
    except ValueError as error:
        raise _Refused("not JSON", str(error)[:200]) from None
    if not isinstance(fields, dict):
        raise _Refused("not an object", f"a JSON {type(fields).__name__}")
    if (version := fields.get("v")) != VERSION or version is True:
        raise _Refused("unknown version", _shown(version))
    return fields


def _symbol(fields: Mapping[str, Any], symbols: Container[str] | None) -> str:
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or not is_symbol(symbol):
        raise _Refused("bad symbol", _shown(symbol))
    if symbols is not None and symbol not in symbols:
        raise _Refused("unknown symbol", symbol)
    return symbol


def _price(price: Any) -> int:
    if isinstance(price, bool) or not isinstance(price, int | float) or not 0 < price < MAX_PRICE:
        raise _Refused("bad price", _shown(price))
    exact = round(price * SCALE)
    if exact / SCALE != price:
        raise _Refused("bad price", f"{price!r} is finer than a millionth")
    return exact


def _whole(name: str, number: Any, largest: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= largest:
        raise _Refused(f"bad {name}", _shown(number))
    if number != int(number):
        raise _Refused(f"bad {name}", f"{number!r} is no whole number")
    return int(number)


def _event_time(time: Any, latest: int) -> int:
    if isinstance(time, str):
        time = _parsed(time)
    if isinstance(time, bool) or not isinstance(time, int) or time < EARLIEST:
        raise _Refused("bad time", _shown(time))
    if time > latest:
        raise _Refused("from the future", f"{_shown(time)}, {(time - latest + AHEAD) / 1e6:,.1f} s ahead")
    return time


def _parsed(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Refused("bad time", _shown(text)) from None
    if moment.tzinfo is None:
        raise _Refused("bad time", f"{text} has no offset from UTC")
    return (moment - EPOCH) // timedelta(microseconds=1)


def _source(source: Any) -> str:
    if not isinstance(source, str) or not 0 < len(source) <= MAX_SOURCE or not source.isprintable():
        raise _Refused("bad source", _shown(source))
    return source


def _shown(value: Any) -> str:
    """A value of a record as its reject tells it."""
    text = "missing" if value is None else ascii(value)
    return text if len(text) <= 80 else text[:79] + "…"


@lru_cache(maxsize=16_384)
def _is_symbol(text: str) -> bool:
    return is_symbol(text)


@lru_cache(maxsize=1_024)
def _is_source(text: str) -> bool:
    return text != "" and text.isprintable()


class Sequences:
    """Which sequences of one source and symbol were read, as ranges; which of two equal ones came first.

    Ticks out of order leave gaps, which late ones fill. At most `RANGES` ranges are kept: the oldest gap is then given
    up, and what comes for it is neither new nor a duplicate for certain.
    """

    RANGES = 128

    __slots__ = ("_firsts", "_lasts", "given_up")

    def __init__(self, firsts: Sequence[int] = (), lasts: Sequence[int] = (), given_up: int = -1) -> None:
        self._firsts, self._lasts, self.given_up = list(firsts), list(lasts), given_up

    def add(self, sequence: int) -> str:
        """Note a sequence; "new", "duplicate", or "too late" where it lies in a gap that was given up."""
        lasts = self._lasts
        if lasts and sequence == lasts[-1] + 1:
            lasts[-1] = sequence
            return "new"
        if sequence <= self.given_up:
            return "too late"
        at = bisect_right(self._firsts, sequence)  # the range that may have it is the one before
        if at and sequence <= lasts[at - 1]:
            return "duplicate"
        self._insert(at, sequence)
        return "new"

    def _insert(self, at: int, sequence: int) -> None:
        firsts, lasts = self._firsts, self._lasts
        after = at > 0 and lasts[at - 1] == sequence - 1
        before = at < len(firsts) and firsts[at] == sequence + 1
        if after and before:
            lasts[at - 1] = lasts.pop(at)
            firsts.pop(at)
        elif after:
            lasts[at - 1] = sequence
        elif before:
            firsts[at] = sequence
        else:
            firsts.insert(at, sequence)
            lasts.insert(at, sequence)
        if len(firsts) > self.RANGES:
            firsts.pop(0)
            self.given_up = lasts.pop(0)

    def dump(self) -> list[Any]:
        """What `Sequences(*dumped)` is made from again; plain JSON."""
        return [self._firsts, self._lasts, self.given_up]
