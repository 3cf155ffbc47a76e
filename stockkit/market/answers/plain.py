"""Answers that are plain tables, read at once: comma-separated, days as YYYY-MM-DD, finite numbers without signs.

What is not plain is read line by line (`careful`), which gives the same bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market.answers import dates, headers, text
from stockkit.market.answers.headers import same_symbol
from stockkit.market.answers.layouts import COLUMNS, PRICE_COLUMNS, Header, Reading

Columns = dict[str, "np.ndarray"]  # by name, each of shape (rows,)


@dataclass(frozen=True)
class Plain:
    """The rows of a plain answer.

    Attributes:
        columns: day, open, high, low, close (float64) and volume (int64, or NaN where the layout has none), ascending
            by day; `place` is the number of each row in the file, from 0.
        header: how the answer is laid out.
    """

    columns: Columns
    header: Header

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.columns["day"])

    @property
    def reading(self) -> Reading:
        """How the answer was read."""
        layout = self.header.layout
        return Reading(
            layout.name, layout.prices, note=layout.note, no_volume=0 if "volume" in self.header.places else self.count
        )

    def lines(self, body: bytes, who: str, places: np.ndarray) -> pd.DataFrame | None:
        """Where some rows stand in the answer's text: line (its number), row (verbatim) and date (as written).

        None where the text does not divide into as many lines as there are rows.

        Raises:
            SourceError: the bytes are no text.
        """
        written = enumerate(text.lines_of(text.decode(body, who))[1:], 2)
        rows = [(number, line) for number, line in written if not text.is_empty(line)]
        if len(rows) != self.count:
            return None
        at = self.header.places["date"]
        shown = [(rows[k][0], rows[k][1][:200], text.fields_of(rows[k][1], ",")[at].strip()) for k in places]
        return pd.DataFrame(shown, columns=["line", "row", "date"])


def read(body: bytes, symbol: str, who: str) -> Plain | None:
    """The rows of a plain answer; None where a field does not read as what it should be, or the layout asks for more.

    Raises:
        SourceError: as `headers.of_body`, of the first line.
    """
    import pyarrow as pa

    header = header_of(body, symbol, who)
    if header is None:
        return None
    try:
        table = _arrow(body, header)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    if "symbol" in header.places:
        symbols = table.column(header.names[header.places["symbol"]]).unique().to_pylist()
        if len(symbols) != 1 or not same_symbol(symbols[0], symbol):
            return None
    days = table.column(header.names[header.places["date"]]).to_numpy()
    first, last = np.datetime64(dates.FIRST_DAY), np.datetime64(dates.LAST_DAY)
    if len(days) and not first <= days.min() <= days.max() <= last:
        return None
    order = np.argsort(days, kind="stable")
    columns: Columns = {"day": days[order].astype("datetime64[ns]"), "place": order}
    for name in COLUMNS:
        at = header.places.get(name)
        columns[name] = np.full(len(days), np.nan) if at is None else table.column(header.names[at]).to_numpy()[order]
    finite = all(np.isfinite(columns[name]).all() for name in PRICE_COLUMNS)
    return Plain(columns, header) if finite else None


def header_of(body: bytes, symbol: str, who: str) -> Header | None:
    """The header of an answer that Arrow may be able to read: it is the first line, of UTF-8, with simple names."""
    first = text.first_line(body).rstrip(b"\r")
    if any(sign in first for sign in (b"\r", b'"', b"\x00")) or first[:2] in text.UTF_16:
        return None
    known = headers.headers([first.decode("utf-8-sig", "replace")])
    header = known[0] if known else headers.of_body(body, symbol, who)
    if header.rows != 1 or header.tickers or len(set(header.names)) < header.width:
        return None
    if header.delimiter != ",":  # then a point may stand for thousands
        return None
    return None if header.layout.no_volume is not None or {"time", "period"} & set(header.places) else header


def _arrow(body: bytes, header: Header) -> Any:
    """The columns of a plain answer as an Arrow table, named as in `header`; raises Arrow's errors."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    types = {header.names[header.places[name]]: pa.float64() for name in PRICE_COLUMNS}
    types[header.names[header.places["date"]]] = pa.date32()
    if "volume" in header.places:
        types[header.names[header.places["volume"]]] = pa.int64()
    if "symbol" in header.places:
        types[header.names[header.places["symbol"]]] = pa.string()
    return arrow_csv.read_csv(
        pa.BufferReader(body),
        read_options=arrow_csv.ReadOptions(use_threads=False, column_names=list(header.names), skip_rows=1),
        convert_options=arrow_csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[]),
    )
