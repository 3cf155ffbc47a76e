"""Corporate actions: splits and dividends, and the prices that are comparable across them.

The method is the usual back-adjustment (CRSP, "Data Definitions": factor to adjust price): a price before
an ex-date is divided by the ratio of every later split, a volume is multiplied by it. Dividends are
listed, not removed from the price.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from datetime import date
from functools import cache

import numpy as np
import pandas as pd

from stockkit.errors import SchemaError
from stockkit.market import schema

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
}  # the kind of action that a column of a source's bars tells, and the value of a day without one


def parse(body: bytes, *, file: str) -> pd.DataFrame:
    """Read corporate actions from CSV bytes with the columns symbol, ex_date, kind, value.

    A `split` has as value the new shares for one old (4.0 for 4:1); a `dividend` the cash a share, as paid.
    A split of 1.0 states that a large move on that day was no split, and lets it pass `clean`.

    Returns:
        A frame as `ACTIONS`, sorted by symbol, ex_date and kind; a repeated line counts once.

    Raises:
        SchemaError: names file, line and value.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{file} is not UTF-8 text (byte {error.start}): save it as UTF-8 CSV.") from error
    reader = csv.reader(io.StringIO(text))
    header = [name.strip().lower() for name in next(reader, [])]
    if header != list(ACTIONS):
        raise SchemaError(f"{file}: the first line must be {','.join(ACTIONS)}, found {','.join(header)[:80]!r}.")
    rows = {_action(row, f"{file} line {reader.line_num}") for row in reader if row}
    frame = pd.DataFrame(sorted(rows), columns=list(ACTIONS)).astype(dict(ACTIONS))
    twice = frame[frame.duplicated(["symbol", "ex_date", "kind"])]
    if len(twice):
        at = twice.iloc[0]
        raise SchemaError(
            f"{file} gives two different values for the {at['kind']} of {at['symbol']} on "
            f"{at['ex_date'].date()}: keep the right one."
        )
    return frame


def _action(row: list[str], where: str) -> tuple[str, date, str, float]:
    try:
        symbol, ex_date, kind, value = (field.strip() for field in row)
        action = (schema.check_symbol(symbol), date.fromisoformat(ex_date), kind, float(value))
    except ValueError as error:
        raise SchemaError(f"{where}: {','.join(row)[:80]!r} is not an action ({error}).") from error
    if kind not in KINDS or not math.isfinite(action[3]) or action[3] <= 0:
        raise SchemaError(f"{where}: expected split or dividend and a value above zero, found {row!r}.")
    return action


def none() -> pd.DataFrame:
    """No corporate actions at all: a frame of no rows as `ACTIONS`."""
    return _none().copy()


@cache
def _none() -> pd.DataFrame:
    return schema.empty(ACTIONS)


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
    dates = raw["date"].to_numpy()
    codes, names = pd.factorize(raw["symbol"])
    factor, dividend = np.ones(len(raw)), np.zeros(len(raw))
    for symbol, own in actions.groupby("symbol"):
        if symbol in names:
            code = int(np.flatnonzero(names == symbol)[0])
            rows = slice(*np.searchsorted(codes, [code, code + 1]))
            factor[rows] = split_factor(dates[rows], own)
            dividend[rows] = dividends(dates[rows], own) / factor[rows]
    adjusted = {**raw, "close_raw": raw["close"], "split_factor": factor, "dividend": dividend}
    if (factor != 1).any():
        adjusted |= {name: raw[name].to_numpy() / factor for name in ("open", "high", "low", "close")}
        adjusted["volume"] = schema.whole(np.rint(raw["volume"].to_numpy() * factor))
    return pd.DataFrame(adjusted, index=raw.index, copy=False)


def split_days(prices: pd.DataFrame) -> pd.DataFrame:
    """What the adjustment did on each split's ex-date.

    Args:
        prices: as `schema.PRICES`.

    Returns:
        symbol, ex_date, ratio, raw_return_pct and adjusted_return_pct (close to close), a row a split.
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
    return table[(ratio - 1).abs() > 1e-9].reset_index(drop=True)


def events(body: bytes, symbol: str) -> pd.DataFrame:
    """The splits and dividends that come with a source's own bars, in columns beside them.

    Args:
        body: CSV bytes with a ``timestamp`` (or ``date``) column and ``split_coefficient`` (new shares for one old,
            1 on other days) and ``dividend_amount`` (cash a share as paid, 0 on other days), as of Alpha Vantage's
            TIME_SERIES_DAILY_ADJUSTED; without these two columns there are no events.
        symbol: whose bars these are.

    Returns:
        A frame as `ACTIONS`, sorted by ex_date and kind; a repeated row counts once. It knows only of the days
        of the answer.

    Raises:
        SchemaError: a value that is no action, or two for one day; names line and value.
    """
    first = body.partition(b"\n")[0].decode("utf-8-sig", "replace")
    header = [name.strip().lower() for name in next(csv.reader([first]), [])]
    day = next((at for at, name in enumerate(header) if name in ("timestamp", "date")), None)
    columns = [(header.index(name), *means) for name, means in EVENT_COLUMNS.items() if name in header]
    if day is None or not columns:
        return none()
    reader = csv.reader(io.StringIO(body.decode("utf-8-sig", "replace")))
    next(reader)
    found = {
        (fields[day], kind, fields[at])
        for fields in reader
        for at, kind, nothing in columns
        if max(day, at) < len(fields) and fields[at].strip() and not _is(fields[at], nothing)
    }
    lines = [",".join(ACTIONS), *(f"{symbol},{day},{kind},{value}" for day, kind, value in sorted(found))]
    return parse("\n".join(lines).encode(), file=f"the events of {symbol}")


def _is(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False


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
