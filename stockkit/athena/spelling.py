"""Numbers as Athena spells them: doubles in scientific notation, and what may be too long for its varchar(n).

Since Trino 369 a real or double is spelled as the SQL standard has it, 1.0E1 and never 10.0, with the fewest digits
that mean the number; of a real at most seven.
"""

from __future__ import annotations

from stockkit.athena import types
from stockkit.athena.types import Type
from stockkit.athena.values import Value, fail, unanswered

DIGITS = "(CASE WHEN n.w = '0' THEN ltrim(n.f, '0') ELSE n.w || n.f END)"
EXPONENT = "(n.e + CASE WHEN n.w = '0' THEN length(ltrim(n.f, '0')) - length(n.f) ELSE length(n.w) END - 1)"


def floating_text(value: Value) -> Value:
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


def decimal_text(value: Value) -> Value:
    """A decimal as varchar, with a zero before the point where no whole digit is."""
    written = f"CAST({value.sql} AS VARCHAR)"
    if value.type.args[0] == value.type.args[1]:
        written = f"regexp_replace({written}, '^(-?)[.]', '\\10.')"
    return Value(written, types.VARCHAR)


def floating_decimal(value: Value, kind: Type) -> Value:
    """A real or double as decimal: of its shortest digits, halves away from zero."""
    message = fail(f"Cannot cast {value.type} to {kind}: it is NaN, infinite or too large", kind)
    worked = f"TRY_CAST(CAST(n.x AS VARCHAR) AS {kind.local})"
    sql = (
        f"list_transform([{{'x': {value.sql}}}], lambda n: CASE WHEN n.x IS NOT NULL AND (NOT isfinite(n.x) OR "
        f"{worked} IS NULL) THEN {message} ELSE {worked} END)[1]"
    )
    return Value(sql, kind)


def shortened(text: Value, length: int, source: Type) -> Value:
    """A text as varchar(length): a text is cut, what was spelled out of anything else must fit."""
    if source.name in ("varchar", "unknown"):
        return Value(f"substr({text.sql}, 1, {length})", types.VARCHAR)
    message = fail(f"Value cannot be represented as varchar({length})", types.VARCHAR)
    fits = f"CASE WHEN length(n.x) > {length} THEN {message} ELSE n.x END"
    return Value(f"list_transform([{{'x': {text.sql}}}], lambda n: {fits})[1]", types.VARCHAR)
