"""What a source answered, read as rows: at once where it is plain, line by line where something is off.

The layout is recognised by the header (`layouts`), the text (`text`), dates (`dates`) and numbers (`numbers`) as the
file as a whole shows them; what can be read in two ways is refused with the choice.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ParamError, SourceError
from stockkit.market.answers import dates, layouts, numbers, text
from stockkit.market.answers.layouts import Header

COLUMNS = ("open", "high", "low", "close", "volume")
PRICE_COLUMNS = COLUMNS[:4]
SIGN = re.compile(rb"\S")
AUTO = "auto"
PROLOGUE = 40  # lines above the header that are looked through for it
PAGE = re.compile(r"<(?:!doctype|html|head|body|\?xml|[a-z]+[ >/])", re.IGNORECASE)

Columns = dict[str, np.ndarray]  # by name, each of shape (rows,)


@dataclass(frozen=True)
class Choices:
    """What a file leaves open and the user has decided.

    `dates` is the order of day and month (DMY, MDY, YMD), or "auto"; `allow` names rules that are not applied.
    """

    dates: str = AUTO
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dates not in (AUTO, *dates.ORDERS):
            raise ParamError(f"dates must be {AUTO}, {', '.join(dates.ORDERS)}, found {self.dates!r}.")


@dataclass(frozen=True)
class Reading:
    """How an answer was read, for the report: layout, which price, how dates and numbers are written, remarks."""

    layout: str
    prices: str
    dates: str = "YYYY-MM-DD"
    numbers: str = ""
    note: str = ""
    no_volume: int = 0

    @property
    def remarks(self) -> str:
        """What else to know, in words."""
        volume = f"{self.no_volume:,} rows without a volume" if self.no_volume else ""
        return "; ".join(word for word in (self.numbers, self.note, volume) if word)


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


@dataclass(frozen=True)
class Rows:
    """The rows of an answer and how they were read; `frame` as `read` says."""

    frame: pd.DataFrame = field(repr=False)
    reading: Reading


def check(answer: Answer) -> list[str]:
    """The column names of an answer, in small letters; all of it is decoded, no row is read.

    Raises:
        SourceError: the bytes are no table of daily bars (empty, JSON, HTML, another encoding, an unknown header).
    """
    return list(header_of(_head(answer), answer).names)


def header_of(lines: Sequence[str], answer: Answer) -> Header:
    """The header of an answer's lines.

    Raises:
        SourceError: it is not recognised; names its columns and those expected. Or its symbols are others.
    """
    told = _header(lines, answer)
    if told.tickers and answer.symbol and not same_symbol(told.tickers[0], answer.symbol):
        raise SourceError(f"{_who(answer)}: the header is of {told.tickers[0]}, not of {answer.symbol}.")
    return told


def headers(lines: Sequence[str]) -> list[Header]:
    """The headers that the lines of a file begin with: one a symbol of yfinance's download, else one; none unknown."""
    for at, line in enumerate(lines[:PROLOGUE]):
        if text.is_empty(line):
            continue
        for delimiter in text.DELIMITERS:
            fields = text.fields_of(line, delimiter)
            if found := layouts.recognise(fields, delimiter, at + 1):
                return [found]
            if len(fields) > 1:
                few = [text.fields_of(one, delimiter) for one in lines[at : at + 3]]
                if download := layouts.yfinance(few, delimiter, at):
                    return download
    return []


def same_symbol(one: str, other: str) -> bool:
    """Whether two spellings are of one symbol: case, and dots for dashes, do not count."""
    return _spelling(one) == _spelling(other)


def _spelling(symbol: str) -> str:
    return symbol.strip().upper().replace("-", ".").replace("/", ".").replace("_", ".")


def _header(lines: Sequence[str], answer: Answer) -> Header:
    found = headers(lines)
    own = [one for one in found if one.tickers and same_symbol(one.tickers[0], answer.symbol)]
    if found:
        return (own or found)[0]
    first = next((line for line in lines if not text.is_empty(line)), "").strip()
    _check_page(first, answer)
    raise SourceError(f"{_who(answer)}: {_fault(first)} Expected {layouts.EXPECTED}.")


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


def _check_page(first: str, answer: Answer) -> None:
    if first[:1] in ("{", "["):
        raise SourceError(f"{_who(answer)}: expected CSV, got JSON: {_json_message(answer.body)}")
    if PAGE.match(first):
        raise SourceError(f"{_who(answer)}: expected CSV, got an HTML or XML page.")


def _lines(answer: Answer) -> list[str]:
    return text.lines_of(_text(answer))


def _head(answer: Answer) -> list[str]:
    """The lines that may hold the header; the others are decoded and left whole."""
    return text.LINE_END.split(_text(answer), PROLOGUE + 3)[: PROLOGUE + 3]


def _text(answer: Answer) -> str:
    head = first_sign(answer.body)
    if not head:
        raise SourceError(f"{_who(answer)}: the answer is empty.")
    if head in (b"{", b"["):
        raise SourceError(f"{_who(answer)}: expected CSV, got JSON: {_json_message(answer.body)}")
    return text.decode(answer.body, _who(answer))


def first_line(body: bytes) -> bytes:
    """The first line, without its end; the rest is not copied."""
    return io.BytesIO(body).readline().rstrip(b"\n")


def first_sign(body: bytes, start: int = 0) -> bytes:
    """The first byte from `start` on that is no white space, empty where there is none."""
    found = SIGN.search(body, start)
    return found.group() if found else b""


def quick(answer: Answer) -> Columns | None:
    """The columns of a plain answer: day, open, high, low, close (float64), volume (int64), ascending by day.

    A volume that the layout lacks is NaN. None where a field does not read as what it should be, or the layout asks
    for more than that: then `read` tells which.

    Raises:
        SourceError: as `check`, of the first line.
    """
    import pyarrow as pa

    header = _plain_header(answer)
    if header is None:
        return None
    try:
        table = _arrow(answer.body, header)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    symbols = header.places.get("symbol")
    if symbols is not None:
        said = table.column(header.names[symbols]).unique().to_pylist()
        if len(said) != 1 or not same_symbol(said[0], answer.symbol):
            return None
    days = table.column(header.names[header.places["date"]]).to_numpy().astype("datetime64[ns]")
    order = np.argsort(days, kind="stable")
    columns: Columns = {"day": days[order]}
    for name in COLUMNS:
        at = header.places.get(name)
        columns[name] = np.full(len(days), np.nan) if at is None else table.column(header.names[at]).to_numpy()[order]
    return columns


def _plain_header(answer: Answer) -> Header | None:
    """The header of an answer that Arrow may be able to read: it is the first line, of UTF-8, with simple names."""
    first = first_line(answer.body).rstrip(b"\r")
    if any(sign in first for sign in (b"\r", b'"', b"\x00")) or first[:2] in text.UTF_16:
        return None
    names = first.decode("utf-8-sig", "replace")
    found = headers([names]) or headers(_head(answer))
    if not found:
        header_of(_head(answer), answer)  # raises
    header = found[0] if found else None
    if header is None or header.rows != 1 or header.tickers or len(set(header.names)) < header.width:
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


def reading_of(answer: Answer) -> Reading:
    """How an answer that `quick` reads was read."""
    header = _plain_header(answer) or header_of(_head(answer), answer)
    none = 0 if "volume" in header.places or answer.plain is None else len(answer.plain["day"])
    return Reading(header.layout.name, header.layout.prices, note=header.layout.note, no_volume=none)


def read(answer: Answer, choices: Choices | None = None, *, zone: str | None = None) -> pd.DataFrame:
    """Every row of an answer: line (in the file), row (verbatim), date (text), fault, blank, day, the numbers.

    `fault` names what is wrong with the line itself (a rule of `clean`), "" for none; `blank` is true where a price
    is. What cannot be read as a day or number is NaT or NaN here and is judged by the rules of `clean`; a volume that
    is not given is NaN, with `unknown` true.

    Raises:
        SourceError: as `check`; or there are no rows, the dates cannot be told, the bars are not daily.
    """
    return read_whole(answer, choices or Choices(), zone=zone).frame


def read_whole(answer: Answer, choices: Choices, *, zone: str | None = None) -> Rows:
    """As `read`, and how it was read.

    Args:
        answer: what to read.
        choices: what the user has decided.
        zone: the exchange's time zone, for dates that are instants; None for UTC.
    """
    lines = _lines(answer)
    header = header_of(lines, answer)
    raw = _rows(lines, header)
    if raw.empty:
        raise SourceError(f"{_who(answer)}: the CSV has a header but no rows.")
    raw = _of_symbol(raw, header, answer)
    _check_period(raw, answer)
    frame, how = _typed(raw, header, answer, choices, zone)
    reading = Reading(
        header.layout.name,
        header.layout.prices,
        how["dates"],
        how["numbers"],
        header.layout.note,
        int(frame.loc[frame["fault"] == "", "unknown"].sum()),
    )
    return Rows(frame, reading)


def _rows(lines: Sequence[str], header: Header) -> pd.DataFrame:
    """The fields of every line below the header that is not empty, as texts."""
    last = max(header.places.values())
    parts: dict[str, list[Any]] = {name: [] for name in ("line", "row", "fault", *header.places)}
    single = bool(header.tickers)
    for number, line in enumerate(lines[header.rows :], header.rows + 1):
        if text.is_empty(line):
            continue
        long = len(line) > text.LONGEST
        fields = [] if long else text.fields_of(line, header.delimiter)
        own = {name: fields[at].strip() if at < len(fields) else "" for name, at in header.places.items()}
        if single and not long and len(fields) > last and not any(own[name] for name in own if name != "date"):
            continue  # a day on which only other symbols of the file traded
        spare = any(field.strip() for field in fields[header.width :])
        parts["line"].append(number)
        parts["row"].append(line[:200])
        parts["fault"].append("long_line" if long else "short_row" if len(fields) <= last else "spare_field" * spare)
        for name, value in own.items():
            parts[name].append(value)
    return pd.DataFrame(parts)


def _of_symbol(raw: pd.DataFrame, header: Header, answer: Answer) -> pd.DataFrame:
    """The rows, those of other symbols marked as such; all are taken where the column holds a company's name."""
    if "symbol" not in raw:
        return raw
    own = raw["symbol"].map(lambda said: same_symbol(said, answer.symbol)).to_numpy(bool)
    sound = (raw["fault"] == "").to_numpy()
    if not own[sound].any() and sound.any():
        if header.names[header.places["symbol"]] in layouts.WEAK and raw["symbol"][sound].nunique() == 1:
            return raw
        line, said = raw.loc[sound, ["line", "symbol"]].iloc[0]
        raise SourceError(
            f"{_who(answer)}: line {line} is of {said!r}, not of {answer.symbol}, and so are all others or of further "
            "symbols. Ask for the symbol that the file names, or rename the file."
        )
    return raw.assign(fault=np.where(sound & ~own, "other_symbol", raw["fault"]))


def _check_period(raw: pd.DataFrame, answer: Answer) -> None:
    """Raise where a column says that the bars are not of days."""
    if "period" not in raw:
        return
    other = raw[(raw["fault"] == "") & ~raw["period"].str.upper().isin(["D", "D1", "1D", "DAILY", "1440"])]
    if len(other):
        line, period = other[["line", "period"]].iloc[0]
        raise SourceError(
            f"{_who(answer)}: these are intraday bars or others than daily ones (line {line} has the period "
            f"{period!r}); daily bars are read. Export them with an interval of one day."
        )


def _typed(
    raw: pd.DataFrame, header: Header, answer: Answer, choices: Choices, zone: str | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows with day and numbers, and how those are written."""
    who, lines = _who(answer), raw["line"].tolist()
    days, shown = _days(raw, header, choices, zone, who)
    texts = {name: raw[name].tolist() if name in raw else [""] * len(raw) for name in COLUMNS}
    sound = np.flatnonzero(raw["fault"] == "")
    how = numbers.tell(
        [[texts[name][k] for k in sound] for name in COLUMNS], [lines[k] for k in sound], header.delimiter, who
    )
    values = {name: np.array([numbers.value(one, how, large=name == "volume") for one in texts[name]], dtype="float64")
              for name in COLUMNS}  # fmt: skip
    unknown = np.array([one in numbers.NO_VOLUME for one in texts["volume"]])
    if header.layout.no_volume is not None:
        unknown |= values["volume"] == header.layout.no_volume
    values["volume"][unknown] = np.nan
    blank = raw[list(PRICE_COLUMNS)].isin(list(numbers.BLANK)).any(axis=1)
    frame = raw[["line", "row", "fault", "date"]].assign(day=days, blank=blank, unknown=unknown, **values)
    return frame, {"dates": shown, "numbers": how.shown}


def _days(raw: pd.DataFrame, header: Header, choices: Choices, zone: str | None, who: str) -> tuple[np.ndarray, str]:
    sound = (raw["fault"] == "").to_numpy()
    out = np.full(len(raw), np.datetime64("NaT"), dtype="datetime64[ns]")
    if not sound.any():
        return out, ""
    rows = raw[sound]
    written = rows["date"]
    if "time" in rows:
        times = rows["time"].str.replace(r"^(\d{2}):?(\d{2}):?(\d{2})?$", r"\1:\2:\3", regex=True).str.rstrip(":")
        written = (written + " " + times).str.strip()
        written = written.str.replace(r"^(\d{4})(\d{2})(\d{2}) ", r"\1-\2-\3 ", regex=True)
    found = dates.read(
        written.tolist(), rows["line"].tolist(), order="" if choices.dates == AUTO else choices.dates,
        usual=header.layout.order, zone=zone, who=who,
    )  # fmt: skip
    out[sound] = found.days
    return out, found.shown


def _json_message(body: bytes) -> str:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = body[:200].decode("utf-8", "replace")
    if isinstance(said, dict):
        said = next((said[key] for key in ("Note", "Information", "Error Message") if key in said), said)
    return str(said)[:200]


def _who(answer: Answer) -> str:
    return f"{answer.symbol} ({answer.file})"
