"""Athena's words: the parser, with every function kept under the name it was written with."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from stockkit.errors import QueryError

CATALOGS = ("", "awsdatacatalog")
SPECIAL = ("CAST", "TRY_CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM", "LISTAGG")


@cache
def dialect() -> Any:
    """Trino's grammar, without the rewriting that sqlglot does on the way in.

    sqlglot turns the functions it knows into nodes of its own, which lose what Athena means by them. Here a
    function stays a name with arguments, and an array index stays as written.
    """
    from sqlglot.dialects.trino import Trino
    from sqlglot.parsers.trino import TrinoParser

    class WordsParser(TrinoParser):
        FUNCTIONS = {}  # noqa: RUF012
        FUNCTION_PARSERS = {name: TrinoParser.FUNCTION_PARSERS[name] for name in SPECIAL}  # noqa: RUF012
        NO_PAREN_FUNCTION_PARSERS = {n: TrinoParser.NO_PAREN_FUNCTION_PARSERS[n] for n in ("CASE", "IF", "ANY")}  # noqa: RUF012

    class Words(Trino):
        INDEX_OFFSET = 0
        Parser = WordsParser

    return Words


def parse(text: str) -> Any:
    """The tree of exactly one SELECT.

    Raises:
        QueryError: anything else.
    """
    import sqlglot
    from sqlglot import exp

    try:
        _refuse_foreign_words(text)
        statements = [one for one in sqlglot.parse(text, read=dialect()) if one is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise QueryError(f"this is no Athena SQL: {str(error).splitlines()[0]}\n  {text.strip()[:300]}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        what = (
            "an empty text" if not statements else f"{len(statements)} statement(s), {statements[0].key.upper()} first"
        )
        raise QueryError(f"expected one SELECT, found {what}: the lake answers questions, nothing else.")
    _write_out_windows(statements[0])
    return statements[0]


def _write_out_windows(tree: Any) -> None:
    """Put the windows that a WINDOW clause names where they are used."""
    from sqlglot import exp

    for select in tree.find_all(exp.Select):
        named = {window.name.lower(): window for window in select.args.get("windows") or ()}
        select.set("windows", None)
        for window in select.find_all(exp.Window):
            if window.args.get("alias") is None or window.find_ancestor(exp.Select) is not select:
                continue
            found = named.get(window.args["alias"].name.lower())
            parts = ("partition_by", "order", "spec")
            twice = found is None or any(found.args.get(part) and window.args.get(part) for part in parts)
            if found is None or twice or window.args.get("partition_by") or found.args.get("alias"):
                raise QueryError(f"{shown(window)}: there is no such window, or it is not used as it is written.")
            window.set("alias", None)
            for part in parts:
                if found.args.get(part):
                    window.set(part, found.args[part])


def _refuse_foreign_words(text: str) -> None:
    """Stop at spellings that sqlglot lets through and Athena does not, or reads otherwise."""
    from sqlglot import TokenType

    tokens = dialect()().tokenize(text)
    for token, following in itertools.pairwise(tokens):
        if token.token_type == TokenType.DCOLON:
            raise QueryError("`::` is no Athena SQL: write CAST(x AS type).")
        glued = token.token_type == TokenType.NUMBER and following.start == token.end + 1
        if glued and following.text[:1] in "_abcdefghijklmnopqrstuvwxyz$":
            raise QueryError(f"{token.text}{following.text}: write a plain number; digits are not grouped here.")
    for word, kind, end in zip(tokens, tokens[1:], tokens[2:], strict=False):
        bare = kind.token_type == TokenType.DECIMAL and end.token_type == TokenType.R_PAREN
        if word.token_type == TokenType.ALIAS and bare:  # the grammar does not tell it from DECIMAL '1.5'
            raise QueryError("AS decimal: write the digits, as in CAST(x AS decimal(38, 0)).")
    if "\x00" in text:
        raise QueryError("the text contains a NUL character: remove it.")


def table_names(statement: Any) -> set[str]:
    """The tables of the lake that a tree reads.

    Raises:
        QueryError: a function, a file, a foreign catalogue or information_schema where a table should be.
    """
    from sqlglot import exp

    names = set()
    for table in statement.find_all(exp.Table):
        shown = table.sql(dialect="trino")
        if not isinstance(table.this, exp.Identifier) or table.catalog.lower() not in CATALOGS:
            raise QueryError(f"{shown!r} is no table of the lake: functions and files are not read.")
        if table.db.lower() == "information_schema":
            raise QueryError(f"{shown!r}: the catalogue is not queried here; `lake.tables()` lists the tables.")
        if table.db or not _is_defined(table):
            names.add(table.name.lower())
    return names


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


def shown(node: Any) -> str:
    """A part of a statement as its author wrote it, near enough, for an error."""
    return str(node.sql(dialect="trino"))[:160]
