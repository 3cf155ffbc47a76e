"""The contracts of the frames that travel between the rooms, checked at the door."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from stockkit.errors import SchemaError, SymbolError

SYMBOL = re.compile(r"\^?[A-Z0-9]+(?:[.=&-][A-Z0-9]+)*")
MAX_SYMBOL = 20
DAY = 86_400 * 10**9  # nanoseconds

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


def check_symbol(symbol: object) -> str:
    """Return `symbol` unchanged when it is one, e.g. ``BRK.B``, ``0005.HK``, ``^GSPC``, ``EURUSD=X``.

    Raises:
        SymbolError: anything else, before it can reach a path, a URL or a query.
    """
    if not isinstance(symbol, str):
        kind = type(symbol).__name__
        raise SymbolError(
            f"a symbol must be a string, found {symbol!r} ({kind}). "
            f'YAML and spreadsheets turn names such as ON, NO and TRUE into other types: quote it, as in "ON".'
        )
    if len(symbol) > MAX_SYMBOL or not SYMBOL.fullmatch(symbol):
        shown = symbol if len(symbol) <= 40 else symbol[:40] + "…"
        hint = f" Did you mean {symbol.upper()!r}?" if SYMBOL.fullmatch(symbol.upper()) else ""
        raise SymbolError(
            f"{shown!r} is not a symbol: expected up to {MAX_SYMBOL} capital letters and digits, joined by "
            f". - = or &, with ^ in front for an index (AAPL, BRK.B, 0005.HK, ^GSPC, EURUSD=X).{hint}"
        )
    return symbol


def check_symbols(symbols: Iterable[object]) -> list[str]:
    """Return the symbols as a list; refuse an empty list, a bare string and duplicates."""
    if isinstance(symbols, str):
        raise SymbolError(f'symbols must be a list, found the string {symbols!r}: write ["{symbols}"].')
    checked = [check_symbol(symbol) for symbol in symbols]
    if not checked:
        raise SymbolError("symbols is an empty list: name at least one, as in ['AAPL'].")
    if len(set(checked)) < len(checked):
        twice = [symbol for symbol, times in Counter(checked).items() if times > 1]
        more = f" and {len(twice) - 5} others" if len(twice) > 5 else ""
        raise SymbolError(f"symbols names {', '.join(sorted(twice)[:5])}{more} more than once: name each symbol once.")
    return checked


def empty(contract: Mapping[str, str]) -> pd.DataFrame:
    """A frame of no rows with the columns and dtypes of `contract`."""
    return cast(pd.DataFrame(columns=list(contract)), contract)


def whole(values: np.ndarray) -> np.ndarray:
    """Volumes as int64 where all are known, else as whole float64 with NaN for those that are not."""
    return values if values.dtype.kind == "f" and np.isnan(values).any() else values.astype("int64")


def _kept(column: pd.Series, name: str, dtype: str) -> str:
    """The dtype that a column is given: an unknown volume is NaN, and no whole number could say so."""
    return "float64" if name in UNKNOWN and column.dtype == "float64" and column.hasnans else dtype


def cast(frame: pd.DataFrame, contract: Mapping[str, str]) -> pd.DataFrame:
    """The columns of `contract`, in its order and dtypes, rows numbered from 0; text is kept in Arrow's layout."""
    kinds = {name: "string[pyarrow]" if dtype == "string" else dtype for name, dtype in contract.items()}
    kinds |= {name: _kept(frame[name], name, kinds[name]) for name in UNKNOWN if name in kinds}
    columns = {name: frame[name] if str(frame[name].dtype) == kind else frame[name].astype(kind)
               for name, kind in kinds.items()}  # fmt: skip
    return pd.DataFrame({name: column.array for name, column in columns.items()}, copy=False)


def stack(parts: Iterable[pd.DataFrame], contract: Mapping[str, str]) -> pd.DataFrame:
    """The rows of several frames one after the other, as `contract`; of none, a frame of no rows."""
    full = [part for part in parts if len(part)]
    return cast(pd.concat(full), contract) if full else empty(contract)


def check_frame(frame: pd.DataFrame, contract: Mapping[str, str], *, what: str) -> pd.DataFrame:
    """Return `frame` when its columns and dtypes are those of `contract` (more columns are allowed).

    Raises:
        SchemaError: names the column and the dtype found.
    """
    missing = [name for name in contract if name not in frame.columns]
    if missing:
        raise SchemaError(f"{what} lacks the column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}.")
    for name, dtype in contract.items():
        found = str(frame[name].dtype)
        if found != dtype and _kept(frame[name], name, dtype) != found:
            raise SchemaError(f"{what}: column {name!r} must be {dtype}, found {found}. Convert it with astype.")
    return frame


def check_bars(
    bars: pd.DataFrame, *, contract: Mapping[str, str] = BARS, what: str = "bars", signed: bool = False
) -> pd.DataFrame:
    """Return `bars` when it keeps the contract of daily bars, else say which row breaks it.

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
    check_values(bars, contract=contract, what=what, signed=signed)
    check_order(bars, what=what)
    return bars


def check_values(
    bars: pd.DataFrame, *, contract: Mapping[str, str] = BARS, what: str = "bars", signed: bool = False
) -> None:
    """What `check_bars` asks of each row alone, whatever the order of rows."""
    check_frame(bars, contract, what=what)
    if _sound(bars):
        return
    low, high = bars["low"], bars["high"]
    unordered = (low > bars["open"]) | (low > bars["close"]) | (high < bars["open"]) | (high < bars["close"])
    least = np.where(unordered | (not signed), 0, -1e308)
    broken = {
        "symbol is empty": bars["symbol"].isna(),
        "date is missing": bars["date"].isna(),
        "date carries a time of day": bars["date"].to_numpy().view("int64") % DAY != 0,
        **{
            f"{c} is not a finite price above zero": ~((bars[c] > least) & (bars[c] < 1e308))
            for c in ("open", "high", "low", "close")
        },
        "low, open, close and high are out of order": unordered,
        "volume is below zero": bars["volume"] < 0,
        "volume is not whole": bars["volume"] % 1 > 0,
    }
    for fault, rows in broken.items():
        if rows.any():
            raise SchemaError(f"{what}: {fault} in {_row(bars, int(np.asarray(rows).argmax()))}.")


def _sound(bars: pd.DataFrame) -> bool:
    """Whether nothing is wrong with any row, told in a few passes over the columns."""
    opened, high, low, close = (bars[name].to_numpy() for name in ("open", "high", "low", "close"))
    return bool(
        not bars["symbol"].hasnans
        and (bars["date"].to_numpy().view("int64") % DAY == 0).all()
        and (low > 0).all()
        and (high < 1e308).all()
        and (low <= np.minimum(opened, close)).all()
        and (np.maximum(opened, close) <= high).all()
        and _sound_volume(bars["volume"].to_numpy())
    )


def _sound_volume(volume: np.ndarray) -> bool:
    if volume.dtype.kind != "f":
        return bool((volume >= 0).all())
    return bool((np.isnan(volume) | ((volume >= 0) & (volume % 1 == 0))).all())


def day_numbers(date: np.ndarray) -> np.ndarray:
    """Sessions (datetime64[ns]) as days since 1970-01-01."""
    return date.view("int64") // DAY


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
