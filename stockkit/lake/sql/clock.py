"""The clock of a statement: `current_date`, `now()` and their kin become one moment, the same here and on Athena."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from stockkit.errors import QueryError
from stockkit.imports import pandas as pd

DIGITS = 3  # of a second, where the statement does not say how many
WORDS = ("current_date", "current_timestamp", "localtimestamp", "now")


@dataclass(frozen=True)
class Dated:
    """A statement with the moment written out where it read the clock, and the moment, None where it did not."""

    text: str
    moment: dt.datetime | None


def moment_of(as_of: Any) -> dt.datetime:
    """The moment, in UTC, that a statement takes for now: that of asking where `as_of` is None.

    Raises:
        QueryError: no day or moment.
    """
    if as_of is None:
        return dt.datetime.now(dt.UTC)
    try:
        moment = pd.Timestamp(as_of)
    except (ValueError, TypeError) as error:
        raise QueryError(f"as_of cannot be {str(as_of)[:60]!r}: give a day or a moment, as 2023-09-21.") from error
    if moment is pd.NaT:
        raise QueryError("as_of cannot be NaT: give a day or a moment, as 2023-09-21.")
    moment = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
    return moment.to_pydatetime(warn=False)


def dated(text: str, as_of: Any = None) -> Dated:
    """Write the moment into a statement wherever it reads the clock."""
    if not re.search("|".join(WORDS), text, re.IGNORECASE):
        return Dated(text, None)
    moment, pieces, end = moment_of(as_of), list[str](), 0
    for word, start, stop in _readings(text):
        call = re.match(r"\s*\(\s*(\d*)\s*\)", text[stop:])
        if word == "now" and not (call and not call.group(1)):
            continue
        digits = min(int(call.group(1)), 6) if call and call.group(1) else DIGITS
        pieces += [text[end:start], _written(word, moment, digits)]
        end = stop + (call.end() if call and word != "current_date" else 0)
    return Dated("".join([*pieces, text[end:]]), moment) if pieces else Dated(text, None)


def _readings(text: str) -> list[tuple[str, int, int]]:
    """The words of the clock in a statement with their places, names and texts of the same spelling left out."""
    import sqlglot
    from sqlglot import TokenType

    try:
        tokens = sqlglot.tokenize(text, read="trino")
    except sqlglot.errors.SqlglotError:
        return []  # the parser says what is wrong with it
    named, after_name = (TokenType.STRING, TokenType.IDENTIFIER), (TokenType.DOT, TokenType.ALIAS)
    before = [None, *(token.token_type for token in tokens)]
    return [
        (token.text.lower(), token.start, token.end + 1)
        for token, last in zip(tokens, before, strict=False)
        if token.text.lower() in WORDS and token.token_type not in named and last not in after_name
    ]


def _written(word: str, moment: dt.datetime, digits: int) -> str:
    if word == "current_date":
        return f"DATE '{moment:%Y-%m-%d}'"
    fraction = f".{moment.microsecond:06d}"[: digits + 1] if digits else ""
    zone = "" if word == "localtimestamp" else " UTC"
    return f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}{fraction}{zone}'"
