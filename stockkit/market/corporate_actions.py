"""Corporate actions: splits and dividends as files tell them, and prices comparable across them.

The method is the usual back-adjustment (CRSP, "Data Definitions": factor to adjust price): a price before
an ex-date is divided by the ratio of every later split, a volume is multiplied by it. Dividends are
listed, not removed from the price.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from stockkit.errors import SchemaError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market import schema
from stockkit.market.symbols import is_symbol

ACTIONS: Mapping[str, str] = {
    "symbol": "string",
    "ex_date": "datetime64[ns]",
    "kind": "string",
    "value": "float64",
}
KINDS = ("split", "dividend")
EVENT_COLUMNS: Mapping[str, tuple[str, float]] = {
    "split_coefficient": ("split", 1.0),
    "dividend_amount": ("dividend", 0.0),
    "splitfactor": ("split", 1.0),  # Tiingo's names
    "divcash": ("dividend", 0.0),
}  # the kind of action that a column of a source's bars tells, and the value of a day without one
STAMP = re.compile(r"(?<=^\d{4}-\d\d-\d\d)[T ].*")  # the time beside a day
LARGE = 15.0  # percent: a move on an ex-date that a reader should look up
Action = tuple[str, date, str, float]
Fault = tuple[Any, Any, Any, int, str]
FAULTS: Mapping[str, str] = {
    "symbol": "string",  # NA where it is none
    "ex_date": "datetime64[ns]",  # NaT where it is no day
    "kind": "string",
    "line": "int64",
    "reason": "string",
}


@dataclass(frozen=True)
class Listed:
    """The corporate actions that a file gives (`actions`, as `ACTIONS`), and its lines that give none (`faults`)."""

    actions: pd.DataFrame
    faults: pd.DataFrame


def parse(body: bytes, *, file: str) -> pd.DataFrame:
    """Read corporate actions as `read` does, all or none.

    Raises:
        SchemaError: as `read`, or a line is no action; names file, line and value.
    """
    listed = read(body, file=file)
    if len(listed.faults):
        raise SchemaError(listed.faults["reason"].iloc[0])
    return listed.actions


def read(body: bytes, *, file: str) -> Listed:
    """Read corporate actions from CSV bytes with the columns symbol, ex_date, kind, value.

    A `split` has as value the new shares for one old (4.0 for 4:1); a `dividend` the cash a share, as paid.
    A split of 1.0 states that a large move on that day was no split, and lets it pass `clean`; it may stand beside a
    split of the same day. A line that begins with # is a comment.

    Returns:
        Actions sorted by symbol, ex_date and kind; a repeated line counts once. A line that is no action, and lines
        that give two values for one day, are faults and cost only what they are about.

    Raises:
        SchemaError: the file is not UTF-8 text, or its first line is another.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{file} is not UTF-8 text (byte {error.start}): save it as UTF-8 CSV.") from error
    lines = _lines(text)
    header = [name.strip().lower() for name in next(lines, (0, []))[1]]
    if header != list(ACTIONS):
        raise SchemaError(f"{file}: the first line must be {','.join(ACTIONS)}, found {','.join(header)[:80]!r}.")
    return _listed(((number, row) for number, row in lines if "".join(row).strip()), file)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV with their numbers, comments left out; one that csv cannot read is a single field."""
    reader = csv.reader(io.StringIO(text, newline=""))
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row = [f"(unreadable: {error})"]
        if not row or not row[0].lstrip().startswith("#"):
            yield reader.line_num, row


def _listed(lines: Iterable[tuple[int, list[str]]], file: str) -> Listed:
    numbers: dict[Action, int] = {}
    faults = []
    for number, row in lines:
        try:
            numbers.setdefault(_action(row, f"{file} line {number}"), number)
        except SchemaError as error:
            faults.append(_fault(row, number, str(error)))
    days: dict[Hashable, list[Action]] = {}
    for action in numbers:
        days.setdefault((*action[:3], action[2] == "split" and action[3] == 1.0), []).append(action)
    for twice in (actions for actions in days.values() if len(actions) > 1):
        faults += [_contradiction(twice, [numbers[action] for action in twice], file)]
    sound = sorted(actions[0] for actions in days.values() if len(actions) == 1)
    return Listed(
        pd.DataFrame(sound, columns=list(ACTIONS)).astype(dict(ACTIONS)),
        schema.cast(pd.DataFrame(faults, columns=list(FAULTS)), FAULTS),
    )


def _action(row: list[str], where: str) -> Action:
    try:
        symbol, ex_date, kind, value = (field.strip() for field in row)
        action = (schema.check_symbol(symbol), date.fromisoformat(ex_date), kind, float(value))
    except ValueError as error:
        raise SchemaError(f"{where}: {','.join(row)[:80]!r} is not an action ({error}).") from error
    if kind not in KINDS or not math.isfinite(action[3]) or action[3] <= 0 or "_" in value:
        raise SchemaError(f"{where}: expected split or dividend and a value above zero, found {row!r}.")
    return action


def _fault(row: list[str], line: int, reason: str) -> Fault:
    """What can be told of a line that is no action: whose, on which day, and of which kind."""
    symbol, day, kind = (field.strip() for field in [*row, "", "", ""][:3])
    try:
        ex_date = pd.Timestamp(date.fromisoformat(day))
    except ValueError:
        ex_date = pd.NaT
    named = is_symbol(symbol)
    return symbol if named else None, ex_date, kind if kind in KINDS else None, line, reason


def _contradiction(actions: Sequence[Action], lines: Sequence[int], file: str) -> Fault:
    symbol, day, kind, _ = actions[0]
    way_out = "write their sum in one line if all were paid, else keep" if kind == "dividend" else "keep"
    count = "two" if len(lines) == 2 else str(len(lines))
    values = ", ".join(f"{action[3]:g}" for action in actions)
    reason = (
        f"{file} lines {' and '.join(map(str, lines))} give {count} different values for the {kind} of {symbol} "
        f"on {day} ({values}): {way_out} the right one."
    )
    return symbol, pd.Timestamp(day), kind, lines[0], reason


def none() -> pd.DataFrame:
    """No corporate actions at all: a frame of no rows as `ACTIONS`."""
    return _nothing().actions.copy()


@cache
def _nothing() -> Listed:
    return Listed(schema.empty(ACTIONS), schema.empty(FAULTS))


def split_factor(dates: np.ndarray, actions: pd.DataFrame) -> np.ndarray:
    """The product of the ratios of all splits after each date, shape as `dates`, for one symbol's actions."""
    splits = actions[actions["kind"] == "split"].sort_values("ex_date")
    ex_dates = splits["ex_date"].to_numpy()
    later = np.concatenate([np.cumprod(splits["value"].to_numpy()[::-1])[::-1], [1.0]])
    return later[np.searchsorted(ex_dates, dates, side="right")]


def dividends(dates: np.ndarray, actions: pd.DataFrame) -> np.ndarray:
    """The cash a share (as paid, not adjusted) with ex-date on each date, 0.0 where there was none."""
    paid = actions[actions["kind"] == "dividend"].set_index("ex_date")["value"]
    return paid.reindex(pd.DatetimeIndex(dates)).fillna(0.0).to_numpy()


def adjust(raw: pd.DataFrame, actions: pd.DataFrame) -> pd.DataFrame:
    """Split-adjust bars as traded.

    Args:
        raw: symbol, date, open, high, low, close (as traded), volume (shares as traded), sorted by symbol then date.
        actions: as `ACTIONS`, cut to those known at the as-of date.

    Returns:
        A new frame: the same bars split-adjusted, plus close_raw, split_factor and dividend (cash a share in
        the adjusted units of close).
    """
    raw, actions = schema.conform(raw), schema.conform(actions, ACTIONS, what="actions")
    dates = raw["date"].to_numpy()
    codes, names = pd.factorize(raw["symbol"])
    factor, dividend = np.ones(len(raw)), np.zeros(len(raw))
    for symbol, own_actions in actions.groupby("symbol"):
        if symbol in names:
            code = int(np.flatnonzero(names == symbol)[0])
            rows = slice(*np.searchsorted(codes, [code, code + 1]))
            factor[rows] = split_factor(dates[rows], own_actions)
            dividend[rows] = dividends(dates[rows], own_actions) / factor[rows]
    adjusted = {**raw, "close_raw": raw["close"], "split_factor": factor, "dividend": dividend}
    if (factor != 1).any():
        adjusted |= {name: raw[name].to_numpy() / factor for name in ("open", "high", "low", "close")}
        adjusted["volume"] = schema.whole_volumes(np.rint(raw["volume"].to_numpy() * factor))
    return pd.DataFrame(adjusted, index=raw.index, copy=False)


def split_days(prices: pd.DataFrame) -> pd.DataFrame:
    """What the adjustment did on each split's ex-date.

    Args:
        prices: as `schema.PRICES`.

    Returns:
        symbol, ex_date, ratio, raw_return_pct and adjusted_return_pct (close to close), a row a split; `note` says
        where the adjusted return is beyond `LARGE`, for a reader to look up.
    """
    before = prices.groupby("symbol")[["close", "close_raw", "split_factor"]].shift(1)
    ratio = before["split_factor"] / prices["split_factor"]
    table = pd.DataFrame(
        {
            "symbol": prices["symbol"],
            "ex_date": prices["date"],
            "ratio": ratio,
            "raw_return_pct": (prices["close_raw"] / before["close_raw"] - 1) * 100,
            "adjusted_return_pct": (prices["close"] / before["close"] - 1) * 100,
        }
    )
    table["note"] = np.where(table["adjusted_return_pct"].abs() > LARGE, "large: news, or a wrong split", "")
    return table[(ratio - 1).abs() > 1e-9].reset_index(drop=True)


def read_events(body: bytes, symbol: str) -> Listed:
    """The splits and dividends that come with a source's own bars, in columns beside them.

    Args:
        body: CSV bytes with a ``timestamp`` (or ``date``) column and ``split_coefficient`` (new shares for one old,
            1 on other days) and ``dividend_amount`` (cash a share as paid, 0 on other days), as of Alpha Vantage's
            TIME_SERIES_DAILY_ADJUSTED, or Tiingo's ``splitFactor`` and ``divCash``; without these columns, or without
            a ``close`` as traded beside them, there are no events.
        symbol: whose bars these are.

    Returns:
        Actions sorted by ex_date and kind; a repeated row counts once. It knows only of the days of the answer.
    """
    first = body.partition(b"\n")[0].decode("utf-8-sig", "replace")
    header = [name.strip().lower() for name in next(_lines(first), (0, []))[1]]
    day = next((at for at, name in enumerate(header) if name in ("timestamp", "date")), None)
    columns = [(header.index(name), *means) for name, means in EVENT_COLUMNS.items() if name in header]
    if day is None or not columns or "close" not in header:
        return _nothing()
    lines = _lines(body.decode("utf-8-sig", "replace"))
    next(lines)
    rows = (
        (number, [symbol, STAMP.sub("", fields[day].strip()), kind, fields[at]])
        for number, fields in lines
        for at, kind, nothing in columns
        if max(day, at) < len(fields) and fields[at].strip() and not _is(fields[at], nothing)
    )
    return _listed(rows, f"the events of {symbol}")


def _is(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False


def no_conflicts() -> pd.DataFrame:
    """The conflicts that `agree` finds where there are no actions."""
    return agree(none(), none())[1]


def agree(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cross-check the corporate actions of two sources.

    They agree on an action when symbol, kind and ex-date are the same and the values differ by at most 0.1 %
    (a dividend also by half a cent: sources round it). The day must be the same: with the right split on the wrong
    day, even the session beside it, a bar is on the wrong scale; and which day is right, two sources cannot tell.

    Args:
        first, second: frames as `ACTIONS`. Cut both to the symbols and days that both sources cover.

    Returns:
        trusted: the actions of `first` that `second` confirms, as `ACTIONS`; apply only these.
        conflicts: the others: symbol, ex_date, kind, first, second (values, NaN where it has none) and reason.
    """
    keys = ["symbol", "ex_date", "kind"]
    both = first.merge(second, on=keys, how="outer", suffixes=("_first", "_second")).sort_values(keys)
    one, other = both["value_first"], both["value_second"]
    slack = np.where(both["kind"] == "dividend", 0.005, 0.0)
    same = (one - other).abs() <= np.maximum(1e-3 * one, slack)
    reason = np.select(
        [one.isna(), other.isna()],
        ["only the second source has it", "only the first source has it"],
        "the sources give different values",
    )
    trusted = both[same].rename(columns={"value_first": "value"})[list(ACTIONS)].astype(dict(ACTIONS))
    conflicts = both.rename(columns={"value_first": "first", "value_second": "second"}).assign(reason=reason)[~same]
    columns = [*keys, "first", "second", "reason"]
    return trusted.reset_index(drop=True), conflicts[columns].reset_index(drop=True)
