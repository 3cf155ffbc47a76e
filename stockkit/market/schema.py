"""The contracts of the frames that travel between the rooms, checked at the door."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

from stockkit.errors import SchemaError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market.symbols import check_symbol as check_symbol
from stockkit.market.symbols import check_symbols as check_symbols

HUGE = 1e308  # prices from here on are not finite numbers to calculate with
EXACT = 2.0**53  # below which float64 has every whole number
FIRST_DAY, LAST_DAY = "1677-09-22", "2262-04-11"  # that nanoseconds can hold

UNKNOWN = ("volume",)  # int64, or float64 with NaN where a source does not give it (an index, a currency)
BARS: Mapping[str, str] = {
    "symbol": "string",
    "date": "datetime64[ns]",
    "open": "float64",
    "high": "float64",
    "low": "float64",
    "close": "float64",
    "volume": "int64",
}
CLOSES: Mapping[str, str] = {name: BARS[name] for name in ("symbol", "date", "close")}
PRICES: Mapping[str, str] = {
    **BARS,
    "close_raw": "float64",
    "split_factor": "float64",
    "dividend": "float64",
    "known_at": "datetime64[ns, UTC]",
}
REJECTS: Mapping[str, str] = {
    "symbol": "string",
    "rule": "string",
    "reason": "string",
    "file": "string",
    "line": "int64",
    "date": "string",
    "row": "string",
}
CORRECTIONS: Mapping[str, str] = {
    "symbol": "string",
    "date": "datetime64[ns]",
    "changed_at": "datetime64[ns, UTC]",
    "change": "string",
    "close_before": "float64",
    "close_after": "float64",
    "file": "string",
}


def empty(contract: Mapping[str, str]) -> pd.DataFrame:
    """A frame of no rows with the columns and dtypes of `contract`."""
    return cast(pd.DataFrame(columns=list(contract)), contract)


def whole_volumes(values: np.ndarray) -> np.ndarray:
    """Volumes as int64 where all are known, else as whole float64 with NaN for those that are not."""
    return values if values.dtype.kind == "f" and np.isnan(values).any() else values.astype("int64")


def _kept(column: pd.Series, name: str, dtype: str) -> str:
    """The dtype that a column is given: an unknown volume is NaN, and no whole number could say so."""
    return "float64" if name in UNKNOWN and column.dtype == "float64" and column.hasnans else dtype


def cast(frame: pd.DataFrame, contract: Mapping[str, str]) -> pd.DataFrame:
    """The columns of `contract`, in its order and dtypes, rows numbered from 0; text is kept in Arrow's layout."""
    kinds = {name: "string[pyarrow]" if dtype == "string" else dtype for name, dtype in contract.items()}
    kinds |= {name: _kept(frame[name], name, kinds[name]) for name in UNKNOWN if name in kinds}
    columns = {name: frame[name] if frame[name].dtype == kind else frame[name].astype(kind)
               for name, kind in kinds.items()}  # fmt: skip
    return pd.DataFrame({name: column.array for name, column in columns.items()}, copy=False)


def stack(parts: Iterable[pd.DataFrame], contract: Mapping[str, str]) -> pd.DataFrame:
    """The rows of several frames one after the other, as `contract`; of none, a frame of no rows."""
    full = [part for part in parts if len(part)]
    return cast(pd.concat(full), contract) if full else empty(contract)


def check_frame(frame: pd.DataFrame, contract: Mapping[str, str], *, what: str) -> pd.DataFrame:
    """Return `frame` when its columns and dtypes are those of `contract`, of text any string dtype; more are allowed.

    Raises:
        SchemaError: names the column and the dtype found.
    """
    _check_columns(frame, contract, what)
    for name, dtype in contract.items():
        text = dtype == "string" and isinstance(frame[name].dtype, pd.StringDtype)
        if not text and not _conforms(frame[name], name, dtype):
            way = "Convert it with astype."
            raise SchemaError(f"{what}: column {name!r} must be {dtype}, found {frame[name].dtype}. {way}")
    return frame


def conform(frame: pd.DataFrame, contract: Mapping[str, str] = BARS, *, what: str = "bars") -> pd.DataFrame:
    """A frame as users of pandas make it, with the dtypes of `contract`; itself where it has them already.

    Text may be object, category or any string dtype; days are datetime64 of any unit, or dates; numbers are of any
    width, nullable or not. What changes no value is converted, the rest refused. More columns are kept as they are.

    Raises:
        SchemaError: a column is missing, there twice, or cannot be converted without loss; names the dtype found and
            the first value that cannot.
    """
    _check_columns(frame, contract, what)
    converted = {
        name: _converted(frame[name], dtype, f"{what}: column {name!r}", unknown=name in UNKNOWN)
        for name, dtype in contract.items()
        if not _conforms(frame[name], name, dtype)
    }
    columns = {name: converted.get(name, frame[name]) for name in frame}
    return pd.DataFrame(columns, copy=False) if converted else frame


def _check_columns(frame: pd.DataFrame, contract: Mapping[str, str], what: str) -> None:
    """Raise where a column of the contract is missing, or names do not tell columns apart."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise SchemaError(
            f"{what}: the columns have {frame.columns.nlevels} levels, the first is {frame.columns[0]}; expected one "
            "row a symbol and session, as frame.stack(future_stack=True).reset_index() makes of yfinance's download."
        )
    missing = next((name for name in contract if name not in frame.columns), None)
    if missing is not None:
        hint = f" {missing!r} is in the index: reset_index() first." if missing in frame.index.names else ""
        raise SchemaError(f"{what} lacks the column {missing!r}; it has {', '.join(map(str, frame.columns))}.{hint}")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise SchemaError(f"{what} has more than one column {twice!r}: rename or drop all but one.")


def _conforms(column: pd.Series, name: str, dtype: str) -> bool:
    if dtype == "string":
        return column.dtype == "string[pyarrow]"
    return str(column.dtype) == _kept(column, name, dtype)


def _converted(column: pd.Series, dtype: str, who: str, *, unknown: bool) -> pd.Series:
    """A column in another dtype, every value the same.

    Raises:
        SchemaError: a value would change; names it, its row and the way out.
    """
    if column.empty:
        return column.astype(object).astype("string[pyarrow]" if dtype == "string" else dtype)
    if dtype == "string":
        values, bad, way = _as_text(column)
    elif dtype.startswith("datetime64"):
        values, bad, way = _as_instants(column, utc=dtype.endswith("UTC]"))
    else:
        values, bad, way = _as_numbers(column, dtype, unknown=unknown)
    if bad.any():
        at = int(bad.argmax())
        fault = f"must be {dtype}, found {column.dtype}, of which {column.iloc[at]!r} in row {at} cannot be converted"
        raise SchemaError(f"{who} {fault} without loss. {way}")
    return pd.Series(values, index=column.index)


def _not_of(kind: type, column: pd.Series) -> np.ndarray:
    """Which values are of another type, missing ones aside; all where the dtype alone is another."""
    values = column.astype(object)
    other = np.array([isinstance(value, bool | np.bool_) or not isinstance(value, kind) for value in values], bool)
    other &= column.notna().to_numpy()
    return other if other.any() else np.ones(len(column), bool)


def _as_text(column: pd.Series) -> tuple[Any, np.ndarray, str]:
    """A column as strings, which values are none, and the way out for those."""
    import pyarrow as pa

    way = "Convert it with astype('string') where that gives the names that are meant."
    try:
        values = _runs(column) if column.dtype in (object, "string[python]") else pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # strings and others
        return None, _not_of(str, column), way
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if kind not in (pa.string(), pa.large_string(), pa.null()):
        return None, _not_of(str, column), way
    return pd.array(values.cast(pa.string()), dtype="string[pyarrow]"), np.zeros(len(column), bool), way


def _runs(column: pd.Series) -> Any:
    """A column of objects as an Arrow array, each run of equal ones converted once: bars have few symbols in a row."""
    import pyarrow as pa

    values = np.asarray(column.array)  # to_numpy copies
    try:
        starts = np.r_[0, np.flatnonzero(values[1:] != values[:-1]) + 1]
    except (TypeError, ValueError):  # pd.NA equals nothing
        return pa.array(column, from_pandas=True)
    codes = np.repeat(np.arange(len(starts), dtype="int32"), np.diff(np.r_[starts, len(values)]))
    return pa.DictionaryArray.from_arrays(codes, pa.array(values[starts], from_pandas=True))


def _as_numbers(column: pd.Series, dtype: str, *, unknown: bool) -> tuple[Any, np.ndarray, str]:
    """A column as float64 or int64, which values are no such number, and the way out for those.

    Where `unknown`, a column of whole numbers in which some are missing is float64.
    """
    numbers = _numbers(column)
    if numbers is None or dtype not in ("float64", "int64"):
        return None, _not_of(Real, column), "Convert it with pd.to_numeric or astype."
    wide, bad = numbers.astype("float64"), np.zeros(len(numbers), bool)
    if dtype == "float64":
        bad = np.abs(wide) >= EXACT if numbers.dtype.kind in "iu" else bad
        return wide, bad, "float64 does not hold so large a number to its last digit: convert it with astype."
    if unknown and np.isnan(wide).any():
        return wide, bad, ""
    with np.errstate(invalid="ignore"):
        if numbers.dtype.kind != "i":
            bad = (wide % 1 != 0) | ~(np.abs(wide) < 2.0**63)
        return numbers.astype("int64"), bad, "Round it and convert it with astype."


def _numbers(column: pd.Series) -> np.ndarray | None:
    """A column of numbers as int64, uint64 or float64, NaN for those that are missing; None where it has others."""
    if column.dtype == object:
        if pd.api.types.infer_dtype(column, skipna=True) not in ("integer", "floating", "mixed-integer-float", "empty"):
            return None
        column = pd.to_numeric(column)
    if column.dtype.kind not in "iuf":
        return None
    if isinstance(column.dtype, np.dtype) or not column.hasnans:
        return column.to_numpy(f"{column.dtype.kind}8")
    return column.to_numpy("float64", na_value=np.nan)


def _as_instants(column: pd.Series, *, utc: bool) -> tuple[Any, np.ndarray, str]:
    """A column as days, or with `utc` as instants, in nanoseconds; which values are none, and the way out for those."""
    name, known = f"frame[{column.name!r}]", column.notna().to_numpy()
    days = column
    if not isinstance(column.dtype, np.dtype | pd.DatetimeTZDtype) or column.dtype.kind != "M":
        objects = column.astype(object)
        if pd.api.types.infer_dtype(objects, skipna=True) not in ("date", "datetime", "datetime64", "empty"):
            return None, known | ~known.any(), f"Convert it with pd.to_datetime({name}, format='%Y-%m-%d')."
        days = pd.to_datetime(objects, errors="coerce", utc=utc)
    zoned = isinstance(days.dtype, pd.DatetimeTZDtype)
    if zoned != utc:
        way = "tz_localize('UTC')" if utc else "tz_localize(None).dt.normalize()"
        return None, known | ~known.any(), f"Convert it with {name}.dt.{way}, where that is the day that is meant."
    values = (days.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else days).to_numpy()
    beyond = (values < np.datetime64(FIRST_DAY)) | (values > np.datetime64(LAST_DAY))
    bad = beyond | (np.isnat(values) & known)
    if bad.any():
        return None, bad, "Nanoseconds reach from 1677-09-22 to 2262-04-11: drop such rows."
    instants = pd.DatetimeIndex(values.astype("datetime64[ns]"))
    return instants.tz_localize("UTC") if utc else instants, bad, ""


def check_bars(
    bars: pd.DataFrame, *, contract: Mapping[str, str] = BARS, what: str = "bars", signed: bool = False
) -> pd.DataFrame:
    """Return `bars`, as `conform` makes them, when they keep the contract of daily bars, else say which row breaks it.

    Args:
        bars: one row a symbol and session, sorted by symbol then date; prices in the listing currency
            (float64, finite, above zero, low <= open, close <= high), volume in shares (int64, not below 0; where
            some of it is not known float64, whole or NaN).
        contract: `BARS`, or `PRICES` for the adjusted table.
        what: the name used in messages.
        signed: whether prices may be zero or negative where they are in order (futures, by the user's choice).

    Raises:
        SchemaError: names the column, the dtype found, or the first bad row.
    """
    bars = check_values(bars, contract=contract, what=what, signed=signed)
    check_order(bars, what=what)
    return bars


def check_values(
    bars: pd.DataFrame, *, contract: Mapping[str, str] = BARS, what: str = "bars", signed: bool = False
) -> pd.DataFrame:
    """What `check_bars` asks of each row alone, whatever the order of rows."""
    bars = conform(bars, contract, what=what)
    for fault, broken in FAULTS.items():
        rows = np.asarray(broken(bars, -HUGE if signed else 0.0))
        if rows.any():
            raise SchemaError(f"{what}: {fault} in {_row(bars, int(rows.argmax()))}.")
    return bars


def _has_time(bars: pd.DataFrame, lowest: float) -> np.ndarray:
    date = bars["date"].to_numpy()
    return date.astype("datetime64[D]") != date


def _no_price(name: str) -> Callable[[pd.DataFrame, float], np.ndarray]:
    def broken(bars: pd.DataFrame, lowest: float) -> np.ndarray:
        price = bars[name].to_numpy()
        least = np.where(_unordered(bars, lowest), 0.0, lowest) if lowest else lowest
        return ~((price > least) & (price < HUGE))

    return broken


def _unordered(bars: pd.DataFrame, lowest: float) -> np.ndarray:
    opened, high, low, close = (bars[name].to_numpy() for name in ("open", "high", "low", "close"))
    return (low > np.minimum(opened, close)) | (high < np.maximum(opened, close))


def _fractional(bars: pd.DataFrame, lowest: float) -> Any:
    volume = bars["volume"].to_numpy()
    return volume % 1 > 0 if volume.dtype.kind == "f" else False


FAULTS: Mapping[str, Callable[[pd.DataFrame, float], Any]] = {
    "symbol is empty": lambda bars, lowest: bars["symbol"].isna(),
    "date is missing": lambda bars, lowest: bars["date"].isna(),
    "date carries a time of day": _has_time,
    **{f"{name} is not a finite price above zero": _no_price(name) for name in ("open", "high", "low", "close")},
    "low, open, close and high are out of order": _unordered,
    "volume is below zero": lambda bars, lowest: bars["volume"] < 0,
    "volume is not whole": _fractional,
}  # what can be wrong with a row of bars, to a predicate over columns; prices are to be above `lowest`


def day_numbers(date: np.ndarray) -> np.ndarray:
    """Sessions (datetime64) as days since 1970-01-01."""
    return date.astype("datetime64[D]").astype("int64")


def symbol_edges(symbol: pd.Series) -> np.ndarray:
    """The rows at which a column of symbols changes: 0, the first row of each further run, and its length."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.array(symbol, pa.string(), from_pandas=True)
    joined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return np.r_[0, pc.run_end_encode(joined).run_ends.to_numpy()].astype("int64")


def check_order(bars: pd.DataFrame, *, what: str = "bars") -> None:
    """What `check_bars` asks of the order of rows: by symbol, then date, one row each."""
    at = disorder(bars, symbol_edges(bars["symbol"]))
    if at is not None:
        twice = bool((bars[["symbol", "date"]].iloc[at] == bars[["symbol", "date"]].iloc[at - 1]).all())
        fault = "the row above repeats" if twice else "rows must be sorted:"
        raise SchemaError(f"{what}: {fault} symbol and date at {_row(bars, at)}. One row a symbol and session.")


def disorder(bars: pd.DataFrame, edges: np.ndarray) -> int | None:
    """The first row that does not come after the one above it, by symbol then date; None where there is none.

    `edges` are those of `symbol_edges`.
    """
    first = [str(name) for name in bars["symbol"].iloc[edges[:-1]]] if len(bars) else []
    date = bars["date"].to_numpy()
    wrong = date[1:] <= date[:-1]
    for k, edge in enumerate(edges[1:-1], 1):
        wrong[edge - 1] = first[k] <= first[k - 1]
    return int(wrong.argmax()) + 1 if wrong.any() else None


def _row(frame: pd.DataFrame, position: int) -> str:
    row = frame.iloc[position]
    return f"row {position} (symbol {row['symbol']}, date {row['date']})"
