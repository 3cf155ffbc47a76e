"""`stockkit quotes`: the newest price of each symbol, and how old it is."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Annotated

import typer

import stockkit
from stockkit.cli.shared import EXIT_FAILED, LakeOption, fail
from stockkit.errors import StreamError, did_you_mean
from stockkit.market.symbols import is_symbol
from stockkit.market.ticks import SCALE, as_datetime

EXAMPLE = """Examples: stockkit quotes AAPL META --lake data/lake; stockkit quotes --from dynamodb:quotes --json;
stockkit quotes --state /tmp/stream.sqlite"""
UNITS = (("s", 1, 60), ("min", 60, 3_600), ("h", 3_600, 172_800), ("d", 86_400, float("inf")))  # seconds; up to


def quotes(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="Whose; all by default.")] = None,
    lake: LakeOption = "data/lake",
    state: Annotated[str, typer.Option(help="The stream's file; stream.sqlite in the lake's folder by default.")] = "",
    place: Annotated[str, typer.Option("--from", metavar="PLACE", help="sqlite, or dynamodb:TABLE.")] = "sqlite",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest price of each symbol with its size and age, as `stockkit stream run` or Lambda wrote it."""
    from stockkit.stream.quotes import open_quotes
    from stockkit.stream.setup import store_path

    opened = open_quotes(place, store_path(stockkit.open_lake(lake), state))
    names = list(dict.fromkeys(symbols or ()))
    kept = opened.read([name for name in names if is_symbol(name)] if names else None)
    known = {quote.symbol: quote for quote in kept}
    if not names and not known:
        raise StreamError("no quotes yet: `stockkit stream run params/stream.yaml` writes them with the first ticks.")
    now = time.time_ns() // 1_000
    rows = [
        (quote.symbol, quote.price / SCALE, quote.size, quote.event_time, max(0.0, (now - quote.event_time) / 1e6))
        for quote in (known[name] for name in names or sorted(known) if name in known)
    ]
    _print_json(rows) if as_json else _print_table(rows)
    if unknown := [name for name in names if name not in known]:
        there = [quote.symbol for quote in opened.read()]
        fail(*(f"no quote of {name[:100]!r}.{did_you_mean(name.upper(), there)}" for name in unknown))
        raise typer.Exit(EXIT_FAILED)


Row = tuple[str, float, int, int, float]  # symbol, price, size, event time in microseconds, age in seconds


def _print_json(rows: Sequence[Row]) -> None:
    shown = [
        {
            "symbol": symbol,
            "price": price,
            "size": size,
            "event_time": as_datetime(moment).isoformat(),
            "age": round(age, 3),
        }
        for symbol, price, size, moment, age in rows
    ]
    print(json.dumps(shown, indent=1))


def _print_table(rows: Sequence[Row]) -> None:
    for symbol, price, size, _, age in rows:
        print(f"{symbol:<10} {_price(price):>16} {size:>12,} {age_of(age):>8}")


def _price(price: float) -> str:
    """A price with two decimals, or as many more as it has."""
    units, _, decimals = f"{price:,.6f}".partition(".")
    return f"{units}.{decimals.rstrip('0'):0<2}"


def age_of(seconds: float) -> str:
    """An age in one unit, rounded down, as in ``3 s`` or ``2 h``."""
    name, unit = next((name, unit) for name, unit, most in UNITS if seconds < most)
    return f"{int(seconds // unit):,} {name}"
