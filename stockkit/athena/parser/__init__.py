"""Athena's words: one SELECT as tokens, tree and tables, with every function under the name it was written with.

Trino's grammar (`grammar`) says which words are keywords; what it does not allow is refused, and no word is lost
between the text and its tree. A statement that is nested deeper than Python recurses is taken apart on a stack of its
own, to a limit that is named (`depth`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stockkit.athena import reads
from stockkit.athena.parser.depth import deeply
from stockkit.athena.parser.grammar import check_nothing_lost, check_text, dialect
from stockkit.athena.reads import shown
from stockkit.errors import QueryError

CATALOGS = ("", "awsdatacatalog")
INFORMATION = "information_schema"
INFORMATION_TABLES = ("columns", "schemata", "tables")


@dataclass(frozen=True, eq=False)
class Statement:
    """One SELECT: its text, its tokens, its tree, and the tables that it reads, ascending."""

    text: str
    tokens: tuple[Any, ...]
    tree: Any
    tables: tuple[str, ...]

    @property
    def beginning(self) -> str:
        """As much of the text as an error shows."""
        return self.text.strip()[:300]


def parse(text: str | Statement) -> Statement:
    """The statement of a text that is exactly one SELECT; one that is parsed already is given back.

    Raises:
        QueryError: anything else.
    """
    return text if isinstance(text, Statement) else deeply(lambda: _parsed(text))


def _parsed(text: str) -> Statement:
    import sqlglot
    from sqlglot import exp

    try:
        tokens = check_text(text)
        statements = [tree for tree in dialect()().parser().parse(tokens, text) if tree is not None]
    except sqlglot.errors.SqlglotError as error:
        raise QueryError(f"this is no Athena SQL: {str(error).splitlines()[0]}\n  {text.strip()[:300]}") from error
    if len(statements) != 1 or not isinstance(statements[0], (exp.Query, exp.Values)):
        what = (
            "an empty text" if not statements else f"{len(statements)} statement(s), {statements[0].key.upper()} first"
        )
        raise QueryError(f"expected one SELECT, found {what}: the lake answers questions, nothing else.")
    tree = statements[0]
    tables = table_names(tree)
    reads.check(tree)
    check_nothing_lost(tokens, tree)
    _write_out_windows(tree)
    return Statement(text, tuple(tokens), tree, tuple(sorted(tables)))


def _write_out_windows(tree: Any) -> None:
    """Put the windows that a WINDOW clause names where they are used."""
    from sqlglot import exp

    for select in tree.find_all(exp.Select):
        named = {window.name.lower(): window for window in select.args.get("windows") or ()}
        select.set("windows", None)
        for window in select.find_all(exp.Window):
            if window.args.get("alias") is None or window.find_ancestor(exp.Select) is not select:
                continue
            definition = named.get(window.args["alias"].name.lower())
            parts = ("partition_by", "order", "spec")
            twice = definition is None or any(definition.args.get(part) and window.args.get(part) for part in parts)
            if definition is None or twice or window.args.get("partition_by") or definition.args.get("alias"):
                raise QueryError(f"{shown(window)}: there is no such window, or it is not used as it is written.")
            window.set("alias", None)
            for part in parts:
                if definition.args.get(part):
                    window.set(part, definition.args[part])


def table_names(statement: Any) -> set[str]:
    """The tables that a tree reads: the lake's, and those of information_schema as ``information_schema.tables``.

    Raises:
        QueryError: a function, a file or a foreign catalogue where a table should be.
    """
    from sqlglot import exp

    names = set()
    for table in statement.find_all(exp.Table):
        shown = table.sql(dialect="trino")
        if not isinstance(table.this, exp.Identifier) or table.catalog.lower() not in CATALOGS:
            raise QueryError(f"{shown!r} is no table of the lake: functions and files are not read.")
        if table.db.lower() == INFORMATION and table.name.lower() not in INFORMATION_TABLES:
            known = ", ".join(f"{INFORMATION}.{name}" for name in INFORMATION_TABLES)
            raise QueryError(f"{shown!r}: of the catalogue only {known} are answered here.")
        if table.db or not _is_defined(table):
            names.add(table_key(table))
    return names


def table_key(table: Any) -> str:
    """What a table that is no WITH goes by: its name, with ``information_schema.`` before it where it is of that."""
    name = table.name.lower()
    return f"{INFORMATION}.{name}" if table.db.lower() == INFORMATION else name


def _is_defined(table: Any) -> bool:
    """Whether a WITH around the table, or before it in the same WITH, defines its name."""
    from sqlglot import exp

    inside, node = table, table.parent
    while node is not None:
        clause = node.args.get("with_") if not isinstance(node, exp.With) else node
        for cte in clause.expressions if clause is not None else ():
            if cte is inside and not clause.args.get("recursive"):
                break
            if cte.alias.lower() == table.name.lower():
                return True
            if cte is inside:
                break
        inside, node = node, node.parent
    return False
