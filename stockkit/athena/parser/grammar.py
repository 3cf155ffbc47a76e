"""Trino's grammar: which words are keywords, what is refused before parsing, and that no word is lost in the tree."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cache
from typing import Any

from stockkit.athena.parser.depth import check_depth
from stockkit.errors import QueryError

SPECIAL = ("CAST", "TRY_CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM", "LISTAGG")
# the keywords of sqlglot that are Trino's too; the others are plain names there, or no words at all
KEYWORDS = (
    "ALL", "AND", "ANY", "ARRAY", "AS", "ASC", "BETWEEN", "BIGINT", "BOOLEAN", "CASE", "CHAR", "CROSS", "CUBE",
    "CURRENT_CATALOG", "CURRENT_DATE", "CURRENT_SCHEMA", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER", "DATE",
    "DECIMAL", "DESC", "DISTINCT", "DOUBLE", "DOUBLE PRECISION", "ELSE", "END", "ESCAPE", "EXCEPT", "EXISTS", "FALSE",
    "FETCH", "FILTER", "FIRST", "FOR", "FORMAT", "FROM", "FULL", "GROUP BY", "GROUPING SETS", "HAVING", "ILIKE", "IN",
    "INNER", "INT", "INTEGER", "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN", "JSON", "LATERAL", "LEFT", "LIKE",
    "LIMIT", "LOCALTIME", "LOCALTIMESTAMP", "MAP", "MATCH_RECOGNIZE", "NATURAL", "NEXT", "NOT", "NULL", "OFFSET", "ON",
    "OR", "ORDER BY", "ORDINALITY", "OUTER", "OVER", "PARTITION BY", "RANGE", "REAL", "RECURSIVE", "RIGHT", "ROLLUP",
    "ROW", "ROWS", "SELECT", "SMALLINT", "SOME", "TABLE", "TABLESAMPLE", "THEN", "TIME", "TIMESTAMP", "TINYINT", "TRUE",
    "UNION", "UNNEST", "USING", "UUID", "VALUES", "VARBINARY", "VARCHAR", "WHEN", "WHERE", "WINDOW", "WITH",
    "||", ">=", "<=", "<>", "!=", "->", "=>", "::", "?",
)  # fmt: skip


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

        class Tokenizer(Trino.Tokenizer):
            KEYWORDS = {word: kind for word, kind in Trino.Tokenizer.KEYWORDS.items() if word in KEYWORDS}  # noqa: RUF012

    return Words


# the words that stand for no name, and so need not be in the tree
GRAMMAR = (
    "AT", "BOTH", "CAST", "CURRENT", "ERROR", "EXTRACT", "FOLLOWING", "GROUP", "GROUPS", "IF", "IGNORE",
    "LAST", "LEADING", "LISTAGG", "NULLS", "ONLY", "OVERFLOW", "POSITION", "PRECEDING", "RESPECT", "SUBSTRING",
    "TIES", "TO", "TRAILING", "TRIM", "TRUNCATE", "TRY_CAST", "UNBOUNDED", "WITHIN", "ZONE",
)  # fmt: skip
CLAUSES = ("SELECT", "FROM", "WHERE", "GROUP_BY", "HAVING", "WINDOW", "ORDER_BY", "OFFSET", "LIMIT", "FETCH")
INNER = ("ORDER_BY", "WHERE", "OFFSET", "LIMIT", "FETCH")  # also of an aggregate, a window or a set operation
NEVER = ("!", "&", "|", "^", "~", "\\", "#", "{", "}", "@", "`")
TAKING_FROM = ("EXTRACT", "TRIM", "SUBSTRING")  # the functions with a FROM between their parentheses
HINTS = {
    "EXPLAIN": "how a statement would run is not shown here: run the SELECT itself; on Athena, its console explains it",
    "PREPARE": "write the SELECT with :name for each parameter and give the values to lake.sql(text, name=…)",
    "EXECUTE": "write the SELECT with :name for each parameter and give the values to lake.sql(text, name=…)",
    "DEALLOCATE": "nothing is prepared here: write the SELECT with :name for each parameter",
    "SHOW": "translated are SHOW TABLES and SHOW COLUMNS FROM table; `lake.tables()` lists the tables",
    "DESCRIBE": "write DESCRIBE table, or SELECT * FROM table LIMIT 1",
    "DESC": "write DESCRIBE table, or SELECT * FROM table LIMIT 1",
    "USE": "there is one lake: write the table's name alone",
    "FROM": "a query begins with SELECT: write SELECT … FROM …",
}
WRITES = (
    "ALTER", "ANALYZE", "ATTACH", "BEGIN", "CALL", "COMMENT", "COMMIT", "COPY", "CREATE", "DELETE", "DENY",
    "DETACH", "DROP", "EXPORT", "GRANT", "IMPORT", "INSERT", "INSTALL", "LOAD", "MERGE", "MSCK", "OPTIMIZE",
    "PRAGMA", "REFRESH", "RESET", "REVOKE", "ROLLBACK", "SET", "START", "TRUNCATE", "UNLOAD", "UPDATE",
    "VACUUM",
)  # fmt: skip


def check_text(text: str) -> list[Any]:
    """The tokens of a statement.

    Raises:
        QueryError: it begins with another word than a query does, or is spelled as Trino's grammar does not allow.
    """
    if "\x00" in text:
        raise QueryError("the text contains a NUL character: remove it.")
    tokens = list(dialect()().tokenize(text))
    _check_first(tokens)
    for token, following in itertools.zip_longest(tokens, tokens[1:]):
        _check_pair(token, following, text)
    for three in zip(tokens, tokens[1:], tokens[2:], strict=False):
        _check_three(*three)
    _check_clauses(tokens)
    check_depth(tokens)
    return tokens


def _check_first(tokens: list[Any]) -> None:
    word = tokens[0].text.upper() if tokens else ""
    if word in HINTS:
        raise QueryError(f"expected one SELECT, found {word}: {HINTS[word]}.")
    if word in WRITES:
        raise QueryError(f"expected one SELECT, found {word}: the lake answers questions, nothing else.")


def _check_pair(token: Any, following: Any, text: str) -> None:
    kind, after = token.token_type.name, following.token_type.name if following is not None else ""
    glued = following is not None and following.start == token.end + 1
    if kind == "DCOLON":
        raise QueryError("`::` is no Athena SQL: write CAST(x AS type).")
    if kind == "NUMBER" and glued and following.text[:1].lower() in "_abcdefghijklmnopqrstuvwxyz$":
        raise QueryError(f"{token.text}{following.text}: write a plain number; digits are not grouped here.")
    if kind == "PLACEHOLDER":
        raise QueryError("`?` has no name: write :name in its place, and give the value as lake.sql(text, name=…).")
    if kind not in ("STRING", "IDENTIFIER") and token.text in NEVER:
        raise QueryError(f"{token.text!r} is no operator of Athena's: {_near(token, text)}.")
    if glued and (token.text, following.text) in (("=", "="), ("<=", ">")) and kind != "STRING":
        better = "=" if kind == "EQ" else "IS NOT DISTINCT FROM"
        raise QueryError(f"`{token.text}{following.text}` is no operator of Athena's: write {better}.")
    if kind == "COMMA" and after in ("", "R_PAREN", "R_BRACKET", "COMMA", *CLAUSES[1:]) and not _is_name(following):
        raise QueryError(f"a comma with nothing after it: {_near(token, text)}.")
    if kind == after == "STRING":
        raise QueryError(f"two texts side by side: join them by ||: {_near(token, text)}.")


def _is_name(token: Any) -> bool:
    return token is not None and token.token_type.name in ("OFFSET", "WINDOW")  # no reserved words


def _near(token: Any, text: str) -> str:
    return "…" + text[max(0, token.start - 20) : token.end + 20].strip().replace("\n", " ") + "…"


def _check_three(word: Any, middle: Any, end: Any) -> None:
    bare = middle.token_type.name == "DECIMAL" and end.token_type.name == "R_PAREN"
    if word.token_type.name == "ALIAS" and bare:  # the grammar does not tell it from DECIMAL '1.5'
        raise QueryError("AS decimal: write the digits, as in CAST(x AS decimal(38, 0)).")
    if word.token_type.name != "INTERVAL":
        return
    if middle.token_type.name == "NUMBER" or (middle.token_type.name == "STRING" and end.token_type.name != "VAR"):
        raise QueryError(f"INTERVAL {middle.text}: write the number in quotes and the unit after it, INTERVAL '1' DAY.")


def _check_clauses(tokens: list[Any]) -> None:
    """Refuse clauses in another order than Trino's grammar has them; the parser takes any."""
    open_ = [-1]
    for k, token in enumerate(tokens):
        kind, before = token.token_type.name, tokens[k - 1] if k else None
        after = tokens[k + 1].token_type.name if k + 1 < len(tokens) else ""
        if kind == "L_PAREN":
            open_.append(0 if before is not None and before.text.upper() in TAKING_FROM else -1)
        elif kind == "R_PAREN" and len(open_) > 1:
            open_.pop()
        elif kind == "SEMICOLON":
            open_ = [-1]
        elif kind in ("UNION", "INTERSECT", "EXCEPT"):
            if open_[-1] >= CLAUSES.index("ORDER_BY"):
                raise QueryError(f"{kind} after ORDER BY or LIMIT: put the query before it in parentheses.")
            open_[-1] = -1
        elif kind in CLAUSES and _opens_clause(kind, before, after):
            place = CLAUSES.index(kind)
            if place <= open_[-1] or (open_[-1] < 0 and place and kind not in INNER):
                raise QueryError(f"{kind.replace('_', ' ')} stands in the wrong place: {_order(kind)}.")
            open_[-1] = place


def _opens_clause(kind: str, before: Any, after: str) -> bool:
    needs = {"OFFSET": ("NUMBER", "COLON"), "LIMIT": ("NUMBER", "ALL", "COLON"), "FETCH": ("FIRST", "NEXT"),
             "WINDOW": ("VAR", "IDENTIFIER")}  # fmt: skip
    if kind == "FROM" and before is not None and before.token_type.name == "DISTINCT":
        return False  # IS DISTINCT FROM
    return kind not in needs or after in needs[kind]


def _order(kind: str) -> str:
    if kind == "OFFSET":
        return "write OFFSET before LIMIT"
    return "the order is SELECT, FROM, WHERE, GROUP BY, HAVING, WINDOW, ORDER BY, OFFSET, LIMIT, each once"


def check_nothing_lost(tokens: list[Any], tree: Any) -> None:
    """Refuse a statement with a name, number or text that the parser passed over.

    Raises:
        QueryError: names it.
    """
    from sqlglot import exp

    values = Counter(
        "0." * (before is not None and before.token_type.name == "DOT" and before.end + 1 == token.start) + token.text
        for before, token in zip([None, *tokens], tokens, strict=False)
        if token.token_type.name in ("STRING", "NUMBER")
    )  # .5 is a dot and a number to the tokenizer
    names = Counter(t.text.lower() for t in tokens if t.token_type.name in ("VAR", "IDENTIFIER"))
    values -= Counter(str(node.this) for node in tree.find_all(exp.Literal))
    values -= Counter(table.name for table in tree.find_all(exp.Table))
    names -= Counter(
        str(node.name).lower() for node in tree.find_all(exp.Identifier, exp.Anonymous, exp.Var, exp.Placeholder)
    )
    lost = [*values, *(name for name in names if name.upper() not in GRAMMAR)]
    if lost:
        raise QueryError(f"{lost[0]!r} stands where it is not read: use Athena for this statement, or leave it out.")
