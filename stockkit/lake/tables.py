"""Tables: Delta Lake folders, one partition a symbol; a write replaces whole partitions in one commit.

A reader sees wholly the old or wholly the new rows. The table's version number is its fingerprint: writing
the rows that are already there makes no new version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from stockkit.errors import LakeError
from stockkit.lake import query, raw
from stockkit.market import schema

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
RUN_VARIABLE = "STOCKKIT_RUN"


@dataclass(frozen=True)
class Table:
    """What a table of the workbook holds: its grain in words, its key columns, its contract if it has one."""

    grain: str
    key: tuple[str, ...]
    contract: Mapping[str, str] = field(default_factory=dict)


TABLES: dict[str, Table] = {
    "prices": Table("a trusted daily bar, split-adjusted: a symbol and session", ("symbol", "date"), schema.PRICES),
    "rejects": Table("a row of a source that broke a rule: a symbol and line", ("symbol", "line"), schema.REJECTS),
    "corrections": Table(
        "a day on which a later answer of a source changed an earlier one",
        ("symbol", "date", "changed_at"),
        schema.CORRECTIONS,
    ),
    "features": Table("every feature of a symbol and session", ("symbol", "date")),
    "forecasts": Table(
        "what one model said of one symbol: as-of date, model, horizon, moment made",
        ("symbol", "as_of", "model", "horizon", "made_at"),
    ),
    "scores": Table("how one model did on one symbol out of sample", ("symbol", "model", "horizon")),
}


def workbook_root(start: Path | None = None) -> Path:
    """The folder that relative paths start from: the nearest one upwards that has `notebooks` and `params`."""
    here = (start or Path.cwd()).resolve()
    homes = (folder for folder in (here, *here.parents) if (folder / "notebooks").is_dir())
    return next((folder for folder in homes if (folder / "params").is_dir()), here)


def open_lake(lake: str = "data/lake", *, root: Path | None = None) -> Lake:
    """Open the lake that a `lake` parameter names: a folder, relative to the workbook's.

    Raises:
        LakeError: an s3:// address (not in this version), or a file where a folder should be.
    """
    if "://" in lake:
        raise LakeError(f"lake {lake!r}: only folders are supported in this version; give a path such as data/lake.")
    path = (root or workbook_root()) / Path(lake).expanduser()
    if path.exists() and not path.is_dir():
        raise LakeError(f"lake {path} is a file: give a folder.")
    return Lake(path, root or workbook_root())


@dataclass(frozen=True)
class Lake:
    """A folder of tables. `reads` and `writes` tell which tables, in which version, this object touched."""

    path: Path
    root: Path
    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)

    def tables(self) -> list[str]:
        """The names of the tables that the lake holds, ascending."""
        return sorted(log.parent.name for log in self.path.glob("tables/*/_delta_log"))

    def version(self, table: str) -> int | None:
        """The version of a table, None where it does not exist."""
        return self._open(table).version() if self._exists(table) else None

    def count(self, table: str) -> int:
        """The number of rows of a table, from its log alone."""
        return int(self._open(table).count())

    def read(
        self, table: str, *, symbols: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Read a table, sorted by its key.

        Args:
            table: its name.
            symbols: only these; a symbol that the table lacks adds no rows.
            columns: only these.

        Raises:
            LakeError: no such table; names the command that makes it.
        """
        frame = self._rows(table, symbols)
        self.reads[table] = self._open(table).version()
        return frame[list(columns)] if columns else frame

    def write(self, table: str, frame: pd.DataFrame, *, symbols: Sequence[str]) -> int:
        """Replace the rows of `symbols` by those of `frame`, in one commit; return the table's version.

        A symbol of `symbols` without rows in `frame` ends up with none. Equal rows make no new version.

        Raises:
            SchemaError: the frame breaks the table's contract. LakeError: it cannot be written.
        """
        import pyarrow as pa

        schema.check_frame(frame, TABLES[table].contract if table in TABLES else {}, what=table)
        if table == "prices":
            schema.check_bars(frame, contract=schema.PRICES, what=table)
        stray = set(frame["symbol"].unique()) - set(schema.check_symbols(symbols))
        if stray:
            raise LakeError(f"{table}: the frame has rows of {sorted(stray)[0]!r}, which the write does not name.")
        new = _to_arrow(frame.sort_values([key for key in _key(table) if key in frame]))
        changed: list[str] = list(symbols)
        if self._exists(table):
            old = _to_arrow(self._rows(table, symbols))
            before, after = _by_symbol(old), _by_symbol(new)
            none = new.slice(0, 0)
            changed = [s for s in symbols if not _same(before.get(s, none), after.get(s, none))]
            new = pa.concat_tables([after[s] for s in changed if s in after] or [none])
        if changed:
            self._commit(table, new, changed)
        self.writes[table] = self._open(table).version()
        return self.writes[table]

    def append(self, table: str, frame: pd.DataFrame, *, moment: str = "made_at") -> int:
        """Add the rows of `frame` that the table does not hold yet, `moment` apart; never change a row.

        Raises:
            LakeError: it cannot be written.
        """
        if self._exists(table) and len(frame):
            said = [column for column in frame.columns if column != moment]
            old = self._rows(table, sorted(set(frame["symbol"])))[said].drop_duplicates()
            known = frame[said].merge(old, how="left", on=said, indicator="known")["known"] == "both"
            frame = frame[~known.to_numpy()]
        if len(frame) or not self._exists(table):
            self._commit(table, _to_arrow(frame), None)
        self.writes[table] = self._open(table).version()
        return self.writes[table]

    def sql(self, text: str, **parameters: Any) -> pd.DataFrame:
        """Run one SELECT in Athena's dialect over the tables; see `stockkit.lake.query.run`."""
        deltas = {name: self._open(name) for name in query.tables(text)}
        self.reads.update({name: delta.version() for name, delta in deltas.items()})
        return query.run(text, {name: delta.to_pyarrow_dataset() for name, delta in deltas.items()}, parameters)

    def question(self, name: str) -> query.Question:
        """The question kept in ``sql/<name>.sql``; shows itself as highlighted SQL in a notebook.

        Raises:
            LakeError: no such file; names the nearest.
        """
        folder = self.root / "sql"
        known = sorted(path.stem for path in folder.glob("*.sql"))
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LakeError(f"there is no question {name!r} in {folder} (it has {', '.join(known) or 'none'}).{hint}")
        return query.Question(name, (folder / f"{name}.sql").read_text(encoding="utf-8"))

    def ask(self, name: str, **parameters: Any) -> pd.DataFrame:
        """Answer the question kept in ``sql/<name>.sql``; parameters and errors as for `sql`."""
        return self.sql(self.question(name).text, **parameters)

    def _folder(self, table: str) -> Path:
        if not NAME.fullmatch(table):
            raise LakeError(f"{table!r} is no table name: use small letters, digits and _.")
        return self.path / "tables" / table

    def _exists(self, table: str) -> bool:
        return (self._folder(table) / "_delta_log").is_dir()

    def _open(self, table: str) -> Any:
        import deltalake

        if not self._exists(table):
            known = self.tables()
            near = get_close_matches(table, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "`stockkit run params/sample.yaml` makes the tables."
            raise LakeError(f"there is no table {table!r} in {self.path} (it has {', '.join(known) or 'none'}). {hint}")
        try:
            return deltalake.DeltaTable(str(self._folder(table)))
        except (OSError, deltalake.exceptions.DeltaError) as error:
            raise LakeError(f"table {table!r} in {self.path} cannot be read: {error}") from error

    def _rows(self, table: str, symbols: Sequence[str] | None) -> pd.DataFrame:
        """The rows of a table, sorted by its key, without counting as a read."""
        wanted = [("symbol", "in", schema.check_symbols(symbols))] if symbols is not None else None
        frame = _to_pandas(self._open(table).to_pyarrow_table(filters=wanted))
        return frame.sort_values([key for key in _key(table) if key in frame], ignore_index=True)

    def _commit(self, table: str, rows: Any, symbols: Sequence[str] | None) -> None:
        """Write `rows` in one commit: replacing the partitions of `symbols`, or appending when None."""
        import deltalake

        replacing = symbols is not None and self._exists(table)
        named = ", ".join(f"'{schema.check_symbol(symbol)}'" for symbol in symbols or ())
        try:
            deltalake.write_deltalake(
                str(self._folder(table)),
                rows,
                mode="append" if symbols is None else "overwrite",
                partition_by=["symbol"],
                predicate=f"symbol IN ({named})" if replacing else None,
                schema_mode="merge" if self._exists(table) else None,
                commit_properties=deltalake.CommitProperties(
                    custom_metadata={"run": os.environ.get(RUN_VARIABLE, "interactive")}
                ),
            )
        except (OSError, deltalake.exceptions.DeltaError) as error:
            raise LakeError(
                f"cannot write table {table!r} in {self.path}; it is as it was before. {str(error)[:300]} {raw.WAY_OUT}"
            ) from error


def _key(table: str) -> tuple[str, ...]:
    return TABLES[table].key if table in TABLES else ("symbol", "date")


def _by_symbol(rows: Any) -> dict[str, Any]:
    """Each symbol's rows, as slices of a table that is sorted by symbol."""
    import pyarrow.compute as pc

    runs = pc.run_end_encode(rows["symbol"].combine_chunks())
    ends = runs.run_ends.to_pylist() if rows.num_rows else []
    names = runs.values.to_pylist()[: len(ends)]
    starts = [0, *ends][:-1]
    return {name: rows.slice(at, end - at) for name, at, end in zip(names, starts, ends, strict=True)}


def _same(old: Any, new: Any) -> bool:
    return set(old.column_names) == set(new.column_names) and old.select(new.column_names).equals(new)


def _to_arrow(frame: pd.DataFrame) -> Any:
    """Sessions (naive midnights) become DATE, instants UTC microseconds, NaN becomes NULL."""
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
            kind = pa.from_numpy_dtype(dtype)
        fields.append(pa.field(str(name), kind))
    return pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False).replace_schema_metadata(None)


def _to_pandas(rows: Any) -> pd.DataFrame:
    """The inverse of `_to_arrow`: contract dtypes, whatever pandas would have chosen."""
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
