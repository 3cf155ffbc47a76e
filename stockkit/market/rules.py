"""The rules that each row of an answer is judged by: one table of name, meaning and predicate over columns.

A rule is added as one entry of `RULES`; it fires on plain files and on those that are read line by line alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market import sessions
from stockkit.market.answers.layouts import COLUMNS, PRICE_COLUMNS
from stockkit.market.answers.plain import Columns

MAX_VOLUME = 2**53
ALLOWABLE = ("before_calendar", "fractional_volume", "non_positive_price")


@dataclass(frozen=True)
class Rows:
    """The rows of one answer as columns of shape (rows,), ascending by day, and what they are judged by.

    Attributes:
        day: the session (datetime64[ns]), NaT where the text is no day; those that are come first.
        open, high, low, close: float64, NaN where the text is no number.
        volume: int64, or float64 with NaN where the text is no number, or no volume is given (`unknown`).
        fault: the rule that the line itself breaks, "" for none.
        blank: whether a price is empty.
        traded: whether the exchange's calendar has the day.
        first: the day from which on that calendar knows what was a session.
        closed: the last session that had closed when the source answered.
        allow: names of rules that are not applied.
        sound: whether a row breaks none of the rules that come earlier in the table.
    """

    day: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    fault: np.ndarray | str
    blank: np.ndarray | bool
    unknown: np.ndarray | bool
    traded: np.ndarray
    first: np.datetime64
    closed: np.datetime64
    allow: Sequence[str]
    sound: np.ndarray

    @property
    def prices(self) -> tuple[np.ndarray, ...]:
        """Open, high, low and close."""
        return self.open, self.high, self.low, self.close


@dataclass(frozen=True)
class Rule:
    """What a broken rule means, and which rows break it: a predicate that gives booleans of shape (rows,)."""

    meaning: str
    broken: Callable[[Rows], Any]


def _line(name: str) -> Callable[[Rows], Any]:
    return lambda rows: np.asarray(rows.fault == name)


def _not_a_number(rows: Rows) -> np.ndarray:
    odd = ~(np.abs(rows.volume) <= MAX_VOLUME) & ~np.asarray(rows.unknown)
    if "fractional_volume" not in rows.allow and rows.volume.dtype.kind == "f":
        odd |= rows.volume % 1 > 0
    return odd | ~np.isfinite(rows.prices).all(axis=0)


def _table(rows: Rows) -> pd.DataFrame | None:
    """The sound rows as a frame; None where no day is there twice."""
    day = rows.day[rows.sound]
    if (day[1:] > day[:-1]).all():
        return None
    return pd.DataFrame({name: getattr(rows, name)[rows.sound] for name in ("day", *COLUMNS)})


def _conflicting(rows: Rows) -> np.ndarray:
    broken, table = np.zeros(len(rows.day), bool), _table(rows)
    if table is not None:
        days = table.drop_duplicates()["day"]
        broken[rows.sound] = table["day"].isin(days[days.duplicated()])
    return broken


def _repeated(rows: Rows) -> np.ndarray:
    broken, table = np.zeros(len(rows.day), bool), _table(rows)
    if table is not None:
        broken[rows.sound] = table.duplicated()
    return broken


RULES: dict[str, Rule] = {
    "long_line": Rule("the line is longer than 128 KB: it is no row of daily bars", _line("long_line")),
    "short_row": Rule("the row has fewer fields than the header: it was cut off", _line("short_row")),
    "spare_field": Rule(
        "the row has more fields than the header: a separator of thousands, or a stray comma", _line("spare_field")
    ),
    "other_symbol": Rule("the row is of another symbol", _line("other_symbol")),
    "bad_date": Rule("the date is not a day, written as the column's others are", lambda rows: np.isnat(rows.day)),
    "missing_value": Rule("a price is empty or NaN", lambda rows: rows.blank),
    "not_a_number": Rule(
        "a price or the volume is not a finite number, or the volume is not whole (-p 'allow=[fractional_volume]' "
        "rounds it)",
        _not_a_number,
    ),
    "non_positive_price": Rule(
        "a price is zero or negative: -p 'allow=[non_positive_price]' keeps such rows, which have no return",
        lambda rows: np.minimum.reduce(rows.prices) <= 0,
    ),
    "negative_volume": Rule("the volume is below zero", lambda rows: rows.volume < 0),
    "high_below_low": Rule("the high is below the low", lambda rows: rows.high < rows.low),
    "outside_range": Rule(
        "the open or the close lies outside low to high",
        lambda rows: (np.maximum(rows.open, rows.close) > rows.high) | (np.minimum(rows.open, rows.close) < rows.low),
    ),
    "before_calendar": Rule(
        "the exchange's calendar does not reach back to that day: -p 'allow=[before_calendar]' keeps such rows",
        lambda rows: rows.day < rows.first,
    ),
    "closed_day": Rule("the exchange was closed on that day", lambda rows: ~rows.traded & ~(rows.day < rows.first)),
    "session_not_closed": Rule(
        "the session had not closed when the source answered", lambda rows: rows.day > rows.closed
    ),
    "conflicting_rows": Rule("several rows of the file disagree about that day, so none is used", _conflicting),
    "repeated_row": Rule("the same row stands earlier in the file", _repeated),
}


def rows_of(
    columns: Columns, *, fetched_at: pd.Timestamp, calendar: str = sessions.DEFAULT, allow: Sequence[str] = ()
) -> Rows:
    """The columns of one answer, ascending by day, with what the rules need to know besides.

    Args:
        columns: day and the numbers; fault, blank and unknown where the answer was read line by line.
        fetched_at: when the source answered, UTC.
        calendar: the exchange.
        allow: names of rules that are not applied.
    """
    day, volume = columns["day"], columns["volume"]
    recorded = sessions.reaching(day[0] if len(day) else pd.NaT, calendar).to_numpy()
    place = np.minimum(np.searchsorted(recorded, day), len(recorded) - 1)
    return Rows(
        day=day,
        **{name: columns[name] for name in PRICE_COLUMNS},
        volume=volume,
        fault=columns.get("fault", ""),
        blank=columns.get("blank", False),
        unknown=columns.get("unknown", volume.dtype.kind == "f"),
        traded=recorded[place] == day,
        first=sessions.first(calendar).to_datetime64(),
        closed=sessions.last_closed(fetched_at, calendar).to_datetime64(),
        allow=allow,
        sound=np.ones(len(day), bool),
    )


def first_broken(rows: Rows) -> np.ndarray:
    """The name of the first rule of the table that each row breaks, "" for a good row, shape (rows,)."""
    names = np.full(len(rows.day), "", dtype=object)
    for name, rule in RULES.items():
        if name in rows.allow:
            continue
        with np.errstate(invalid="ignore"):
            broken = rows.sound & rule.broken(rows)
        if broken.any():
            names[broken] = name
            rows = replace(rows, sound=rows.sound & ~broken)
    return names
