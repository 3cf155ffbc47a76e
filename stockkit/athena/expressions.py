"""Every kind of expression that is translated; a kind that is not listed here is refused."""

from __future__ import annotations

import re
from typing import Any

from stockkit.athena import casts, intervals, operators, types
from stockkit.athena.functions import aggregates, calls, datetimes, windows
from stockkit.athena.functions.structures import access
from stockkit.athena.parser.depth import check_length
from stockkit.athena.types import Type
from stockkit.athena.values import (
    Handler,
    Query,
    Scope,
    Value,
    coerced,
    condition,
    hoisted,
    new_row,
    one_column,
    quoted,
    refuse,
    tried,
    unified,
)

LIMITS = {"integer": 2**31, "bigint": 2**63}


def expression(node: Any, scope: Scope) -> Value:
    """Translate one expression; what a handler reads of its node is declared in `reads.READS`."""
    name = type(node).__name__
    if name not in KINDS:
        raise refuse(node, f"{name.upper()} is not translated; use Athena for it.")
    value = KINDS[name](node, scope)
    check_length(value.sql)
    return value


def _arithmetic(node: Any, scope: Scope) -> Value:
    symbol = operators.SYMBOLS[type(node).__name__]
    return operators.arithmetic(symbol, scope.value(node.this), scope.value(node.expression), node)


def _compare(node: Any, scope: Scope) -> Value:
    if _quantified(node) is not None:
        return _over_rows(node, scope)
    symbol = operators.COMPARISONS[type(node).__name__]
    return operators.comparison(symbol, scope.value(node.this), scope.value(node.expression), node)


def _literal(node: Any, scope: Scope) -> Value:
    written = node.this
    if node.is_string:
        return Value(quoted(written), types.VARCHAR, written)
    if re.fullmatch(r"[0-9]+", written):
        kind = next((k for k, limit in LIMITS.items() if int(written) < limit), None)
        if kind is None:
            raise refuse(node, "the number does not fit into a bigint: write DECIMAL '…'.")
        return Value(f"CAST({int(written)} AS {Type(kind).local})", Type(kind), int(written))
    if re.fullmatch(r"[0-9]*\.[0-9]*", written):
        return _decimal_literal(written, node)
    if re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+", written):
        return Value(f"CAST({quoted(written)} AS DOUBLE)", types.DOUBLE, float(written))
    raise refuse(node, "this is no number that Athena reads.")


def _decimal_literal(written: str, node: Any) -> Value:
    integral, _, fraction = written.lstrip("+-").partition(".")
    digits = len(integral.lstrip("0")) + len(fraction)  # zeros before the number are no digits of its type
    if not integral + fraction or digits > 38:
        raise refuse(node, "a decimal has 1 to 38 digits.")
    kind = types.decimal(max(digits, 1), len(fraction))
    return Value(f"CAST({quoted(written)} AS {kind.local})", kind, float(written))


def _parameter(node: Any, scope: Scope) -> Value:
    name, context = node.name, scope.context
    value = context.parameters[name]
    kind = types.from_value(value)
    context.bound[f"p_{name}"] = value
    return Value(f"CAST($p_{name} AS {kind.local})", kind, value, nan=kind.floating and value != value)


def _column(node: Any, scope: Scope) -> Value:
    if type(node.this).__name__ == "Star":
        raise refuse(node, "`*` stands only in SELECT and count(*).")
    name, table = node.name.lower(), node.table.lower()
    value = scope.column(name, table) if not node.args.get("db") else None
    if value is None and table:
        row = scope.column(table, node.text("db").lower())
        if row is not None and row.type.name == "row":
            return access.field(row, name, node)
    if value is None:
        raise refuse(node, f"Column cannot be resolved.{scope.nearest(name)}")
    return value


def _variable(node: Any, scope: Scope) -> Value:
    value = scope.variables.get(node.name.lower())
    if value is None:
        raise refuse(node, "not known here.")
    return value


def _logic(word: str) -> Handler:
    def translate(node: Any, scope: Scope) -> Value:
        sides, left = [], node  # a chain of any length is one level
        while type(left) is type(node):
            sides.append(left.expression)
            left = left.this
        tests = [condition(side, scope) for side in (left, *reversed(sides))]
        return Value(f"({f' {word} '.join(tests)})", types.BOOLEAN)

    return translate


def _is(node: Any, scope: Scope) -> Value:
    if _tests_truth(node):
        return _truth(node, scope)
    if type(node.expression).__name__ != "Null":
        raise refuse(node, "Athena knows IS NULL and IS DISTINCT FROM only.")
    return Value(f"({scope.value(node.this).sql} IS NULL)", types.BOOLEAN)


def _in(node: Any, scope: Scope) -> Value:
    left = scope.value(node.this)
    if node.args.get("query"):
        return _in_query(node, left, scope)
    members = _members(node, scope)
    tests = [operators.comparison("=", left, member, node) for member in members]
    if left.nan or left.type.name in ("array", "row") or not all(left.type == member.type for member in members):
        return Value(f"({' OR '.join(test.sql for test in tests)})", types.BOOLEAN)
    return Value(f"({left.sql} IN ({', '.join(member.sql for member in members)}))", types.BOOLEAN)


def _members(node: Any, scope: Scope) -> list[Value]:
    """The values after IN, where a parameter may be a list."""
    members = []
    for member in node.expressions:
        given = scope.context.parameters.get(member.name) if type(member).__name__ == "Placeholder" else None
        if not isinstance(given, list | tuple):
            members.append(scope.value(member))
            continue
        for k, value in enumerate(given):
            name, kind = f"l_{member.name}_{k}", types.from_value(value)
            scope.context.bound[name] = value
            members.append(Value(f"CAST(${name} AS {kind.local})", kind, value))
    return members


def _in_query(node: Any, left: Value, scope: Scope) -> Value:
    if left.type.name == "row":
        return _row_in(node, left, scope.context.query(node.args["query"], scope), scope)
    query = one_column(node.args["query"], scope)
    right = query.columns[0].value
    operators.comparison("=", left, right, node)
    kind = types.common(left.type, right.type) or left.type
    name = scope.context.fresh("s")
    sql = f"(SELECT {coerced(right, kind).sql} FROM ({query.sql}) AS {name})"
    known = f"({coerced(left, kind).sql} IN {sql})"
    return Value(f"({known} AND NOT isnan({left.sql}))" if left.nan else known, types.BOOLEAN)


def _scalar(node: Any, scope: Scope) -> Value:
    query = one_column(node, scope)
    return hoisted(Value(f"({query.sql})", query.columns[0].value.type, nan=True), scope)


def _exists(node: Any, scope: Scope) -> Value:
    query = scope.context.query(node.this, scope)
    return hoisted(Value(f"(EXISTS ({query.sql}))", types.BOOLEAN), scope)


def _between(node: Any, scope: Scope) -> Value:
    value = scope.value(node.this)
    low = operators.comparison(">=", value, scope.value(node.args["low"]), node)
    high = operators.comparison("<=", value, scope.value(node.args["high"]), node)
    return Value(f"({low.sql} AND {high.sql})", types.BOOLEAN)


def _like(node: Any, scope: Scope) -> Value:
    escape = None
    if type(node).__name__ == "Escape":
        escape, node = node.expression, node.this
    if type(node).__name__ != "Like":
        raise refuse(node, "ESCAPE stands after LIKE.")
    value, pattern = (coerced(scope.value(side), types.VARCHAR, node) for side in (node.this, node.expression))
    ending = ""
    if escape is not None:
        mark = scope.value(escape).const
        _check_escapes(pattern.const, mark, node)
        ending = f" ESCAPE {quoted(str(mark))}"
    word = "NOT LIKE" if node.args.get("negate") else "LIKE"
    return Value(f"({value.sql} {word} {pattern.sql}{ending})", types.BOOLEAN)


def _check_escapes(pattern: object, mark: object, node: Any) -> None:
    """Refuse an escape before anything but % _ and itself, as Athena does."""
    if not isinstance(pattern, str) or not isinstance(mark, str) or len(mark) != 1:
        raise refuse(node, "ESCAPE takes one known character, and a pattern known before the query runs.")
    if mark in re.sub(f"{re.escape(mark)}[%_{re.escape(mark)}]", "", pattern):
        raise refuse(node, "Escape character must be followed by '%', '_' or the escape character itself.")


def _case(node: Any, scope: Scope) -> Value:
    operand = scope.value(node.this) if node.this else None
    tests, results = [], []
    for branch in node.args["ifs"]:
        if operand is None:
            tests.append(condition(branch.this, scope))
        else:
            tests.append(operators.comparison("=", operand, scope.value(branch.this), node).sql)
        results.append(scope.value(branch.args["true"]))
    otherwise = node.args.get("default")
    results.append(scope.value(otherwise) if otherwise is not None else Value("NULL", types.UNKNOWN))
    *results, last = unified(results, node)
    branches = " ".join(f"WHEN {test} THEN {result.sql}" for test, result in zip(tests, results, strict=True))
    nan = any(result.nan for result in [*results, last])
    return Value(f"CASE {branches} ELSE {last.sql} END", last.type, nan=nan)


def _if(node: Any, scope: Scope) -> Value:
    no = node.args.get("false")
    results = [scope.value(node.args["true"]), scope.value(no) if no is not None else Value("NULL", types.UNKNOWN)]
    yes, other = unified(results, node)
    sql = f"CASE WHEN {condition(node.this, scope)} THEN {yes.sql} ELSE {other.sql} END"
    return Value(sql, yes.type, nan=yes.nan or other.nan)


def _cast(node: Any, scope: Scope) -> Value:
    literal = type(node.this).__name__ == "Literal" and node.this.is_string
    if literal and node.to.this.name == "DECIMAL" and not node.to.expressions:
        return _decimal_literal(node.this.this.strip(), node)
    if type(node).__name__ == "TryCast":
        return tried(lambda inner: casts.cast_node(node, inner.value(node.this)), scope)
    return casts.cast_node(node, scope.value(node.this))


ANY = "CASE WHEN bool_or({0}) THEN TRUE WHEN bool_or({0} IS NULL) THEN NULL ELSE FALSE END"
ALL = "CASE WHEN bool_or(NOT {0}) THEN FALSE WHEN bool_or({0} IS NULL) THEN NULL ELSE TRUE END"
WORDS = {"ALL": "ALL", "ANY": "ANY", "SOME": "ANY"}


def _truth(node: Any, scope: Scope) -> Value:
    """x IS TRUE, IS FALSE and IS UNKNOWN, which are never NULL."""
    value = scope.value(node.this)
    if value.type not in (types.BOOLEAN, types.UNKNOWN):
        raise refuse(node, f"IS TRUE, FALSE and UNKNOWN take a boolean, this is {value.type}.")
    wanted = str(bool(node.expression.this)).upper() if type(node.expression).__name__ == "Boolean" else "NULL"
    return Value(f"({coerced(value, types.BOOLEAN).sql} IS NOT DISTINCT FROM {wanted})", types.BOOLEAN)


def _tests_truth(node: Any) -> bool:
    """Whether an IS asks for TRUE, FALSE or UNKNOWN, which the parser takes for a name."""
    right = node.expression
    unknown = type(right).__name__ == "Column" and right.name.upper() == "UNKNOWN" and not right.this.args.get("quoted")
    return type(right).__name__ == "Boolean" or (unknown and not right.table)


def _quantified(node: Any) -> Any:
    """The ANY, SOME or ALL after a comparison, with its subquery, None where there is none."""
    right = node.expression
    if type(right).__name__ in ("Any", "All"):
        return type(right).__name__.upper(), right.this
    if type(right).__name__ == "Anonymous" and right.name.upper() in WORDS and len(right.expressions) == 1:
        return WORDS[right.name.upper()], right.expressions[0]
    return None


def _over_rows(node: Any, scope: Scope) -> Value:
    """x = ANY (SELECT …), x > ALL (VALUES …): over no rows ANY is false and ALL is true."""
    word, subquery = _quantified(node)
    symbol = operators.COMPARISONS[type(node).__name__]
    if type(subquery).__name__ not in ("Subquery", "Select", "Union", "Intersect", "Except", "Values"):
        raise refuse(node, f"{word} takes a subquery: use any_match or all_match for arrays.")
    left = scope.value(node.this)
    query = one_column(subquery, scope)
    test = operators.comparison(symbol, left, query.columns[0].value, node).sql
    return _asked(test, ANY if word == "ANY" else ALL, query, scope)


def _row_in(node: Any, left: Value, query: Query, scope: Scope) -> Value:
    """(a, b) IN (SELECT c, d …)."""
    if left.type.name != "row" or len(left.type.args) != len(query.columns):
        raise refuse(node, f"the subquery gives {len(query.columns)} columns for {left.type}.")
    right = new_row([column.value for column in query.columns])
    return _asked(operators.comparison("=", left, right, node).sql, ANY, query, scope)


def _asked(test: str, question: str, query: Query, scope: Scope) -> Value:
    outer, inner = scope.context.fresh("s"), scope.context.fresh("s")
    tests = f"SELECT ({test}) AS b FROM ({query.sql}) AS {inner}"
    sql = f"(SELECT {question.format(f'{outer}.b')} FROM ({tests}) AS {outer})"
    return hoisted(Value(sql, types.BOOLEAN), scope)


KINDS: dict[str, Handler] = {
    "Literal": _literal, "Placeholder": _parameter, "Column": _column, "Identifier": _variable, "Dot": access.dot,
    "And": _logic("AND"), "Or": _logic("OR"), "Is": _is, "In": _in, "Subquery": _scalar, "Exists": _exists,
    "Between": _between, "Like": _like, "Escape": _like, "Case": _case, "If": _if, "Cast": _cast, "TryCast": _cast,
    "Array": access.array, "Bracket": access.bracket, "Tuple": calls.row, "Anonymous": calls.call,
    "Trim": calls.trim, "Substring": calls.substring, "StrPosition": calls.position, "Extract": datetimes.extract,
    "AtTimeZone": datetimes.at_time_zone, "Filter": aggregates.filtered, "Window": windows.windowed,
    "GroupConcat": aggregates.listagg,
    **dict.fromkeys(operators.SYMBOLS, _arithmetic), **dict.fromkeys(operators.COMPARISONS, _compare),
    "Interval": lambda node, scope: intervals.interval(node),
    "Paren": lambda node, scope: scope.value(node.this),
    "Not": lambda node, scope: Value(f"(NOT {condition(node.this, scope)})", types.BOOLEAN),
    "Neg": lambda node, scope: operators.negative(scope.value(node.this), node),
    "Boolean": lambda node, scope: Value(str(bool(node.this)).upper(), types.BOOLEAN, bool(node.this)),
    "Null": lambda node, scope: Value("CAST(NULL AS INTEGER)", types.UNKNOWN, None),
    "DPipe": lambda node, scope: operators.joined(scope.value(node.this), scope.value(node.expression), node),
}  # fmt: skip
