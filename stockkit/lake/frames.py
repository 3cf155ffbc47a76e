"""Between pandas and Arrow: the dtypes that a table keeps, whatever either library would have chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


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
            dtypes[column.name] = "datetime64[ns, UTC]"
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            dtypes[column.name] = "string[pyarrow]"
    return frame.astype(dtypes)


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

    own = _runs(rows)
    return pa.concat_tables([own[symbol] for symbol in symbols if symbol in own] or [rows.slice(0, 0)])


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
