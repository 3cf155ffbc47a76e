"""The header of an answer: found among the first lines, checked against the symbol, or refused with what it names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from stockkit.errors import SourceError
from stockkit.market.answers import layouts, text
from stockkit.market.answers.layouts import COLUMNS, Header

PROLOGUE = 40  # lines above the header that are looked through for it
PAGE = re.compile(r"<(?:!doctype|html|head|body|\?xml|[a-z]+[ >/])", re.IGNORECASE)


def decoded(body: bytes, who: str) -> str:
    """The text of an answer that may be a table.

    Raises:
        SourceError: it is empty, JSON, or in another encoding.
    """
    first = text.first_sign(body)
    if not first:
        raise SourceError(f"{who}: the answer is empty.")
    if first in (b"{", b"["):
        raise SourceError(f"{who}: expected CSV, got JSON: {_json_message(body)}")
    return text.decode(body, who)


def of_body(body: bytes, symbol: str, who: str) -> Header:
    """The header of an answer; all of it is decoded, no row is read.

    Raises:
        SourceError: as `decoded` and `of_lines`.
    """
    return of_lines(head(body, who), symbol, who)


def head(body: bytes, who: str) -> list[str]:
    """The lines that may hold the header; the others are decoded and not divided."""
    return text.LINE_END.split(decoded(body, who), PROLOGUE + 3)[: PROLOGUE + 3]


def of_lines(lines: Sequence[str], symbol: str, who: str) -> Header:
    """The header of the lines of an answer about `symbol`.

    Raises:
        SourceError: it is not recognised; names its columns and those expected. Or its symbols are others.
    """
    known = headers(lines)
    if not known:
        first = next((line for line in lines if not text.is_empty(line)), "").strip()
        _check_page(first, lines, who)
        raise SourceError(f"{who}: {_fault(first)} Expected {layouts.EXPECTED}.")
    header = next((one for one in known if one.tickers and same_symbol(one.tickers[0], symbol)), known[0])
    if header.tickers and symbol and not same_symbol(header.tickers[0], symbol):
        raise SourceError(f"{who}: the header is of {header.tickers[0]}, not of {symbol}.")
    return header


def headers(lines: Sequence[str]) -> list[Header]:
    """The headers that the lines of a file begin with: one a symbol of yfinance's download, else one; none unknown."""
    for at, line in enumerate(lines[:PROLOGUE]):
        if text.is_empty(line):
            continue
        for delimiter in text.DELIMITERS:
            fields = text.fields_of(line, delimiter)
            if header := layouts.recognise(fields, delimiter, at + 1):
                return [header]
            if len(fields) > 1:
                rows = [text.fields_of(row, delimiter) for row in lines[at : at + 3]]
                if download := layouts.yfinance(rows, delimiter, at):
                    return download
    return []


def same_symbol(first: str, second: str) -> bool:
    """Whether two spellings are of one symbol: case, and dots for dashes, do not count."""
    return _spelling(first) == _spelling(second)


def _spelling(symbol: str) -> str:
    return symbol.strip().upper().replace("-", ".").replace("/", ".").replace("_", ".")


def _fault(first: str) -> str:
    """What is wrong with a header that is not recognised."""
    fields = max((text.fields_of(first, delimiter) for delimiter in text.DELIMITERS), key=len)
    names = [layouts.normal(name) for name in fields]
    names = ["date" if name in layouts.INDEX_NAMES else name for name in names]
    shown = ", ".join(field.strip() for field in fields)[:200]
    twice = next((name for name in ("date", *COLUMNS) if names.count(name) > 1), None)
    lacks = next((name for name in layouts.BARS if name not in names), None)
    if twice:
        return f"the CSV has more than one column {twice!r}; its columns are {shown}."
    if lacks and len(names) > 1:
        return f"the CSV lacks the column {lacks!r}; its columns are {shown}."
    return f"the first line is no header of daily bars: {first[:120]!r}."


def _check_page(first: str, lines: Sequence[str], who: str) -> None:
    if first[:1] in ("{", "["):
        body = "\n".join(lines).encode()
        raise SourceError(f"{who}: expected CSV, got JSON: {_json_message(body)}")
    if PAGE.match(first):
        raise SourceError(f"{who}: expected CSV, got an HTML or XML page.")


def _json_message(body: bytes) -> str:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = body[:200].decode("utf-8", "replace")
    if isinstance(message, dict):
        keys = ("Note", "Information", "Error Message")
        message = next((message[key] for key in keys if key in message), message)
    return str(message)[:200]
