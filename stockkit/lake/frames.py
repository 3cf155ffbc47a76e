"""Between pandas and Arrow: the dtypes that a table keeps, whatever either library would have chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # as Excel reads them, full width too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def to_arrow(frame: pd.DataFrame, contract: Mapping[str, str] | None = None) -> Any:
    """Sessions (naive midnights) become DATE, instants UTC microseconds, NaN becomes NULL.

    A column that `contract` calls int64 stays so; where it holds NaN (an unknown volume) that is NULL.
    """
    import pyarrow as pa

    fields = []
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.DatetimeTZDtype):
            kind = pa.timestamp("us", "UTC")
        elif pd.api.types.is_datetime64_dtype(dtype):
            kind = pa.date32()
        elif isinstance(dtype, pd.StringDtype):
            kind = pa.string()
        else:
            kind = pa.from_numpy_dtype((contract or {}).get(str(name), dtype))
        fields.append(pa.field(str(name), kind))
    return pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False).replace_schema_metadata(None)


def to_pandas(rows: Any) -> pd.DataFrame:
    """The inverse of `to_arrow`: contract dtypes, whatever pandas would have chosen."""
    import pyarrow as pa

    frame = rows.to_pandas(date_as_object=False)
    dtypes = {}
    for column in rows.schema:
        if pa.types.is_date(column.type):
            dtypes[column.name] = "datetime64[ns]"
        elif pa.types.is_timestamp(column.type):
            dtypes[column.name] = "datetime64[ns, UTC]" if column.type.tz else "datetime64[ns]"
        elif is_text(column.type):
            dtypes[column.name] = "string[pyarrow]"
    return frame.astype(dtypes)


def columns(delta: Any) -> Any:
    """The columns of an opened Delta table, as a pyarrow schema."""
    import pyarrow as pa

    return pa.schema(delta.schema().to_arrow())


def of_symbols(delta: Any, symbols: Sequence[str], columns: list[str] | None = None) -> Any:
    """The Arrow rows that an opened Delta table has of some symbols; no other's files are looked at."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    files = delta.to_pyarrow_dataset(file_pruning_predicate=[("symbol", "in", list(symbols))])
    return files.to_table(columns, filter=ds.field("symbol").isin(pa.array(symbols, pa.string())))


def retyped(shape: Any, other: Any) -> list[str]:
    """The columns that two pyarrow schemas have under different types, in the order of the first."""
    return [field.name for field in shape if field.name in other.names and other.field(field.name).type != field.type]


def shaped(rows: Any, shape: Any) -> Any:
    """Arrow rows under another schema; a column that they lack is NULL."""
    import pyarrow as pa

    there = rows.column_names
    columns = [rows[field.name] if field.name in there else pa.nulls(len(rows), field.type) for field in shape]
    return pa.table(columns, names=shape.names).cast(shape)


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is one of text, however it is laid out."""
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def to_csv(frame: pd.DataFrame) -> str:
    """CSV for people and their spreadsheets, where no cell is taken for a formula.

    Text (and a column's name) that begins with ``=``, ``+``, ``-`` or ``@``, blanks aside, or with a tab or line end,
    gets a ``'`` before it; numbers, as text too, stay as they are.
    """
    safe = frame.copy()
    for k, dtype in enumerate(frame.dtypes):
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)):
            safe.isetitem(k, frame.iloc[:, k].astype("object").map(_no_formula))
    safe.columns = pd.Index([_no_formula(name) for name in frame.columns])
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")  # pandas would not quote it, and the line would end there
    if not cell.lstrip().startswith(FORMULA) and not cell.startswith(("\t", "\n")):
        return cell
    return cell if NUMBER.fullmatch(cell) else f"'{cell}"


def changed(old: Any, new: Any, symbols: list[str]) -> list[str]:
    """The symbols whose rows differ between two Arrow tables, both sorted by symbol first."""
    if set(old.column_names) != set(new.column_names):
        return symbols
    before, after = _runs(old), _runs(new.select(old.column_names))
    empty = new.schema.empty_table().select(old.column_names)
    return [s for s in symbols if not before.get(s, empty).equals(after.get(s, empty))]


def only(rows: Any, symbols: list[str]) -> Any:
    """The rows of some symbols, from a table sorted by symbol."""
    import pyarrow as pa

    runs = _runs(rows)
    return pa.concat_tables([runs[symbol] for symbol in symbols if symbol in runs] or [rows.slice(0, 0)])


def _runs(rows: Any) -> dict[str, Any]:
    """The slice of each symbol in a table sorted by symbol."""
    import pyarrow as pa

    if not len(rows):
        return {}
    runs = pa.compute.run_end_encode(rows["symbol"].combine_chunks())
    ends = runs.run_ends.to_pylist()
    starts = [0, *ends[:-1]]
    return {s: rows.slice(a, z - a) for s, a, z in zip(runs.values.to_pylist(), starts, ends, strict=True)}


def by_key(frame: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """`frame` sorted by its columns of `key`; itself where it is sorted already."""
    names = [name for name in key if name in frame]
    tied = np.ones(max(len(frame) - 1, 0), dtype=bool)
    for name in names:
        codes = pd.factorize(frame[name], sort=True, use_na_sentinel=False)[0]
        if (tied & (codes[1:] < codes[:-1])).any():
            return frame.sort_values(names, ignore_index=True)
        tied &= codes[1:] == codes[:-1]
    return frame
