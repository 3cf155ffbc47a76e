"""Records that are no ticks, as feeds send them on bad days; each with the reason for which it is rejected."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from stockkit.market.ticks import Tick, as_datetime, encode

UNKNOWN = "NOSUCH"  # a symbol that nobody listens to


class Corruption(NamedTuple):
    """A way to break a tick's record: the reason that `market.ticks.transform` gives, and how it is done."""

    reason: str
    broken: Callable[[Tick], bytes]


def _with(**fields: Any) -> Callable[[Tick], bytes]:
    """The record with other values in some fields."""
    return lambda tick: json.dumps({**json.loads(encode(tick)), **fields}, separators=(",", ":")).encode()


def _without(name: str) -> Callable[[Tick], bytes]:
    """The record without a field."""
    return lambda tick: json.dumps({k: v for k, v in json.loads(encode(tick)).items() if k != name}).encode()


def _naive(tick: Tick) -> bytes:
    return _with(event_time=as_datetime(tick.event_time).replace(tzinfo=None).isoformat())(tick)


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("not JSON", lambda tick: encode(tick)[:-9]),
    Corruption("not JSON", lambda tick: b"\xff\xfe" + encode(tick)),
    Corruption("not an object", lambda tick: json.dumps(list(tick)).encode()),
    Corruption("unknown version", _with(v=2)),
    Corruption("bad symbol", _without("symbol")),
    Corruption("bad symbol", lambda tick: _with(symbol=tick.symbol.lower() + "'; --")(tick)),
    Corruption("bad price", _without("price")),
    Corruption("bad price", _with(price=0)),
    Corruption("bad price", lambda tick: _with(price=-tick.price / 1e6)(tick)),
    Corruption("bad price", _with(price=float("nan"))),
    Corruption("bad price", _with(price=1e308)),
    Corruption("bad price", lambda tick: _with(price=str(tick.price / 1e6))(tick)),
    Corruption("bad size", _with(size=None)),
    Corruption("bad time", _naive),
    Corruption("bad time", lambda tick: _with(event_time=tick.event_time // 1_000_000)(tick)),
    Corruption("from the future", _with(event_time="2099-12-31T23:59:59Z")),
    Corruption("bad source", _with(source="")),
    Corruption("bad sequence", _with(sequence=-1)),
    Corruption("bad gzip", lambda tick: b"\x1f\x8b" + encode(tick)),
    Corruption("unknown symbol", _with(symbol=UNKNOWN)),  # the last one: a tick to who listens to all symbols
)
