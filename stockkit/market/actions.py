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
    priced = {name: raw[name].to_numpy() / factor for name in ("open", "high", "low", "close")}
    volume = np.rint(raw["volume"].to_numpy() * factor).astype("int64")
    return raw.assign(**priced, volume=volume, close_raw=raw["close"], split_factor=factor, dividend=dividend)


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
