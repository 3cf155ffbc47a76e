"""The tables of a run: what notebooks declare, what they handed over, and what the lake has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from stockkit.lake.contracts import TABLES
from stockkit.lake.tables import Lake
from stockkit.workbook.manifest import Step
from stockkit.workbook.notebooks import Notebook

MAY_BE_EMPTY = {"rejects", "corrections", "dead_letters"}  # nothing was wrong with the data


@dataclass(frozen=True)
class State:
    """A table at a moment: its version, and the identifier that it got when it was made."""

    version: int
    identifier: str


def states(lake: Lake) -> dict[str, State]:
    """Every table that can be read."""
    deltas = {table: lake.delta(table) for table in lake.tables() if lake.version(table) is not None}
    return {table: State(int(delta.version()), str(delta.metadata().id)) for table, delta in deltas.items()}


def broken_declaration(notebook: Notebook, step: Step) -> Iterator[str]:
    """The faults where the tables that a notebook handed over are not those that it declares."""
    for word, touched, declared in (
        ("reads", step.reads, notebook.reads),
        ("writes", step.writes, notebook.writes),
    ):
        for table in sorted(set(touched) - set(declared) - set(notebook.writes)):
            yield f"{notebook.name} {word} {table!r} but its metadata does not declare that."
    for table in sorted(set(notebook.writes) - set(step.writes)):
        yield f"{notebook.name} declares that it writes {table!r} but did not hand it over."


def broken_tables(notebook: Notebook, step: Step, lake: Lake, before: Mapping[str, State], run: str) -> Iterator[str]:
    """The faults that a step left in the lake: a table gone, replaced, not declared, empty or without numbers.

    Args:
        notebook, step: what ran, and what it handed over (`reads`, `writes`, and `empty` with reasons).
        lake: as it is now.
        before: the tables before the step.
        run: the run's id, which its commits carry.
    """
    now = states(lake)
    for table in sorted(set(before) - set(now)):
        yield f"table {table!r} was there before {notebook.name} and is gone after it."
    for table in sorted(set(now) - set(notebook.writes)):
        old = before.get(table)
        if old and (now[table].identifier != old.identifier or now[table].version < old.version):
            yield f"table {table!r} was replaced while {notebook.name} ran, which does not declare that it writes it."
        elif {(run, notebook.name), (run, "")} & commits(lake, table, since=old.version if old else -1):
            yield f"{notebook.name} writes {table!r} but its metadata does not declare that."
    for table, version in step.writes.items():
        if table not in now or now[table].version < version:
            there = now[table].version if table in now else None
            yield f"{notebook.name} handed over {table!r} version {version}, the lake has {there}."
        elif lost := _lost_files(lake, table, version):
            yield lost
        elif absent := _absent_columns(lake, table, version):
            yield f"{notebook.name} wrote {table!r} without its column {absent[0]!r}: write it by book.write()."
        elif table not in step.empty and (lack := emptiness(lake, table, version)):
            yield (
                f"{notebook.name} wrote {table!r}, but it {lack}. If that is right, "
                f"say so: hand_over(book, empty={{{table!r}: 'the reason'}})."
            )


def excused(notebook: Notebook, step: Step, lake: Lake) -> Iterator[str]:
    """A sentence for each table that a notebook wrote without rows or numbers, and gave a reason for."""
    for table, reason in step.empty.items():
        if table in step.writes and (lack := emptiness(lake, table, step.writes[table])):
            yield f"{notebook.name}: {table} {lack}: {reason}."


def emptiness(lake: Lake, table: str, version: int) -> str:
    """What a table lacks at a version: rows, or any number at all in its columns of floats; "" where nothing."""
    delta = _at(lake, table, version)
    if delta.count() == 0:
        return "" if table in MAY_BE_EMPTY else "has no rows"
    rows = delta.to_pyarrow_dataset()
    floats = [column.name for column in rows.schema if str(column.type) in ("float", "double")]
    if floats and not any(map(_has_number, rows.to_batches(columns=floats))):
        return f"has no number in any of {', '.join(floats[:4])}{', …' if len(floats) > 4 else ''}"
    return ""


def _absent_columns(lake: Lake, table: str, version: int) -> list[str]:
    """The columns of a table's contract that it has not; only one written past the lake lacks any."""
    contract = TABLES[table].contract if table in TABLES else {}
    there = {column.name for column in _at(lake, table, version).schema().fields} if contract else set()
    return sorted(set(contract) - there)


def _has_number(batch: Any) -> bool:
    import numpy as np

    columns = (column.drop_null().to_numpy(zero_copy_only=False) for column in batch.columns)
    return any(bool(np.isfinite(column).any()) for column in columns)


def vanished(lake: Lake, written: Mapping[str, int]) -> Iterator[str]:
    """The faults of tables that a run wrote and that are no longer there at its end, or whose files are not."""
    now = states(lake)
    for table, version in written.items():
        if table not in now or now[table].version < version:
            yield f"table {table!r}, written in version {version}, is gone at the end of the run."
        elif lost := _lost_files(lake, table, version):
            yield lost


def _lost_files(lake: Lake, table: str, version: int) -> str:
    """A sentence where files of a table are gone from a folder; on S3 that would take a request a file."""
    if lake.folder is None:
        return ""
    files = [uri.removeprefix("file://") for uri in _at(lake, table, version).file_uris()]
    lost = [file for file in files if not os.path.isfile(file) and not os.path.isfile(unquote(file))]
    return f"{len(lost)} of {len(files)} files of table {table!r} are gone, as {lost[0]}." if lost else ""


def data_files(lake: Lake, written: Mapping[str, int]) -> dict[str, int]:
    """The data files that tables consist of at some versions: keys below the lake's folder with their bytes, counted.

    Nothing for a lake on S3, where asking for each takes too long.
    """
    if lake.folder is None:
        return {}
    paths = {}
    for table, version in written.items():
        for uri in _at(lake, table, version).file_uris():
            path = uri.removeprefix("file://")
            path = path if os.path.isfile(path) else unquote(path)
            paths[os.path.relpath(path, lake.folder)] = os.path.getsize(path)
    return paths


def other_writers(notebook: Notebook, lake: Lake, written: Mapping[str, int], run: str) -> Iterator[str]:
    """A sentence for each table of this run that another writer has changed since, where this notebook reads it."""
    for table in notebook.reads:
        if table in written and table not in notebook.writes:
            others = sorted({other for other, _ in commits(lake, table, since=written[table])} - {run})
            if others:
                yield (
                    f"another writer ({', '.join(others)}) changed {table!r} while this run was under way: "
                    f"{notebook.name} read version {written[table]}, which this run wrote."
                )


def commits(lake: Lake, table: str, *, since: int) -> set[tuple[str, str]]:
    """Run and step of the commits to a table after version `since`: "unknown" and "" for those of a foreign writer."""
    delta = lake.delta(table)
    count = int(delta.version()) - since
    entries = delta.history(count) if count > 0 else []
    return {(str(entry.get("run", "unknown")), str(entry.get("step", ""))) for entry in entries}


def _at(lake: Lake, table: str, version: int) -> Any:
    delta = lake.delta(table)
    if delta.version() != version:
        delta.load_as_version(version)
    return delta
