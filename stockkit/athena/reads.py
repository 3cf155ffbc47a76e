"""Which arguments of the parse tree are read: what a node carries beyond them is refused, and nothing passed over.

Every class of node that the translator accepts is listed with the arguments that its handler reads. A class that is
not listed, and an argument that is not (`False` and empty ones too, because their presence may mean something), is
refused by its name before anything is translated.
"""

from __future__ import annotations

from typing import Any

from stockkit.errors import QueryError

_BINARY = (
    "Add", "Sub", "Mul", "Div", "Mod", "DPipe", "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "NullSafeEQ",
    "NullSafeNEQ", "And", "Or", "Is", "Dot", "Escape", "Filter", "Extract",
)  # fmt: skip
_UNARY = (
    "Paren", "Neg", "Not", "Exists", "IgnoreNulls", "RespectNulls", "Where", "Having", "From", "Boolean",
    "Any", "All", "Placeholder", "Var", "DataTypeParam",
)  # fmt: skip
_ENDINGS = ("with_", "order", "limit", "offset")
# `parser` reads the alias of a Window and the windows of a Select: it puts the named windows where they are used
READS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_BINARY, ("this", "expression")),
    **dict.fromkeys(_UNARY, ("this",)),
    **dict.fromkeys(("Array", "Tuple", "Group", "Rollup", "Cube", "GroupingSets", "Distinct"), ("expressions",)),
    **dict.fromkeys(("Anonymous", "Bracket", "Lambda", "Order"), ("this", "expressions")),
    **dict.fromkeys(("Cast", "TryCast"), ("this", "to")),
    **dict.fromkeys(("Limit", "Offset"), ("expression",)),
    **dict.fromkeys(("Union", "Intersect", "Except"), ("this", "expression", "distinct", *_ENDINGS)),
    "Null": (), "Star": (),
    "Literal": ("this", "is_string"),
    "Identifier": ("this", "quoted"),
    "Column": ("this", "table", "db"),
    "Alias": ("this", "alias"),
    "Like": ("this", "expression", "negate"),
    "In": ("this", "expressions", "query"),
    "Between": ("this", "low", "high"),
    "Case": ("this", "ifs", "default"),
    "If": ("this", "true", "false"),
    "DataType": ("this", "expressions", "nested"),
    "ColumnDef": ("this", "kind"),
    "Interval": ("this", "unit"),
    "AtTimeZone": ("this", "zone"),
    "Trim": ("this", "position", "expression"),
    "Substring": ("this", "start", "length"),
    "StrPosition": ("this", "substr"),
    "GroupConcat": ("this", "separator"),
    "Window": ("this", "partition_by", "order", "spec", "over", "alias"),
    "WindowSpec": ("kind", "start", "start_side", "end", "end_side"),
    "Ordered": ("this", "desc", "nulls_first"),
    "Select": ("expressions", "from_", "joins", "where", "group", "having", "distinct", "windows", *_ENDINGS),
    "Subquery": ("this", "alias", *_ENDINGS),
    "Fetch": ("count", "direction", "limit_options"),  # FIRST and NEXT mean the same
    "LimitOptions": ("with_ties", "rows"),
    "Lateral": ("this", "alias"),
    "Values": ("expressions", "alias", *_ENDINGS),
    "With": ("expressions", "recursive"),
    "CTE": ("this", "alias"),
    "Join": ("this", "on", "using", "kind", "side"),
    "Table": ("this", "alias", "db", "catalog"),
    "TableAlias": ("this", "columns"),
    "Unnest": ("expressions", "alias", "offset"),
}  # fmt: skip
# what the parser writes into every node of the class, whatever the statement says
ALWAYS: dict[tuple[str, str], Any] = {
    ("Div", "typed"): True, ("Div", "safe"): False, ("DPipe", "safe"): False, ("Array", "value_constructor"): False,
    ("TryCast", "safe"): True, ("LimitOptions", "percent"): False, ("Lateral", "view"): False,
    ("Lateral", "outer"): False, ("Lateral", "ordinality"): False, ("ColumnDef", "constraints"): [],
}  # fmt: skip


def carried(node: Any) -> list[str]:
    """The arguments that a node carries, without those that its class always has."""
    name = type(node).__name__
    return [
        argument
        for argument, given in node.args.items()
        if given is not None and ALWAYS.get((name, argument), node) != given
    ]


def check(tree: Any) -> None:
    """Refuse what no handler reads.

    Raises:
        QueryError: names the class of node that is not translated, or the argument.
    """
    for node in tree.walk():
        name = type(node).__name__
        if name not in READS:
            raise QueryError(
                f"{shown(node)}: {HINTS.get(name, f'{name.upper()} is not translated; use Athena for it.')}"
            )
        only(node, *READS[name])


def only(node: Any, *allowed: str) -> None:
    """Refuse a node that carries anything beyond what its translator reads."""
    for name in carried(node):
        if name not in allowed:
            kind = type(node).__name__
            word = f"{kind.upper()} with {name.strip('_').replace('_', ' ').upper()}"
            hint = ARGUMENT_HINTS.get((kind, name), f"{word} is not translated; use Athena for it.")
            raise QueryError(f"{shown(node)}: {hint}")


HINTS = {
    "CurrentDate": "the answer would change from run to run: give the day as a :parameter.",
    "CurrentTime": "the answer would change from run to run: give the time as a :parameter.",
    "CurrentTimestamp": "the answer would change from run to run: give the moment as a :parameter.",
    "Localtime": "the answer would change from run to run: give the time as a :parameter.",
    "Localtimestamp": "the answer would change from run to run: give the moment as a :parameter.",
}
ARGUMENT_HINTS = {
    ("Group", "all"): "GROUP BY DISTINCT and GROUP BY ALL are not translated: write the columns, or SELECT DISTINCT.",
    ("Distinct", "on"): "DISTINCT ON is no Athena SQL: use row_number() OVER (PARTITION BY … ORDER BY …) = 1.",
    ("Join", "method"): "NATURAL and other methods of a join are not translated: write JOIN … USING (columns).",
}


def shown(node: Any) -> str:
    """A part of a statement as its author wrote it, near enough, for an error."""
    return str(node.sql(dialect="trino"))[:160]
