"""The rows of a request: JSON, JSON Lines or CSV read strictly, checked, and put into arrays symbol by symbol.

Nothing is guessed: a number in quotation marks, NaN, a name more or less, a session twice is an error that names
where it stands. One wrong row refuses the whole request, as an answer that lacks rows would be taken for complete.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, create_model

from stockkit.errors import RequestError, did_you_mean, listed
from stockkit.forecast.models.protocol import Series
from stockkit.forecast.walk.trained import Trained

JSON, JSON_LINES, CSV = "application/json", "application/jsonlines", "text/csv"
MAX_ROWS = 10_000
LARGEST = 1e15  # of a feature, either side of 0: beyond it, sums in float64 lose the units
HIGHEST = 1e12  # of a close
DAY = r"(1[7-9]|2[01])[0-9]{2}-[0-9]{2}-[0-9]{2}"  # years that datetime64[ns] can hold
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SHOWN = 60  # characters of a wrong value that a message repeats
NAMED = 30  # names that a message lists
LISTED = 500  # symbols that the schema names one by one; of more it gives none


def _day(text: str) -> str:
    date.fromisoformat(text)  # the pattern lets 2023-02-30 through
    return text


Day = Annotated[
    str,
    Field(pattern=f"^{DAY}$", json_schema_extra={"format": "date"}, description="The session."),
    AfterValidator(_day),
]
Close = Annotated[float, Field(gt=0, le=HIGHEST, allow_inf_nan=False, description="Split-adjusted.")]
Feature = Annotated[float | None, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
WANTED = {"symbol": "a symbol", "date": 'a day as in "2023-09-21", from 1700 to 2199',
          "close": f"a number over 0, up to {HIGHEST:.0e}"}  # fmt: skip
A_FEATURE = f"a number within ±{LARGEST:.0e} or null"


@dataclass(frozen=True, eq=False)
class Contract:
    """What a row must have to be forecast by `trained`.

    Attributes:
        trained: the model. max_rows: rows of one request at most.
        row: the pydantic model of a row, which checks it; the server shows its JSON schema.
    """

    trained: Trained
    max_rows: int
    row: type[BaseModel]

    @classmethod
    def for_model(cls, trained: Trained, max_rows: int = MAX_ROWS) -> Contract:
        """What `trained` asks for; a row may leave out features that no forecast depends on."""
        symbol: Any = Literal[tuple(trained.symbols or [""])]
        if len(trained.symbols) > LISTED:
            symbol = Annotated[symbol, WithJsonSchema({"type": "string"})]
        used = set(trained.used)
        features: dict[str, Any] = {
            f"feature_{k}": (Feature, Field(... if name in used else None, alias=name))
            for k, name in enumerate(trained.features)
        }
        strict = ConfigDict(strict=True, extra="forbid")
        keys: dict[str, Any] = {"symbol": (symbol, ...), "date": (Day, ...), "close": (Close, ...)}
        row = create_model("Row", __config__=strict, **keys, **features)
        return cls(trained, max_rows, row)

    @cached_property
    def names(self) -> dict[str, None]:
        """Every field that a row may have."""
        return dict.fromkeys((*WANTED, *self.trained.features))


@dataclass(frozen=True, eq=False)
class SymbolRows:
    """One symbol's rows: `positions` (n,) are those in the request, `first` names the first of them."""

    series: Series
    positions: np.ndarray
    first: str


def read(body: bytes, kind: str, contract: Contract) -> list[SymbolRows]:
    """The rows of a body of the content type `kind`, one entry a symbol in the order of appearance.

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
        return _by_symbol(_from_csv(text, contract), "rows", contract)
    if kind == JSON_LINES:
        lines = [line for line in text.split("\n") if line.strip()]
        _check_count(lines, "rows", contract)
        return _by_symbol([_json(line) for line in lines], "rows", contract)
    return _by_symbol(*_from_json(text), contract)


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
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"the name {_show(twice)} stands twice in one object: send it once.")
    return row


def _from_json(text: str) -> tuple[list[Any], str]:
    document = _json(text)
    where = next(iter(document), "") if isinstance(document, dict) and len(document) == 1 else ""
    if where not in ("rows", "instances"):
        raise RequestError('send an object with the one name "rows" (or "instances"): {"rows": [{"symbol": …}, …]}.')
    if not isinstance(document[where], list):
        raise RequestError(f"must be a list of rows, found {_show(document[where])}.", field=where)
    return document[where], where


def _from_csv(text: str, contract: Contract) -> list[dict[str, Any]]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header, *rest = (line for line in lines if line)
    except csv.Error as error:
        raise RequestError(f"the body is not CSV: line {lines.line_num}: {error}.") from error
    if len(set(header)) < len(header):
        raise RequestError("the header names a column twice: name each once.", field="header")
    _check_count(rest, "rows", contract)
    return [_from_line(header, line, number) for number, line in enumerate(rest)]


def _from_line(header: Sequence[str], line: Sequence[str], number: int) -> dict[str, Any]:
    if len(line) != len(header):
        raise RequestError(f"{len(line)} fields under a header of {len(header)}.", field=f"rows[{number}]")
    row: dict[str, Any] = dict(zip(header, line, strict=True))
    for name in header:
        if name not in ("symbol", "date"):
            row[name] = _from_cell(row[name])
    return row


def _from_cell(cell: str) -> float | str | None:
    """A number; None for an empty cell; the text itself where it is no number, for the check to refuse."""
    return float(cell) if _NUMBER.fullmatch(cell) else cell or None


def _by_symbol(rows: Sequence[Any], where: str, contract: Contract) -> list[SymbolRows]:
    _check_count(rows, where, contract)
    checked_rows: dict[str, list[tuple[int, str, float, list[float | None]]]] = {}
    for number, row in enumerate(rows):
        try:
            symbol, day, close, features = _checked(row, contract)
            checked = checked_rows.setdefault(symbol, [])
            _check_order(symbol, day, checked[-1][1] if checked else "")
        except RequestError as error:
            place = f"{where}[{number}]"
            raise RequestError(str(error), field=f"{place}.{error.field}" if error.field else place) from error
        checked.append((number, day, close, features))
    return [_symbol_rows(symbol, checked, where, contract.trained.features) for symbol, checked in checked_rows.items()]


def _check_count(rows: Sequence[Any], where: str, contract: Contract) -> None:
    if not 1 <= len(rows) <= contract.max_rows:
        raise RequestError(f"{len(rows):,} rows: send 1 to {contract.max_rows:,} in a request.", field=where)


def _symbol_rows(
    symbol: str, checked: list[tuple[int, str, float, list[float | None]]], where: str, features: tuple[str, ...]
) -> SymbolRows:
    positions, days, close, values = zip(*checked, strict=True)
    block = np.array(values, dtype="float64").reshape(len(checked), len(features))
    series = Series(symbol, np.array(days, dtype="datetime64[ns]"), np.array(close), block, features)
    return SymbolRows(series, np.array(positions), f"{where}[{positions[0]}]")


def _checked(row: Any, contract: Contract) -> tuple[str, str, float, list[float | None]]:
    if isinstance(row, dict) and len(row) > len(contract.names):  # found at once, however many there are
        raise _unknown(next(name for name in row if name not in contract.names), contract)
    try:
        symbol, day, close, *features = contract.row.model_validate(row).__dict__.values()
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_context=False)[0], contract) from None
    return symbol, day, close, features


def _refusal(fault: Any, contract: Contract) -> RequestError:
    """The first fault that pydantic found in a row, in words that name the way out."""
    if not fault["loc"]:
        return RequestError(f"a row must be an object, found {_show(fault['input'])}.")
    name = fault["loc"][0]
    if fault["type"] == "extra_forbidden":
        return _unknown(name, contract)
    if fault["type"] == "missing":
        way_out = "" if name in WANTED else " Send null where it has no value."
        return RequestError(
            f"is lacking; a row has {listed((*WANTED, *contract.trained.used), NAMED)}.{way_out}", field=name
        )
    if name == "symbol":
        symbols = contract.trained.symbols
        hint = did_you_mean(fault["input"], symbols, f"It knows {listed(symbols, NAMED)}.")
        return RequestError(f"the model was not fitted on {_show(fault['input'])}.{hint}", field=name)
    return RequestError(f"must be {WANTED.get(name, A_FEATURE)}, found {_show(fault['input'])}.", field=name)


def _unknown(name: str, contract: Contract) -> RequestError:
    return RequestError(f"{_show(name)} is none of {listed(list(contract.names), NAMED)}.", field=name[:_SHOWN])


def _check_order(symbol: str, day: str, before: str) -> None:
    if day == before:
        raise RequestError(f"{symbol} has the session {day} twice: send one row a session.", field="date")
    if day < before:
        raise RequestError(f"{symbol}: {day} comes after {before}: send the oldest first.", field="date")


def _show(value: Any) -> str:
    """A value as JSON would write it, cut short; a list or an object is only named."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
