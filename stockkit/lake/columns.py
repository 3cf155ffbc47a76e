"""The columns that a write into a table has, and what becomes of those that another hand added or retyped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stockkit.errors import LakeError, SchemaError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.lake import frames
from stockkit.lake.commits import Rows, TableLocation
from stockkit.lake.contracts import TABLES

INFERRED: Mapping[str, str] = {
    "string": "string", "empty": "string", "date": "datetime64[ns]", "datetime": "datetime64[ns]", "datetime64":
    "datetime64[ns]", "integer": "int64", "floating": "float64", "mixed-integer-float": "float64", "boolean": "bool",
}  # fmt: skip


def dtypes(table: str, frame: pd.DataFrame) -> dict[str, str]:
    """The dtypes that a frame's columns get in a table: of its contract, and of the others what pandas takes them for.

    A user's own table has no contract, and its columns are what they are in the frame: text, numbers, truth values,
    days, or instants with a zone; only `symbol` is always text.

    Raises:
        SchemaError: a column is none of these, or `symbol` is missing; names the column and the way out.
    """
    contract = TABLES[table].contract if table in TABLES else {}
    if "symbol" not in frame.columns and "symbol" not in contract:
        hint = " It is in the index: reset_index() first." if "symbol" in frame.index.names else ""
        raise SchemaError(f"{table} lacks the column 'symbol', by which its rows are replaced.{hint}")
    if frame.columns.nlevels > 1 or not frame.columns.is_unique:
        return dict(contract)  # which `schema.conform` refuses
    others = {name: _inferred(frame[name], table, name) for name in frame.columns if name not in contract}
    return {**{name: dtype for name, dtype in others.items() if dtype}, **contract}


def _inferred(column: pd.Series, table: str, name: Any) -> str:
    """The dtype that a column without a contract gets; "" where it keeps its own."""
    if not isinstance(name, str):
        raise SchemaError(f"{table} has a column named {name!r}: name it with a text, as in frame.rename(columns=str).")
    dtype = column.dtype
    if name == "symbol":
        return "string"
    if isinstance(dtype, pd.DatetimeTZDtype):
        return "datetime64[ns, UTC]"
    kind = "" if isinstance(dtype, pd.CategoricalDtype) else dtype.kind
    if kind == "M":
        _check_days(column, table, name)
        return "datetime64[ns]"
    if not pd.api.types.is_extension_array_dtype(dtype) and kind in ("b", "i", "f"):
        return "float64" if dtype == "float16" else ""
    seen = pd.api.types.infer_dtype(column.astype(object), skipna=True)
    wide = "float64" if seen == "integer" and column.hasnans else INFERRED.get(seen, "")
    if not wide or (wide == "bool" and column.hasnans):
        raise SchemaError(
            f"{table}: column {name!r} is {dtype} and holds {seen} values. A table takes text, numbers, truth values, "
            "days, and instants with a time zone: convert it with astype, or leave it out."
        )
    if wide != "datetime64[ns]":
        return wide
    moments = pd.to_datetime(column.astype(object))
    _check_days(moments, table, name)
    return "datetime64[ns, UTC]" if isinstance(moments.dtype, pd.DatetimeTZDtype) else wide


def _check_days(column: pd.Series, table: str, name: str) -> None:
    """Refuse times of day without a zone, which a table would keep as days."""
    if not isinstance(column.dtype, pd.DatetimeTZDtype) and (column.dropna() != column.dropna().dt.normalize()).any():
        raise SchemaError(
            f"{table}: column {name!r} has times of day without a time zone: give it one, as in "
            f"frame[{name!r}].dt.tz_localize('UTC')."
        )


def settled(
    location: TableLocation, now: Any, new: Any, named: list[str], *, key: Sequence[str], strict: bool
) -> Rows | None:
    """What to commit so that the table holds `new` as the rows of the symbols `named`; None where it does.

    Columns that `new` lacks keep the values of the row with the same key. Where the table has a column under another
    type, rows of that type are taken if each value survives there and back, else all of the table gets the type of
    `new`; with `strict` (the table has a contract) it is always the table that changes.

    Args:
        location: the table. now: its Delta table as it is. new: sorted by key. named: the symbols. key: its columns.

    Raises:
        LakeError: values of another hand would be lost.
    """
    import pyarrow as pa

    stored = _plain(frames.columns(now))
    new = new if strict else _fitted(new, stored)
    retyped = frames.retyped(new.schema, stored)
    old = _retyped(location, _plain_rows(frames.of_symbols(now, named)), new.schema, retyped)
    strange = [name for name in stored.names if name not in new.column_names]
    if strange:
        new = _with_columns(location, new, old, strange, [name for name in key if name in new.column_names])
    if retyped:
        others = _retyped(
            location, _plain_rows(now.to_pyarrow_table(filters=[("symbol", "not in", named)])), new.schema, retyped
        )
        everyone = sorted({*named, *others["symbol"].to_pylist()})
        rows = pa.concat_tables([frames.shaped(others, new.schema), new])
        return Rows(rows, everyone, reshape=True)
    changed = frames.changed(_sorted(old, key), new, named)
    return Rows(frames.only(new, changed), changed) if changed else None


def _plain(shape: Any) -> Any:
    """A pyarrow schema under the types that `frames.to_arrow` gives."""
    import pyarrow as pa

    return pa.schema([field.with_type(pa.string()) if frames.is_text(field.type) else field for field in shape])


def _plain_rows(rows: Any) -> Any:
    return rows.cast(_plain(rows.schema))


def _fitted(new: Any, stored: Any) -> Any:
    """The rows under the table's types, as far as each value survives that."""
    for name in frames.retyped(new.schema, stored):
        cast = _kept(new[name], stored.field(name).type)
        new = new if cast is None else new.set_column(new.column_names.index(name), name, cast)
    return new


def _kept(column: Any, kind: Any) -> Any | None:
    """The column as another type; None where a value would not come back as it was."""
    import pyarrow as pa

    try:
        cast = column.cast(kind)
        return cast if cast.cast(column.type).equals(column) else None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None


def _retyped(location: TableLocation, rows: Any, wanted: Any, names: Sequence[str]) -> Any:
    for name in names:
        kind = wanted.field(name).type
        cast = _kept(_no_nan(rows[name]), kind)
        if cast is None:
            raise LakeError(
                f"{location} has the column {name!r} as {rows[name].type}, found {kind}, "
                "and values of it would be lost: write into another table, or delete this one and make it anew."
            )
        rows = rows.set_column(rows.column_names.index(name), name, cast)
    return rows


def _no_nan(column: Any) -> Any:
    """NaN as NULL, as the lake keeps it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _with_columns(location: TableLocation, new: Any, old: Any, names: Sequence[str], key: list[str]) -> Any:
    """The rows with columns of the stored row that has the same key, NULL where there is none."""
    import pyarrow as pa

    before = frames.to_pandas(old.select(key)).assign(row=np.arange(len(old)))
    if before.duplicated(key).any():
        raise LakeError(
            f"{location} has the column {names[0]!r} of another hand, and rows that "
            f"{', '.join(key)} do not tell apart: write that column too, or drop it from the table."
        )
    matched = frames.to_pandas(new.select(key)).merge(before, how="left", on=key)["row"]
    places = pa.array(matched.to_numpy(), pa.int64(), from_pandas=True)
    for name in names:
        new = new.append_column(old.schema.field(name), old[name].take(places))
    return new


def _sorted(rows: Any, key: Sequence[str]) -> Any:
    """Stored rows as a write would order and store them."""
    import pyarrow as pa

    names = [name for name in key if name in rows.column_names]
    rows = pa.table([_no_nan(column) for column in rows.columns], names=rows.column_names)
    order = frames.by_key(frames.to_pandas(rows.select(names)).assign(row=np.arange(len(rows))), names)["row"]
    return rows.take(pa.array(order.to_numpy()))
