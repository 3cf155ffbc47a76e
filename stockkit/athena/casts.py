"""CAST and TRY_CAST with Athena's rounding, spellings and refusals, and numbers as Athena spells them.

Since Trino 369 a real or double is spelled as the SQL standard has it, 1.0E1 and never 10.0, with the fewest digits
that mean the number; of a real at most seven.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from stockkit.athena import intervals, types
from stockkit.athena.functions import documents
from stockkit.athena.intervals import from_local, local_time, to_digits
from stockkit.athena.types import Type
from stockkit.athena.values import NOTHING, Value, coerced, fail, let, once, quoted, refuse, unanswered

PATTERNS = {
    "integral": r"[+-]?[0-9]+",
    "decimal": r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?",
    "floating": r"\s*[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[fFdD]?|NaN|Infinity)\s*",
    "boolean": r"(?i)t|f|true|false|1|0",
    "date": r"\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}\s*",
    "timestamp": r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}( (?:[01]?[0-9]|2[0-3]):[0-5]?[0-9](:[0-5]?[0-9](\.[0-9]{1,12})?)?)?",
}
# what Athena takes beside these: other digits, years of more or fewer than four of them, hexadecimal floating numbers
WIDER = {
    "integral": r"[+-]?\pN+",
    "decimal": r"[+-]?(\pN+(\.\pN*)?|\.\pN+)([eE][+-]?\pN+)?",
    "floating": r"[\x00-\x20]*[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[fFdD]?|NaN|Infinity"
    r"|0[xX][0-9a-fA-F.]+[pP][+-]?[0-9]+[fFdD]?)[\x00-\x20]*",
    "boolean": PATTERNS["boolean"],
    "date": r"[\x00-\x20]*[+-]?\pN+-\pN{1,2}-\pN{1,2}[\x00-\x20]*",
    "timestamp": r"[+-]?\pN{4,}-\pN{1,2}-\pN{1,2}"
    r"( ((?:[01]?[0-9]|2[0-3]):[0-5]?[0-9](:[0-5]?[0-9](\.[0-9]{1,12})?)?)?\s*)?",
}
SQL_NAMES = {"INT": "integer", "BIGINT": "bigint", "SMALLINT": "smallint", "TINYINT": "tinyint", "DOUBLE": "double",
             "FLOAT": "real", "BOOLEAN": "boolean", "DATE": "date", "VARCHAR": "varchar"}  # fmt: skip


def named_type(node: Any) -> tuple[Type, int | None]:
    """The type that CAST names, and the length of a varchar(n)."""
    name = node.this.name if hasattr(node.this, "name") else str(node.this)
    given = [argument.this for argument in node.expressions if argument.key == "datatypeparam"]
    if not all(argument.key == "literal" and not argument.is_string and argument.name.isdigit() for argument in given):
        raise refuse(node, "the digits or length of a type are whole numbers.")
    sizes = [int(argument.name) for argument in given]
    if name == "VARCHAR":
        return types.VARCHAR, sizes[0] if sizes else None
    if name in SQL_NAMES and not node.expressions:
        return Type(SQL_NAMES[name]), None
    if name == "DECIMAL" and len(sizes) <= 2:
        precision, scale = (*sizes, 38, 0)[0] if sizes else 38, sizes[1] if len(sizes) == 2 else 0
        if 1 <= precision <= 38 and scale <= precision:
            return types.decimal(precision, scale), None
    if name in ("TIMESTAMP", "TIMESTAMPTZ") and max(sizes, default=3) <= 6:
        digits = sizes[0] if sizes else 3
        return (Type("timestamp", (digits,)) if name == "TIMESTAMP" else Type("zoned", (digits, "UTC"))), None
    if name in ("ARRAY", "MAP") and node.expressions:
        return Type(name.lower(), tuple(_plain_type(argument) for argument in node.expressions)), None
    if name == "STRUCT":
        return _row_type(node), None
    raise refuse(node, "this type is not translated; use Athena for it.")


def _plain_type(node: Any) -> Type:
    kind, length = named_type(node)
    if length is not None:
        raise refuse(node, "a length inside another type is not translated: write varchar.")
    return kind


def _row_type(node: Any) -> Type:
    fields = [
        (field.name.lower(), field.args["kind"]) if field.key == "columndef" else (None, field)
        for field in node.expressions
    ]
    return Type("row", tuple(_plain_type(kind) for _, kind in fields), tuple(name for name, _ in fields))


def cast_node(node: Any, value: Value) -> Value:
    """The value of a CAST, without the TRY of a TRY_CAST."""
    if node.to.this.name == "TIMESTAMPTZ" and value.type == types.VARCHAR:
        return _zoned_literal(node, value)
    kind, length = named_type(node.to)
    if length is None:
        return cast(value, kind, node)
    return _shortened(cast(value, kind, node), length, value.type)


def cast(value: Value, kind: Type, node: Any) -> Value:
    """A value cast to a type, failing where Athena fails."""
    if value.type == kind or value.type.name == "unknown":
        return coerced(value, kind, node)
    steps = {"varchar": _from_varchar, "timestamp": _from_moment, "zoned": _from_moment, "array": _from_nested,
             "map": _from_nested, "row": _from_nested}  # fmt: skip
    if value.type.name in steps:
        return steps[value.type.name](value, kind, node)
    source = value.type
    if source.name == "json":
        return documents.cast(value, kind, node)
    if source.name == "interval" and kind.name == "varchar":
        return Value(intervals.spelled(value.sql, source), kind)
    if source.floating and kind.name == "decimal":
        return _floating_decimal(value, kind)
    if source.floating and kind.name == "varchar":
        return _floating_text(value)
    if source.floating and kind.name == "boolean":
        return Value(f"({value.sql} <> 0)", kind)
    if source.floating and kind.integral:
        return Value(f"CAST(round({value.sql}) AS {kind.local})", kind)
    if source.name == "boolean" and kind.name == "decimal" and kind.args[0] == kind.args[1]:
        return _boolean_to_fraction(value, kind)
    if source.name == "decimal" and kind.name == "varchar":
        return _decimal_text(value)
    numbers = (source.number or source.name == "boolean") and (kind.number or kind.name in ("varchar", "boolean"))
    if numbers or (source.name == "date" and kind.name == "varchar"):
        return Value(f"CAST({value.sql} AS {kind.local})", kind, nan=value.nan)
    if source.name == "date" and kind.moment:
        return coerced(value, kind, node)
    raise refuse(node, f"Cannot cast {source} to {kind}.")


def _boolean_to_fraction(value: Value, kind: Type) -> Value:
    """A boolean as a decimal that has no place for 1."""
    return Value(f"CASE WHEN {value.sql} THEN {fail(f'Cannot cast true to {kind}', kind)} ELSE "
                 f"CAST({value.sql} AS {kind.local}) END", kind)  # fmt: skip


def _from_varchar(value: Value, kind: Type, node: Any) -> Value:
    shape = "integral" if kind.integral else "floating" if kind.floating else kind.name
    if shape not in PATTERNS:
        raise refuse(node, f"Cannot cast varchar to {kind}: not translated.")
    if isinstance(value.const, str) and re.fullmatch(PATTERNS[shape], value.const):
        known = _as_date(value.const) if shape == "date" else NOTHING
        plain = Value(_read(value.sql, shape, kind), kind, known, nan="NaN" in value.const)
        return to_digits(plain, kind)
    sql = once([value], lambda given: _read_or_failed(given[0].sql, shape, kind))
    return to_digits(Value(sql, kind, nan=kind.floating), kind)


def _read_or_failed(sql: str, shape: str, kind: Type) -> str:
    """A text taken for a type, where it has the shape of one."""
    message = fail(f"Value cannot be cast to {kind}", kind)
    odd = unanswered(f"this spelling of {kind} is not translated", kind)
    tests = f"WHEN NOT regexp_full_match({sql}, {quoted(WIDER[shape])}) THEN {message}"
    if WIDER[shape] != PATTERNS[shape]:
        tests += f" WHEN NOT regexp_full_match({sql}, {quoted(PATTERNS[shape])}) THEN {odd}"
    return f"CASE {tests} ELSE {_read(sql, shape, kind)} END"


def _read(sql: str, shape: str, kind: Type) -> str:
    """A text of a shape that is known taken for a type."""
    if shape == "floating":
        return f"CAST(rtrim({sql}, 'fFdD ') AS {kind.local})"  # 1.5f is a number in Java
    if shape != "timestamp":
        return f"CAST({sql} AS {kind.local})"
    rest = f"regexp_matches({sql}, '\\.[0-9]{{6}}[5-9]')"  # digits beyond a microsecond round it where it is the last
    more = f" + to_microseconds(CASE WHEN {rest} THEN 1 ELSE 0 END)" if kind.args[0] == 6 else ""
    return f"(CAST(regexp_replace({sql}, '(\\.[0-9]{{6}})[0-9]*', '\\1') AS TIMESTAMP){more})"


def _as_date(value: str) -> Any:
    try:
        return dt.date.fromisoformat(value.strip())
    except ValueError:
        return NOTHING


def _zoned_literal(node: Any, value: Value) -> Value:
    """TIMESTAMP '2012-10-31 01:00 UTC': the instant, and the zone that it is shown in."""
    match = re.fullmatch(rf"({PATTERNS['timestamp']}) ?([A-Za-z_/]+|[+-][0-9]{{2}}:[0-9]{{2}})", str(value.const))
    if not match:
        raise refuse(node, "give the zone in the text, as in TIMESTAMP '2012-10-31 01:00 UTC'.")
    zone = checked_zone(match.groups()[-1], node)
    digits = named_type(node.to)[0].args[0]
    clock = to_digits(
        Value(f"CAST({quoted(match.group(1))} AS TIMESTAMP)", types.TIMESTAMP), Type("timestamp", (digits,))
    )
    return Value(f"({clock.sql} AT TIME ZONE {quoted(zone)})", Type("zoned", (digits, zone)))


def checked_zone(name: object, node: Any) -> str:
    """A time zone's name, where it is one."""
    import zoneinfo

    if isinstance(name, str) and name in zoneinfo.available_timezones():
        return name
    given = "what is not known before the query runs" if name is NOTHING else repr(name)
    raise refuse(node, f"the zone must be a known name such as 'America/New_York', found {given}.")


def _from_moment(value: Value, kind: Type, node: Any) -> Value:
    clock = local_time(value)
    if kind.name == "date":
        return Value(f"CAST({clock} AS DATE)", kind)
    if kind.name == "varchar":
        return Value(_spelled(clock, value.type), kind)
    if kind.name in ("timestamp", "zoned"):
        fine = value.type.args[0] <= kind.args[0]
        plain = Type("timestamp", kind.args[:1])
        rounded = clock if fine else to_digits(Value(clock, plain), plain).sql
        zone = value.type.args[1] if value.type.name == "zoned" else "UTC"
        return (
            Value(rounded, kind)
            if kind.name == "timestamp"
            else from_local(rounded, Type("zoned", (kind.args[0], zone)))
        )
    raise refuse(node, f"Cannot cast {value.type} to {kind}.")


def _spelled(clock: str, kind: Type) -> str:
    sql = f"strftime({clock}, '%Y-%m-%d %H:%M:%S')"
    if kind.args[0]:
        sql += f" || '.' || substr(strftime({clock}, '%f'), 1, {kind.args[0]})"
    return f"({sql} || {quoted(' ' + kind.args[1])})" if kind.name == "zoned" else f"({sql})"


def _from_nested(value: Value, kind: Type, node: Any) -> Value:
    source = value.type
    if source.name == kind.name == "array":
        inner = cast(Value("e", source.args[0], nan=value.nan), kind.args[0], node).sql
        return Value(f"list_transform({value.sql}, lambda e: {inner})", kind, nan=value.nan)
    if source.name == kind.name == "row" and len(source.args) == len(kind.args):
        parts = [
            f"{quoted(types.field(kind, k))}: "
            + cast(Value(f"({value.sql})[{quoted(types.field(source, k))}]", one), kind.args[k], node).sql
            for k, one in enumerate(source.args)
        ]
        return Value(f"CASE WHEN {value.sql} IS NOT NULL THEN {{{', '.join(parts)}}} END", kind, nan=True)
    if source.name == "map" and types.takes(kind, source):
        return coerced(value, kind, node)
    raise refuse(node, f"Cannot cast {source} to {kind}.")


DIGITS = "(CASE WHEN n.w = '0' THEN ltrim(n.f, '0') ELSE n.w || n.f END)"
EXPONENT = "(n.e + CASE WHEN n.w = '0' THEN length(ltrim(n.f, '0')) - length(n.f) ELSE length(n.w) END - 1)"


def _floating_text(value: Value) -> Value:
    """A real or double as varchar: 1.5E0, -0E0, NaN, -Infinity."""
    kind = value.type
    plain = "CAST(abs(n.x) AS VARCHAR)"
    plain = plain if kind == types.DOUBLE else f"printf('%.6e', CAST({plain} AS DOUBLE))"
    parts = (
        "{'x': n.x, 'w': split_part(split_part(n.s, 'e', 1), '.', 1), "
        "'f': split_part(split_part(n.s, 'e', 1), '.', 2), "
        "'e': coalesce(TRY_CAST(split_part(n.s, 'e', 2) AS INTEGER), 0)}"
    )
    rest = f"coalesce(nullif(rtrim(substr({DIGITS}, 2), '0'), ''), '0')"
    finite = (
        f"CASE WHEN n.x < 0 THEN '-' ELSE '' END || substr({DIGITS}, 1, 1) || '.' || {rest} || 'E'"
        f" || CAST({EXPONENT} AS VARCHAR)"
    )
    least = "2.3e-308" if kind == types.DOUBLE else "1.2e-38"
    tiny = unanswered("the text of a subnormal number is not translated", types.VARCHAR)
    body = (
        "CASE WHEN n.x IS NULL THEN NULL WHEN isnan(n.x) THEN 'NaN' "
        "WHEN n.x = 0 THEN CASE WHEN signbit(n.x) THEN '-0E0' ELSE '0E0' END "
        "WHEN isinf(n.x) THEN CASE WHEN n.x > 0 THEN 'Infinity' ELSE '-Infinity' END "
        f"WHEN abs(n.x) < CAST('{least}' AS DOUBLE) THEN {tiny} ELSE {finite} END"
    )
    sql = f"[{{'x': {value.sql}}}]"
    for step in (f"{{'x': n.x, 's': {plain}}}", parts, body):  # one behind the other: nested they take thrice the time
        sql = f"list_transform({sql}, lambda n: {step})"
    return Value(f"{sql}[1]", types.VARCHAR)


def _decimal_text(value: Value) -> Value:
    """A decimal as varchar, with a zero before the point where no whole digit is."""
    written = f"CAST({value.sql} AS VARCHAR)"
    if value.type.args[0] == value.type.args[1]:
        written = f"regexp_replace({written}, '^(-?)[.]', '\\10.')"
    return Value(written, types.VARCHAR)


def _floating_decimal(value: Value, kind: Type) -> Value:
    """A real or double as decimal: of its shortest digits, halves away from zero."""
    message = fail(f"Cannot cast {value.type} to {kind}: it is NaN, infinite or too large", kind)
    worked = f"TRY_CAST(CAST(n.x AS VARCHAR) AS {kind.local})"
    odd = f"n.x IS NOT NULL AND (NOT isfinite(n.x) OR {worked} IS NULL)"
    return Value(let(f"CASE WHEN {odd} THEN {message} ELSE {worked} END", x=value.sql), kind)


def _shortened(written: Value, length: int, source: Type) -> Value:
    """A text as varchar(length): a text is cut, what was spelled out of anything else must fit."""
    if source.name in ("varchar", "unknown"):
        return Value(f"substr({written.sql}, 1, {length})", types.VARCHAR)
    message = fail(f"Value cannot be represented as varchar({length})", types.VARCHAR)
    fits = f"CASE WHEN length(n.x) > {length} THEN {message} ELSE n.x END"
    return Value(let(fits, x=written.sql), types.VARCHAR)
