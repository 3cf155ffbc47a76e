"""A new notebook that passes at once: it reads tables, shows and draws one, writes others, and hands over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stockkit.errors import RunError
from stockkit.lake import contracts
from stockkit.lake.tables import NAME as TABLE
from stockkit.workbook.notebooks import NAME, RESERVED

LONGEST = 100  # characters of a name
SYMBOLS = '["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]'


def check(name: str, reads: Sequence[str], writes: Sequence[str]) -> None:
    """Refuse names that cannot be.

    Raises:
        RunError: says which, and the way out.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise RunError(
            f"{name[:60]!a} is no name of a notebook: use letters, digits, `_` and `-`, at most {LONGEST}, as in "
            "07_mine, without folders and .ipynb."
        )
    if name.lower() in RESERVED:
        raise RunError(f"{name!r} cannot be a notebook's name: {RESERVED[name.lower()]}. Choose another.")
    for table in (*reads, *writes):
        if not TABLE.fullmatch(table):
            raise RunError(f"{table[:60]!a} is no name of a table: use small letters, digits and `_`, as in my_table.")
    if ours := [table for table in writes if table in contracts.TABLES]:
        raise RunError(f"{ours[0]!r} is written by a notebook of the workbook itself: choose another name.")
    if both := sorted(set(reads) & set(writes)):
        raise RunError(f"{both[0]!r} is named as read and as written: a new notebook does one of them.")


def text(title: str, reads: Sequence[str], writes: Sequence[str]) -> str:
    """The notebook's file.

    Args:
        title: a question.
        reads: tables, the first of them shown and drawn. writes: tables of the user's own.
    """
    metadata: dict[str, Any] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "stockkit": {"reads": list(reads), "writes": list(writes)},
    }
    cells = [_cell(number, *cell) for number, cell in enumerate(_cells(title, reads, writes))]
    document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _cell(number: int, kind: str, source: str) -> dict[str, Any]:
    tags = {"tags": ["parameters"]} if kind == "parameters" else {}
    cell = {"id": f"c{number:02}", "metadata": tags, "source": source.strip().splitlines(keepends=True)}
    if kind == "markdown":
        return cell | {"cell_type": kind}
    return cell | {"cell_type": "code", "execution_count": None, "outputs": []}


def _cells(title: str, reads: Sequence[str], writes: Sequence[str]) -> list[tuple[str, str]]:
    first, others = reads[0], reads[1:]
    into = f" and written into {_listed(writes)}" if writes else "; nothing is written"
    pandas = "import pandas as pd\n\n" if writes else ""
    cells = [
        ("markdown", f"# {title}\n\nSay here how it is answered. It is read from {_listed(reads)}{into}."),
        ("code", f"{pandas}from stockkit import hand_over, open_lake, plots"),
        ("parameters", f'lake = "data/lake"  # where tables are kept: a folder, or s3://bucket/prefix\n'
                       f"symbols = {SYMBOLS}  # whom the question is about"),
        ("markdown", f"## What is in `{first}`?\n\nThe newest rows, and the first column of numbers drawn."),
        ("code", f"book = open_lake(lake)\n{_read(first)}\n{first}.tail()"),
        ("code", f'plots.first_look({first}, "{first}")'),
        *(("code", f"{_read(table)}\n{table}.tail()") for table in others),
    ]  # fmt: skip
    if writes:
        cells.append(("markdown", "## What comes of it?\n\nOne row a symbol, so far: how many rows it has."))
        cells.append(("code", _made(first)))
        cells += [("code", f'book.write("{table}", rows, symbols=symbols)') for table in writes]
    cells.append(("markdown", "## Hand-over"))
    cells.append(("code", f"hand_over(book{', symbols' if 'prices' in reads else ''})"))
    cells.append(("markdown", "**What this does not show.** Say here what nobody should take from it."))
    return cells


def _read(table: str) -> str:
    """The line that reads a table: of the symbols, where it has them."""
    named = table not in contracts.TABLES or contracts.TABLES[table].partition == "symbol"
    return f'{table} = book.read("{table}"{", symbols=symbols" if named else ""})'


def _made(table: str) -> str:
    if table in contracts.TABLES and "symbol" not in {*contracts.TABLES[table].contract, *contracts.TABLES[table].key}:
        return f'rows = pd.DataFrame({{"symbol": symbols, "rows": len({table})}})\nrows'
    return (
        f'counts = {table}["symbol"].value_counts()\n'
        'rows = pd.DataFrame({"symbol": symbols, "rows": [int(counts.get(symbol, 0)) for symbol in symbols]})\nrows'
    )


def _listed(tables: Sequence[str]) -> str:
    return ", ".join(f"`{table}`" for table in tables)
