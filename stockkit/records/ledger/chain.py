"""The hash chain over the rows of `forecasts`: what is hashed, how rows are linked, and where a chain is broken.

Row n carries ``number`` n, ``previous`` (the hash of row n − 1; 64 zeros for row 0) and ``hash``: SHA-256, in small
hexadecimal digits, of its canonical text in UTF-8. That text is one JSON object on one line, without blanks, of every
column but `hash`, in the order of `COLUMNS`, characters beyond ASCII as ``\\uXXXX``:

- text as a JSON string, whole numbers as JSON numbers;
- float64 as the string of its hexadecimal notation (``"0x1.999999999999ap-4"``), which is exact;
- sessions as ``"2023-09-21"``; instants in UTC, to the microsecond that the table keeps, as
  ``"2023-09-21T20:00:00.123456Z"``;
- NULL and NaN, which the table does not tell apart, as ``null``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stockkit.lake.contracts import MADE, SEAL

COLUMNS = [name for name in (*MADE, *SEAL) if name != "hash"]
GENESIS = "0" * 64
Fault = tuple[int | None, str, str, str]  # number, symbol, problem, detail


def canonical(row: Mapping[str, Any]) -> str:
    """The text of one row, a value of `columns` each."""
    return json.dumps({name: row[name] for name in COLUMNS}, separators=(",", ":"))


def digest(row: Mapping[str, Any]) -> str:
    """The hash of one row, a value of `columns` each."""
    return hashlib.sha256(canonical(row).encode()).hexdigest()


def link(frame: pd.DataFrame, *, number: int, previous: str) -> pd.DataFrame:
    """`frame` with `number`, `previous` and `hash`, its first row being `number` after the row hashed `previous`."""
    numbered = frame.assign(number=np.arange(number, number + len(frame)), previous="")
    hashes = []
    for row in _records(numbered):
        row["previous"] = previous
        hashes.append((previous, previous := digest(row)))
    linked = pd.DataFrame(hashes, columns=["previous", "hash"], index=frame.index, dtype="string")
    return numbered.assign(previous=linked["previous"], hash=linked["hash"])


def faults(frame: pd.DataFrame) -> Iterator[Fault]:
    """Every place where the rows, in any order, are not one unbroken chain that starts at number 0."""
    known = frame["number"].notna()
    for symbol in frame.loc[~known, "symbol"]:
        yield None, str(symbol), "added", "a row without a number"
    rows = frame[known].sort_values("number", kind="stable")
    twice = rows["number"].duplicated().to_numpy()
    for number, symbol in rows.loc[twice, ["number", "symbol"]].itertuples(index=False):
        yield int(number), str(symbol), "added", "a second row of this number"
    before, last = -1, GENESIS
    for row in _records(rows[~twice]):
        number, symbol = int(row["number"]), str(row["symbol"])
        gap = number - before - 1
        if number < 0:
            yield number, symbol, "added", "a number below 0"
            continue
        if gap:
            yield before + 1, "", "removed", _gone(before + 1, number - 1)
        elif row["previous"] != last:
            yield number, symbol, "not linked", "`previous` is not the hash of the row before"
        if row["hash"] != digest(row):
            yield number, symbol, "edited", "the row is not the one that was hashed"
        before, last = number, row["hash"]


def _gone(first: int, last: int) -> str:
    return f"row {first} is gone" if first == last else f"rows {first} to {last} are gone"


def _records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Each row as its canonical values and its hash, if it has one."""
    names = [*COLUMNS, "hash"] if "hash" in frame else COLUMNS
    for values in zip(*(_column(frame[name]) for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def _column(values: pd.Series) -> list[Any]:
    """The canonical values of a column, by the type that the table's contract gives it."""
    kind = {**MADE, **SEAL}[str(values.name)]
    if kind.startswith("datetime64"):
        canonical_values: list[Any] = _instants(values, day=kind == "datetime64[ns]")
    else:
        plain: dict[str, Callable[[Any], Any]] = {"float64": lambda v: float(v).hex(), "int64": int, "string": str}
        canonical_values = [plain[kind](value) for value in values.fillna("" if kind == "string" else 0)]
    return [value if there else None for value, there in zip(canonical_values, values.notna(), strict=True)]


def _instants(values: pd.Series, *, day: bool) -> list[str]:
    """Sessions as days, instants to the microsecond."""
    naive = values.to_numpy() if day else values.dt.tz_localize(None).to_numpy()
    texts = np.datetime_as_string(naive.astype("datetime64[D]" if day else "datetime64[us]"))
    return [str(text) if day else f"{text}Z" for text in texts]
