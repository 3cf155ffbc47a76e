"""Symbols: one pattern says what is one, wherever it comes from. Standard library alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from stockkit.errors import SymbolError

SYMBOL = re.compile(r"\^?[A-Z0-9]+(?:[.=&-][A-Z0-9]+)*")
MAX_SYMBOL = 20


def is_symbol(text: str) -> bool:
    """Whether a text is a symbol."""
    return len(text) <= MAX_SYMBOL and SYMBOL.fullmatch(text) is not None


def check_symbol(symbol: object) -> str:
    """Return `symbol` unchanged when it is one, e.g. ``BRK.B``, ``0005.HK``, ``^GSPC``, ``EURUSD=X``.

    Raises:
        SymbolError: anything else, before it can reach a path, a URL or a query.
    """
    if not isinstance(symbol, str):
        kind = type(symbol).__name__
        raise SymbolError(
            f"a symbol must be a string, found {symbol!r} ({kind}). "
            f'YAML and spreadsheets turn names such as ON, NO and TRUE into other types: quote it, as in "ON".'
        )
    if not is_symbol(symbol):
        shown = symbol if len(symbol) <= 40 else symbol[:40] + "…"
        hint = f" Did you mean {symbol.upper()!r}?" if SYMBOL.fullmatch(symbol.upper()) else ""
        raise SymbolError(
            f"{shown!r} is not a symbol: expected up to {MAX_SYMBOL} capital letters and digits, joined by "
            f". - = or &, with ^ in front for an index (AAPL, BRK.B, 0005.HK, ^GSPC, EURUSD=X).{hint}"
        )
    return symbol


def check_symbols(symbols: Iterable[object]) -> list[str]:
    """Return the symbols as a list; refuse an empty list, a bare string and duplicates."""
    if isinstance(symbols, str):
        raise SymbolError(f'symbols must be a list, found the string {symbols!r}: write ["{symbols}"].')
    checked = [check_symbol(symbol) for symbol in symbols]
    if not checked:
        raise SymbolError("symbols is an empty list: name at least one, as in ['AAPL'].")
    if len(set(checked)) < len(checked):
        twice = [symbol for symbol, times in Counter(checked).items() if times > 1]
        more = f" and {len(twice) - 5} others" if len(twice) > 5 else ""
        raise SymbolError(f"symbols names {', '.join(sorted(twice)[:5])}{more} more than once: name each symbol once.")
    return checked
