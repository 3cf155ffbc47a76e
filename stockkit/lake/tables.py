"""Tables: Delta Lake, one partition a symbol, in a folder or on S3; a write replaces whole partitions in one commit.

A reader sees wholly the old or wholly the new rows. The table's version number is its fingerprint: writing
the rows that are already there makes no new version. Folder and S3 share every line but `stockkit.files`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stockkit import athena, provenance
from stockkit.aws import Session
from stockkit.errors import LakeError, did_you_mean
from stockkit.files import Bucket, Files, Folder
from stockkit.imports import pandas as pd
from stockkit.lake import columns, commits, frames, upkeep
from stockkit.lake.address import parse
from stockkit.lake.catalogue import crawl, glue
from stockkit.lake.contracts import TABLES, key_of
from stockkit.lake.data_files import Make, TableFiles, files_of_table, replace_files
from stockkit.lake.sql import clock, duckdb_engine, information_schema, scan
from stockkit.lake.sql.athena_engine import Athena, bills
from stockkit.lake.sql.scan import DuckDB
from stockkit.market import schema

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def workbook_root(start: Path | None = None) -> Path:
    """The folder that relative paths start from: the nearest one upwards that has `notebooks` and `params`."""
    here = (start or Path.cwd()).resolve()
    homes = (folder for folder in (here, *here.parents) if (folder / "notebooks").is_dir())
    return next((folder for folder in homes if (folder / "params").is_dir()), here)


def open_lake(lake: str = "data/lake", *, root: Path | None = None, session: Session | None = None) -> Lake:
    """Open the lake that a `lake` parameter names.

    Args:
        lake: a folder, relative to the workbook's, or ``s3://bucket/prefix``. With ``?database=stock_data`` the
            tables are registered in that Glue database and SQL runs on Athena (``&workgroup=primary``);
            ``&crawler=NAME`` names the Glue crawler that `Lake.crawl` starts.
        root: the workbook's folder; found from the current one when None.
        session: the AWS session of an s3:// lake; the environment's when None.

    Raises:
        LakeError: no such kind of address, or a file where a folder should be.

    Example:
        >>> lake = open_lake("data/lake")
        >>> lake.read("prices", symbols=["AAPL"], columns=["symbol", "date", "close"]).shape
        (2699, 3)
    """
    home = root or workbook_root()
    if address := parse(lake):
        aws = session or Session()
        bucket = Bucket(address.bucket, address.prefix, aws)
        if address.database is None:
            return Lake(bucket, home)
        engine = Athena(aws, address.database, address.workgroup, results=bucket.uri("athena/"))
        return Lake(bucket, home, engine, glue.Catalogue(aws, address.database, address.crawler))
    path = home / Path(lake).expanduser()
    if path.exists() and not path.is_dir():
        raise LakeError(f"lake {path} is a file: give a folder.")
    if odd := sorted(set("[]%") & set(str(path))):
        raise LakeError(
            f"lake {path}: tables cannot be kept in a folder with a {odd[0]} in its name or above: rename it."
        )
    return Lake(Folder(path), home)


@dataclass(frozen=True)
class Lake:
    """A place with tables. `reads` and `writes` tell which tables, in which version, this object touched.

    Attributes:
        files: where it is: a folder, or a bucket. root: the workbook's folder.
        engine: what runs SQL. catalogue: where tables are registered; None for nowhere.
        asked: the questions of `ask`, in order, each with its rows and what it took.
    """

    files: Files
    root: Path
    engine: DuckDB | Athena = field(default_factory=DuckDB)
    catalogue: glue.Catalogue | None = None
    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def folder(self) -> Path | None:
        """The lake's folder; None on S3."""
        return self.files.path

    @property
    def secrets_client(self) -> Any | None:
        """Where the keys of sources may be kept: AWS Secrets Manager for a lake on S3, else None."""
        return self.files.session and self.files.session.client("secretsmanager")

    def tables(self) -> list[str]:
        """The names of the tables that the lake holds, ascending."""
        names = [name for name in self.files.folders("tables") if self.files.has_folder(f"tables/{name}/_delta_log")]
        sys.audit("stockkit.tables", self.files, names)
        return names

    def version(self, table: str) -> int | None:
        """The version of a table, None where it does not exist."""
        delta = self.location(table).open()
        version = None if delta is None else int(delta.version())
        sys.audit("stockkit.table", self.files, table, version)
        return version

    def count(self, table: str) -> int:
        """The number of rows of a table, from its log alone."""
        return int(self.delta(table).count())

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
        delta = self.delta(table)
        frame = self._rows(table, delta, symbols)
        self.reads[table] = delta.version()
        return frame[list(columns)] if columns else frame

    def write(self, table: str, frame: pd.DataFrame, *, symbols: Sequence[str]) -> int:
        """Replace the rows of `symbols` by those of `frame`, in one commit; return the table's version.

        A symbol of `symbols` without rows in `frame` ends up with none. Equal rows make no new version. Columns that
        another hand added keep their values, and one that it retyped is put right (see `stockkit.lake.columns`).

        Raises:
            SchemaError: the frame breaks the table's contract. LakeError: it cannot be written.
        """
        strict = table in TABLES and bool(TABLES[table].contract)
        contract = columns.dtypes(table, frame)
        frame = schema.conform(frame, contract, what=table)
        if table == "prices":
            schema.check_bars(frame, contract=schema.PRICES, signed=True, what=table)
        named = schema.check_symbols(symbols)
        stray = set(frame["symbol"].unique()) - set(named)
        if stray:
            raise LakeError(f"{table}: the frame has rows of {sorted(stray)[0]!r}, which the write does not name.")
        new = frames.to_arrow(frames.by_key(frame, key_of(table)), contract)

        def work_out(now: Any | None) -> commits.Rows | None:
            if now is None:
                return commits.Rows(new, named)
            return columns.settled(self.location(table), now, new, named, key=key_of(table), strict=strict)

        return self.commit(table, work_out)

    def replace(self, table: str, columns: Any, make: Make) -> int:
        """Replace symbols by data files that others wrote, in one commit; see `data_files.replace_files`."""
        return self._committed(table, replace_files(self.location(table), columns, make))

    def data_files(self, table: str, *, symbols: Sequence[str] | None = None) -> TableFiles:
        """The data files that the table consists of, for an engine that reads them itself; counts as a read."""
        delta = self.delta(table)
        self.reads[table] = int(delta.version())
        return files_of_table(self.location(table), delta, symbols)

    def sql(
        self,
        text: str,
        /,
        *,
        time_limit: float = duckdb_engine.SECONDS,
        memory_limit: float | None = None,
        row_limit: int = duckdb_engine.ROWS,
        as_of: Any = None,
        **parameters: Any,
    ) -> pd.DataFrame:
        """Run one SELECT in Athena's dialect over the tables, or SHOW TABLES, SHOW COLUMNS FROM t, DESCRIBE t.

        Tables are also information_schema's columns, tables and schemata.

        On Athena where the lake's address names a database (the answer's ``attrs["athena"]`` then tells bytes
        scanned and cost, see `stockkit.lake.sql.athena_engine.ask`), else on DuckDB (`stockkit.lake.sql.scan.run`).

        Args:
            text: the statement, with ``:name`` for a parameter.
            time_limit: seconds that it may take here; on Athena the workgroup's limits hold.
            memory_limit: GB that it may take here; by default 4, or half of the machine's where that is less.
            row_limit: rows that the answer may have here.
            as_of: the day or moment that `current_date` and `now()` stand for, here and on Athena; by default that
                of asking, in UTC. The answer's ``attrs["as_of"]`` tells it where the statement reads the clock.
            parameters: a value for each ``:name``.
        """
        limits = duckdb_engine.Limits(time_limit, memory_limit, row_limit)
        listed = information_schema.answer(text, self.tables, self.delta) if not parameters else None
        if listed is not None:
            return listed
        dated = clock.dated(text, as_of)
        answer = self._answer(athena.parse(dated.text), parameters, limits)
        if dated.moment is not None:
            answer.attrs["as_of"] = dated.moment.isoformat()
        return answer

    def _answer(
        self, statement: athena.Statement, parameters: dict[str, Any], limits: duckdb_engine.Limits
    ) -> pd.DataFrame:
        """The answer to a SELECT that does not read the clock."""
        names, here = statement.tables, self.engine.database is None
        tables = self.tables if here else list  # on Athena only the types of what it lists are wanted here
        listed = information_schema.information(names, tables, self.delta, self.engine.database)
        deltas = {name: self.delta(name) for name in names if name not in listed}
        self.reads.update({name: delta.version() for name, delta in deltas.items()})
        for name, delta in deltas.items():
            if not here and self._pin(name) is not None and delta.version() != self.version(name):
                raise LakeError(
                    f"another writer changed the table {name!r} while this run was under way, and Athena reads no "
                    "older version: run it again."
                )
        opened = {name: (self.location(name), delta) for name, delta in deltas.items()}
        return self.engine.answer(statement, parameters, opened, listed, limits)

    def question(self, name: str, *, dialect: str = "") -> scan.NamedQuery:
        """The question kept in ``sql/<name>.sql``; shows itself as highlighted SQL in a notebook.

        Those in another dialect than Athena's are below it, as in ``sql/hive``.

        Raises:
            LakeError: no such file; names the nearest.
        """
        folder = self.root / "sql" / dialect
        known = sorted(path.stem for path in folder.glob("*.sql"))
        if name not in known:
            hint = did_you_mean(name, known)
            raise LakeError(f"there is no question {name!r} in {folder} (it has {', '.join(known) or 'none'}).{hint}")
        return scan.NamedQuery(name, (folder / f"{name}.sql").read_text(encoding="utf-8"))

    def ask(self, name: str, /, **parameters: Any) -> pd.DataFrame:
        """Answer the question kept in ``sql/<name>.sql``; parameters and errors as for `sql`."""
        answer = self.sql(self.question(name).text, **parameters)
        self.asked.append({"question": name, "rows": len(answer), **answer.attrs.get("athena", {})})
        return answer

    def bills(self) -> pd.DataFrame:
        """What each question of `ask` took, in order: question, rows, and on Athena MB scanned and US dollars."""
        return bills(self.asked)

    def history(self, table: str) -> pd.DataFrame:
        """Every commit of a table, newest first; see `stockkit.lake.upkeep.history`."""
        return upkeep.history(self.location(table), self.delta(table))

    def vacuum(self, table: str, *, keep: float = upkeep.WEEK, dry_run: bool = True) -> list[str]:
        """Delete the files of a table that no version of the last `keep` hours uses; by default only name them."""
        self.delta(table)
        return upkeep.vacuum(self.location(table), keep=keep, dry_run=dry_run)

    def optimize(self, table: str) -> dict[str, int]:
        """Put the many small files of a symbol, or a date, into one; return the files added and removed."""
        self.delta(table)
        return upkeep.optimize(self.location(table))

    def verify(self) -> pd.DataFrame:
        """Check every raw file, and every file and row of every table; one row a problem, none when all is well.

        Columns ``table, problem, file, detail``; see `stockkit.lake.upkeep.verify`.
        """
        return upkeep.verify(self.files, [self.location(name) for name in self.tables()])

    def crawl(self, *, show: Any = print) -> crawl.Crawl:
        """Catalogue the raw zone, one partition a source and symbol, and tell what changed since the last time.

        Starts the Glue crawler that the lake's address names and waits for it; without one, lists the raw zone
        itself, and with a database registers what it finds in Glue. `show` gets a line of progress at a time.
        """
        return crawl.crawl(self.files, self.catalogue, show)

    def location(self, table: str) -> commits.TableLocation:
        """Where a table is, or will be once it is written.

        Raises:
            LakeError: no name of a table.
        """
        if not NAME.fullmatch(table):
            raise LakeError(f"{table!r} is no table name: use small letters, digits and _.")
        return commits.TableLocation(table, self.files)

    def delta(self, table: str) -> Any:
        """The Delta table itself, as it is now; in a notebook of a run, as an earlier step of that run wrote it.

        Raises:
            LakeError: no such table; names the command that makes it.
        """
        delta = self.location(table).open()
        if delta is None:
            sys.audit("stockkit.table", self.files, table, None)
            known = self.tables()
            hint = did_you_mean(table, known, "`stockkit run params/sample.yaml` makes the tables.")
            raise LakeError(f"there is no table {table!r} in {self.files} (it has {', '.join(known) or 'none'}).{hint}")
        if (pin := self._pin(table)) is not None and pin < delta.version():
            delta.load_as_version(pin)
        sys.audit("stockkit.table", self.files, table, int(delta.version()))  # see stockkit.workbook.cache.trace
        return delta

    def _pin(self, table: str) -> int | None:
        """The version of a table that this process has to read; None where the newest counts."""
        return provenance.pinned(self.files.identity, table)

    def _rows(self, table: str, delta: Any, symbols: Sequence[str] | None) -> pd.DataFrame:
        """The rows of an opened table, sorted by its key, without counting as a read."""
        with self.location(table).reading():
            if symbols is None:
                rows = delta.to_pyarrow_table()
            else:
                rows = frames.of_symbols(delta, schema.check_symbols(symbols))
        return frames.by_key(frames.to_pandas(rows), key_of(table))

    def commit(self, table: str, work_out: Callable[[Any | None], commits.Rows | None]) -> int:
        """Commit what `work_out` makes of the Delta table as it is now (see `commits.commit`); return the version."""
        return self._committed(table, commits.commit(self.location(table), work_out))

    def _committed(self, table: str, delta: Any) -> int:
        """Register a table that was committed to where the lake has a Glue database, and remember its version."""
        self.writes[table] = int(delta.version())
        if self.catalogue is not None:
            described = glue.delta_table(table, self.files.uri(f"tables/{table}"), frames.columns(delta))
            try:
                self.catalogue.register(described)
            except LakeError as error:
                raise LakeError(
                    f"table {table!r} is written, as version {self.writes[table]}, but not registered: {error}"
                ) from error
        return self.writes[table]
