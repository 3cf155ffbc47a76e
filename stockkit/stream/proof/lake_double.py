"""A lake in memory with what the archive asks of one: a commit is all or nothing, and has transactions of Delta.

Thousands of schedules run against it in the time that a few take with files; `failpoints.prove_on_disk` has the files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stockkit.lake import commits


class Delta:
    """One version of a table."""

    def __init__(self, rows: Any, transactions: dict[str, int]) -> None:
        self.rows, self.transactions = rows, transactions

    def transaction_version(self, application: str) -> int | None:
        """As of a Delta table."""
        return self.transactions.get(application)

    def to_pyarrow_dataset(self) -> Any:
        """As of a Delta table."""
        import pyarrow.dataset as ds

        return ds.dataset(self.rows)


class MemoryLake:
    """Tables by name, each as its last commit left it."""

    def __init__(self) -> None:
        self.tables: dict[str, Delta] = {}

    def version(self, table: str) -> int | None:
        """None for no table, as of a lake."""
        return 0 if table in self.tables else None

    def delta(self, table: str) -> Delta:
        """The table."""
        return self.tables[table]

    def commit(self, table: str, work_out: Callable[[Any | None], commits.Rows | None]) -> int:
        """As of a lake; what `where` names are the symbols and dates of the new rows, as the archive has it."""
        import pyarrow as pa

        now = self.tables.get(table)
        if (todo := work_out(now)) is not None:
            kept = [] if now is None else [now.rows if todo.where is None else _without(now.rows, todo.rows)]
            transactions = {**(now.transactions if now else {}), **todo.transactions}
            self.tables[table] = Delta(pa.concat_tables([*kept, todo.rows]), transactions)
        return 0


def _without(rows: Any, replaced: Any) -> Any:
    """The rows of other symbols or other dates."""
    import pyarrow as pa

    keys = {*zip(replaced["symbol"].to_pylist(), replaced["date"].to_pylist(), strict=True)}
    pairs = zip(rows["symbol"].to_pylist(), rows["date"].to_pylist(), strict=True)
    return rows.filter(pa.array([pair not in keys for pair in pairs], pa.bool_()))
