"""The rows of a request: JSON, JSON Lines or CSV read strictly, checked, and put into arrays symbol by symbol.

Nothing is guessed: a number in quotation marks, NaN, a name more or less, a session twice is an error that names
where it stands. One wrong row refuses the whole request, as an answer that lacks rows would be taken for complete.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np

from stockkit.errors import RequestError
from stockkit.forecast.models.protocol import Series
from stockkit.forecast.walk.trained import Trained

JSON, JSON_LINES, CSV = "application/json", "application/jsonlines", "text/csv"
MAX_ROWS = 10_000
LARGEST = 1e15  # of a feature, either side of 0: beyond it, sums in float64 lose the units
HIGHEST = 1e12  # of a close
DAY = r"(1[7-9]|2[01])[0-9]{2}-[0-9]{2}-[0-9]{2}"  # years that datetime64[ns] can hold
_DAY = re.compile(DAY)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SHOWN = 60  # characters of a wrong value that a message repeats


@dataclass(frozen=True, eq=False)
class Contract:
    """What a row must have.

    Attributes:
        symbols: those that can be forecast. features: their names, in the model's order.
        used: the features that forecasts depend on; a row may leave the others out.
        max_rows: rows of one request at most.
    """

    symbols: frozenset[str]
    features: tuple[str, ...]
    max_rows: int = MAX_ROWS
    used: tuple[str, ...] | None = None

    @classmethod
    def of(cls, trained: Trained, max_rows: int = MAX_ROWS) -> Contract:
        """What `trained` asks for."""
        return cls(frozenset(trained.symbols), trained.features, max_rows, trained.used)

    @cached_property
    def expected(self) -> frozenset[str]:
        """The names of a row, to compare with those it has."""
        return frozenset(self.names)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return ("symbol", "date", "close", *(self.features if self.used is None else self.used))

    @cached_property
    def sufficient(self) -> frozenset[str]:
        """The same, to compare with those that a row has."""
        return frozenset(self.needed)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every field that a row may have."""
        return ("symbol", "date", "close", *self.features)


@dataclass(frozen=True, eq=False)
class Part:
    """One symbol's rows: `positions` (n,) are those in the request, `first` names the first of them."""

    series: Series
    positions: np.ndarray
    first: str


def read(body: bytes, kind: str, contract: Contract) -> list[Part]:
    """The rows of a body of the content type `kind`, one part a symbol in the order of appearance.

    Raises:
        RequestError: a body that is empty, not UTF-8 or cut off, or a row that breaks the contract.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 (byte {error.start}): encode it as UTF-8.") from error
    if not text.strip():
        raise RequestError("the body is empty: send at least one row.")
    if kind == CSV:
        return _parts(_of_csv(text, contract), "rows", contract)
    if kind == JSON_LINES:
        lines = [line for line in text.split("\n") if line.strip()]
        _check_count(lines, "rows", contract)
        return _parts([_json(line) for line in lines], "rows", contract)
    return _parts(*_of_json(text), contract)


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RequestError:
        raise
    except RecursionError as error:
        raise RequestError("the JSON is nested too deeply: send a list of flat rows.") from error
    except ValueError as error:  # JSONDecodeError, or a number of over 4,300 digits
        raise RequestError(f"the body is not JSON: {str(error)[:200]}.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"the name {_show(twice)} stands twice in one object: send it once.")
    return found


def _of_json(text: str) -> tuple[list[Any], str]:
    document = _json(text)
    where = next(iter(document), "") if isinstance(document, dict) and len(document) == 1 else ""
    if where not in ("rows", "instances"):
        raise RequestError('send an object with the one name "rows" (or "instances"): {"rows": [{"symbol": …}, …]}.')
    if not isinstance(document[where], list):
        raise RequestError(f"must be a list of rows, found {_show(document[where])}.", field=where)
    return document[where], where


def _of_csv(text: str, contract: Contract) -> list[dict[str, Any]]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header, *rest = (line for line in lines if line)
    except csv.Error as error:
        raise RequestError(f"the body is not CSV: line {lines.line_num}: {error}.") from error
    _check_names(dict.fromkeys(header), contract)
    if len(set(header)) < len(header):
        raise RequestError("the header names a column twice: name each once.", field="header")
    _check_count(rest, "rows", contract)
    return [_of_line(header, line, number) for number, line in enumerate(rest)]


def _of_line(header: Sequence[str], line: Sequence[str], number: int) -> dict[str, Any]:
    if len(line) != len(header):
        raise RequestError(f"{len(line)} fields under a header of {len(header)}.", field=f"rows[{number}]")
    row: dict[str, Any] = dict(zip(header, line, strict=True))
    for name in header:
        if name not in ("symbol", "date"):
            row[name] = _of_cell(row[name])
    return row


def _of_cell(cell: str) -> float | str | None:
    """A number; None for an empty cell; the text itself where it is no number, for the check to refuse."""
    return float(cell) if _NUMBER.fullmatch(cell) else cell or None


def _parts(rows: Sequence[Any], where: str, contract: Contract) -> list[Part]:
    _check_count(rows, where, contract)
    found: dict[str, list[tuple[int, str, float, list[float]]]] = {}
    for number, row in enumerate(rows):
        try:
            symbol, day, close, features = _checked(row, contract)
            own = found.setdefault(symbol, [])
            _check_order(symbol, day, own[-1][1] if own else "")
        except RequestError as error:
            place = f"{where}[{number}]"
            raise RequestError(str(error), field=f"{place}.{error.field}" if error.field else place) from error
        own.append((number, day, close, features))
    return [_part(symbol, own, where, contract.features) for symbol, own in found.items()]


def _check_count(rows: Sequence[Any], where: str, contract: Contract) -> None:
    if not 1 <= len(rows) <= contract.max_rows:
        raise RequestError(f"{len(rows):,} rows: send 1 to {contract.max_rows:,} in a request.", field=where)


def _part(symbol: str, own: list[tuple[int, str, float, list[float]]], where: str, features: tuple[str, ...]) -> Part:
    positions, days, close, values = zip(*own, strict=True)
    block = np.array(values, dtype="float64").reshape(len(own), len(features))
    series = Series(symbol, np.array(days, dtype="datetime64[ns]"), np.array(close), block, features)
    return Part(series, np.array(positions), f"{where}[{positions[0]}]")


def _checked(row: Any, contract: Contract) -> tuple[str, str, float, list[float]]:
    if not isinstance(row, dict):
        raise RequestError(f"a row must be an object, found {_show(row)}.")
    _check_names(row, contract)
    symbol, day, close = row["symbol"], row["date"], row["close"]
    if not isinstance(symbol, str) or symbol not in contract.symbols:
        raise RequestError(f"the model was not fitted on {_show(symbol)}.{_near(symbol, contract)}", field="symbol")
    if not isinstance(day, str) or not _is_day(day):
        raise RequestError(f'must be a day as in "2023-09-21", from 1700 to 2199, found {_show(day)}.', field="date")
    if type(close) not in (int, float) or not 0 < close <= HIGHEST:
        raise RequestError(f"must be a number over 0, up to {HIGHEST:.0e}, found {_show(close)}.", field="close")
    return symbol, day, float(close), [_number(row.get(name), name) for name in contract.features]


def _check_names(row: Mapping[str, Any], contract: Contract) -> None:
    if row.keys() == contract.expected or row.keys() == contract.sufficient:
        return
    lacking = [name for name in contract.needed if name not in row]
    if lacking:
        way_out = " Send null where it has no value." if lacking[0] in contract.features else ""
        raise RequestError(f"is lacking; a row has {_list(contract.needed)}.{way_out}", field=lacking[0])
    extra = [name for name in row if name not in contract.expected]
    if not extra:
        return
    raise RequestError(f"{_show(extra[0])} is none of {_list(contract.names)}.", field=extra[0][:_SHOWN])


def _number(value: Any, name: str) -> float:
    if value is None:
        return float("nan")
    if type(value) not in (int, float) or not -LARGEST <= value <= LARGEST:
        raise RequestError(f"must be a number within ±{LARGEST:.0e} or null, found {_show(value)}.", field=name)
    return float(value)


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _check_order(symbol: str, day: str, before: str) -> None:
    if day == before:
        raise RequestError(f"{symbol} has the session {day} twice: send one row a session.", field="date")
    if day < before:
        raise RequestError(f"{symbol}: {day} comes after {before}: send the oldest first.", field="date")


def _near(symbol: Any, contract: Contract) -> str:
    near = get_close_matches(symbol[:_SHOWN], contract.symbols, n=1) if isinstance(symbol, str) else []
    return f" Did you mean {near[0]!r}?" if near else f" It knows {_list(sorted(contract.symbols))}."


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _show(value: Any) -> str:
    """A value as JSON would write it, cut short; a list or an object is only named."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
