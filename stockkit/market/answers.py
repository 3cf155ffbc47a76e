"""What a source answered, read as rows: at once where it is plain, line by line where something is off.

The columns are those of Alpha Vantage's daily CSV: timestamp (or date), open, high, low, close, volume; more are
ignored.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from stockkit.errors import SourceError

COLUMNS = ("open", "high", "low", "close", "volume")
PRICE_COLUMNS = COLUMNS[:4]
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
SIGN = re.compile(rb"\S")
BLANK = ["", "nan", "NaN", "NA", "null", "None"]

Columns = dict[str, np.ndarray]  # by name, each of shape (rows,)


@dataclass(frozen=True)
class Answer:
    """What a source said about one symbol: the bytes, where they are kept, and when they were fetched (UTC).

    `known_at` is given where that is not since when it counts as known: where a clock was set back, see `lake.raw`.
    """

    symbol: str
    body: bytes
    file: str
    fetched_at: pd.Timestamp
    known_at: pd.Timestamp | None = None

    @property
    def since(self) -> pd.Timestamp:
        """Since when it counts as known, UTC."""
        return self.fetched_at if self.known_at is None else self.known_at

    @cached_property
    def plain(self) -> Columns | None:
        """Its columns as `quick` reads them, read once."""
        return quick(self)


def check(answer: Answer) -> list[str]:
    """The column names of an answer, in small letters; a glance at its beginning, not at its rows.

    Raises:
        SourceError: the bytes are no CSV of daily bars (empty, JSON, HTML, another encoding, a column missing).
    """
    head = first_sign(answer.body)
    if not head:
        raise SourceError(f"{_who(answer)}: the answer is empty.")
    if head in (b"{", b"["):
        raise SourceError(f"{_who(answer)}: expected CSV, got JSON: {_json_message(answer.body)}")
    if head == b"<":
        raise SourceError(f"{_who(answer)}: expected CSV, got an HTML or XML page.")
    return _header(next(csv.reader([_decoded(first_line(answer.body), answer)]), []), answer)


def first_line(body: bytes) -> bytes:
    """The first line, without its end; the rest is not copied."""
    return io.BytesIO(body).readline().rstrip(b"\n")


def first_sign(body: bytes, start: int = 0) -> bytes:
    """The first byte from `start` on that is no white space, empty where there is none."""
    found = SIGN.search(body, start)
    return found.group() if found else b""


def quick(answer: Answer) -> Columns | None:
    """The columns of a plain answer: day, open, high, low, close (float64), volume (int64), ascending by day.

    None where a field does not read as what it should be: then `read` tells which.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    first = first_line(answer.body).decode("utf-8-sig", "replace").strip()
    names = dict(zip(check(answer), (name.strip() for name in next(csv.reader([first]))), strict=True))
    types = {names[name]: pa.float64() for name in PRICE_COLUMNS}
    types |= {names["date"]: pa.date32(), names["volume"]: pa.int64()}
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(answer.body),
            read_options=arrow_csv.ReadOptions(use_threads=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types, include_columns=[names[name] for name in ("date", *COLUMNS)], null_values=[]
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    days = table.column(0).to_numpy().astype("datetime64[ns]")
    order = np.argsort(days, kind="stable")
    return {"day": days[order]} | {name: table.column(k + 1).to_numpy()[order] for k, name in enumerate(COLUMNS)}


def read(answer: Answer) -> pd.DataFrame:
    """Every row of an answer: line (in the file), row (verbatim), date (text), short, blank, day, the numbers.

    What cannot be read as a day or number is NaT or NaN here and is judged by the rules of `clean`.

    Raises:
        SourceError: as `check`; or there are no rows, or no date is written YYYY-MM-DD.
    """
    header = check(answer)
    reader = csv.reader(io.StringIO(_decoded(answer.body, answer), newline=""))
    next(reader)
    lines = [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    if not lines:
        raise SourceError(f"{_who(answer)}: the CSV has a header but no rows.")
    places = {name: header.index(name) for name in ("date", *COLUMNS)}
    width = max(places.values()) + 1
    frame = pd.DataFrame(
        {
            "line": [number for number, _ in lines],
            "row": [",".join(fields)[:200] for _, fields in lines],
            "short": [len(fields) < width for _, fields in lines],
            **{
                name: [fields[at].strip() if at < len(fields) else "" for _, fields in lines]
                for name, at in places.items()
            },
        }
    )
    return _typed(frame, answer)


def _typed(frame: pd.DataFrame, answer: Answer) -> pd.DataFrame:
    iso = frame["date"].str.fullmatch(DAY)
    days = pd.to_datetime(frame["date"].where(iso), format="%Y-%m-%d", errors="coerce")
    if days.isna().all() and not frame["short"].all():
        raise SourceError(
            f"{_who(answer)}: dates must be written YYYY-MM-DD, found {frame['date'].iloc[0][:40]!r}. "
            "Convert the column and run again; guessing day and month would be worse."
        )
    blank = frame[list(COLUMNS)].isin(BLANK).any(axis=1)
    numbers = {name: np.array([_number(text) for text in frame[name]], dtype="float64") for name in COLUMNS}
    return frame.assign(day=days.astype("datetime64[ns]"), blank=blank, **numbers)


def _number(text: str) -> float:
    """The nearest double, which pandas' own reader misses by a last digit now and then; NaN where it is none."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _decoded(body: bytes, answer: Answer) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{_who(answer)}: not UTF-8 text (byte {error.start}). Save it as UTF-8 CSV.") from error
    if "\x00" in text:
        raise SourceError(f"{_who(answer)}: not a text file: it contains NUL bytes. Save it as UTF-8 CSV.")
    return text


def _json_message(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        said = body[:200].decode("utf-8", "replace")
    if isinstance(said, dict):
        said = next((said[key] for key in ("Note", "Information", "Error Message") if key in said), said)
    return str(said)[:200]


def _header(fields: list[str], answer: Answer) -> list[str]:
    names = [name.strip().lower() for name in fields]
    names = ["date" if name == "timestamp" else name for name in names]
    for name in ("date", *COLUMNS):
        if names.count(name) != 1:
            fault = "lacks the column" if name not in names else "has more than one column"
            raise SourceError(
                f"{_who(answer)}: the CSV {fault} {name!r}; its first line is {','.join(names)[:120]!r}. "
                "Expected timestamp (or date), open, high, low, close, volume."
            )
    return names


def _who(answer: Answer) -> str:
    return f"{answer.symbol} ({answer.file})"
