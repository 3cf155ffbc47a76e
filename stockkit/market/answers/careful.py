"""Answers read line by line: what the file as a whole shows of how dates and numbers are written decides each field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stockkit.errors import SourceError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market.answers import AUTO, Answer, Choices, dates, headers, layouts, numbers, text
from stockkit.market.answers.headers import same_symbol
from stockkit.market.answers.layouts import COLUMNS, PRICE_COLUMNS, Header, Reading


@dataclass(frozen=True)
class Rows:
    """The rows of an answer and how they were read; `frame` as `read` says."""

    frame: pd.DataFrame = field(repr=False)
    reading: Reading


def read(answer: Answer, choices: Choices | None = None, *, zone: str | None = None) -> Rows:
    """Every row of an answer: line (in the file), row (verbatim), date (text), fault, blank, day, the numbers.

    `fault` names what is wrong with the line itself (a rule of `clean`), "" for none; `blank` is true where a price
    is. What cannot be read as a day or number is NaT or NaN here and is judged by the rules of `clean`; a volume that
    is not given is NaN, with `unknown` true.

    Args:
        answer: what to read.
        choices: what the user has decided.
        zone: the exchange's time zone, for dates that are instants; None for UTC.

    Raises:
        SourceError: as `answers.check`; or there are no rows, the dates cannot be told, the bars are not daily.
    """
    lines = text.lines_of(headers.decoded(answer.body, answer.who))
    header = headers.of_lines(lines, answer.symbol, answer.who)
    raw = _rows(lines, header)
    if raw.empty:
        raise SourceError(f"{answer.who}: the CSV has a header but no rows.")
    raw = _of_symbol(raw, header, answer)
    _check_period(raw, answer)
    frame, how = _typed(raw, header, answer, choices or Choices(), zone)
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
    columns: dict[str, list[Any]] = {name: [] for name in ("line", "row", "fault", *header.places)}
    single = bool(header.tickers)
    for number, line in enumerate(lines[header.rows :], header.rows + 1):
        if text.is_empty(line):
            continue
        long = len(line) > text.LONGEST
        fields = [] if long else text.fields_of(line, header.delimiter)
        row = {name: fields[at].strip() if at < len(fields) else "" for name, at in header.places.items()}
        if single and not long and len(fields) > last and not any(row[name] for name in row if name != "date"):
            continue  # a day on which only other symbols of the file traded
        spare = any(field.strip() for field in fields[header.width :])
        columns["line"].append(number)
        columns["row"].append(line[:200])
        columns["fault"].append("long_line" if long else "short_row" if len(fields) <= last else "spare_field" * spare)
        for name, value in row.items():
            columns[name].append(value)
    return pd.DataFrame(columns)


def _of_symbol(raw: pd.DataFrame, header: Header, answer: Answer) -> pd.DataFrame:
    """The rows, those of other symbols marked as such; all are taken where the column holds a company's name."""
    if "symbol" not in raw:
        return raw
    same = raw["symbol"].map(lambda name: same_symbol(name, answer.symbol)).to_numpy(bool)
    sound = (raw["fault"] == "").to_numpy()
    if not same[sound].any() and sound.any():
        if header.names[header.places["symbol"]] in layouts.WEAK and raw["symbol"][sound].nunique() == 1:
            return raw
        line, other = raw.loc[sound, ["line", "symbol"]].iloc[0]
        raise SourceError(
            f"{answer.who}: line {line} is of {other!r}, not of {answer.symbol}, and so are all others or of further "
            "symbols. Ask for the symbol that the file names, or rename the file."
        )
    return raw.assign(fault=np.where(sound & ~same, "other_symbol", raw["fault"]))


def _check_period(raw: pd.DataFrame, answer: Answer) -> None:
    """Raise where a column says that the bars are not of days."""
    if "period" not in raw:
        return
    other = raw[(raw["fault"] == "") & ~raw["period"].str.upper().isin(["D", "D1", "1D", "DAILY", "1440"])]
    if len(other):
        line, period = other[["line", "period"]].iloc[0]
        raise SourceError(
            f"{answer.who}: these are intraday bars or others than daily ones (line {line} has the period "
            f"{period!r}); daily bars are read. Export them with an interval of one day."
        )


def _typed(
    raw: pd.DataFrame, header: Header, answer: Answer, choices: Choices, zone: str | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows with day and numbers, and how those are written."""
    who, lines = answer.who, raw["line"].tolist()
    days, shown = _days(raw, header, choices, zone, who)
    texts = {name: raw[name].tolist() if name in raw else [""] * len(raw) for name in COLUMNS}
    sound = np.flatnonzero(raw["fault"] == "")
    how = numbers.tell(
        [[texts[name][k] for k in sound] for name in COLUMNS], [lines[k] for k in sound], header.delimiter, who
    )
    values = {
        name: np.array([numbers.value(field, how, large=name == "volume") for field in texts[name]], dtype="float64")
        for name in COLUMNS
    }
    unknown = np.array([field in numbers.NO_VOLUME for field in texts["volume"]])
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
    column = dates.read(
        written.tolist(), rows["line"].tolist(), order="" if choices.dates == AUTO else choices.dates,
        usual=header.layout.order, zone=zone, who=who,
    )  # fmt: skip
    out[sound] = column.days
    return out, column.shown
