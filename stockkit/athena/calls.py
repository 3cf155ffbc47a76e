"""Function calls: the list of what is known to mean the same, or is translated to it. All others are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from stockkit.athena import casts, datetimes, intervals, mathematics, operators, types
from stockkit.athena.signatures import SIGNATURES, STAYS
from stockkit.athena.types import Type
from stockkit.athena.values import Scope, Value, coerced, once, refuse, unified

CLOCK = ("now", "current_date", "current_timestamp", "localtimestamp", "random", "rand", "uuid", "shuffle")


EXTRACTED = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DAY_OF_MONTH", "DAY_OF_WEEK", "DOW", "DAY_OF_YEAR", "DOY",
             "YEAR_OF_WEEK", "YOW", "HOUR", "MINUTE", "SECOND")  # fmt: skip


@dataclass(frozen=True)
class Signature:
    """One way to call a function: the types it takes, the type it gives, and its SQL."""

    takes: tuple[Type, ...]
    gives: Type
    sql: str


def call(node: Any, scope: Scope) -> Value:
    """Translate a call by the function's name."""
    from stockkit.athena import aggregates, documents, functions, lambdas, parsing, structures

    name = node.name.lower()
    if name in aggregates.NAMES:
        return aggregates.aggregate(node, scope)
    handlers: dict[str, Callable[[Any, Scope], Value]] = {
        **functions.HANDLERS, **lambdas.HANDLERS, **structures.HANDLERS, **parsing.HANDLERS, **documents.HANDLERS,
    }  # fmt: skip
    if name in handlers:
        return handlers[name](node, scope)
    if name in signatures():
        return _by_signature(name, [scope.value(one) for one in node.expressions], node)
    if name in CLOCK:
        raise refuse(node, "the answer would change from run to run: give the day or number as a :parameter.")
    near = get_close_matches(name, [*signatures(), *handlers, *aggregates.NAMES], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise refuse(node, f"the function {name} is not translated; use Athena for it.{hint}")


@cache
def signatures() -> dict[str, list[Signature]]:
    """The table of simple functions, read once."""
    table: dict[str, list[Signature]] = {}
    for entry in re.split(r"\n(?! )", f"{mathematics.SIGNATURES.strip()}\n{SIGNATURES.strip()}"):
        found = re.fullmatch(r"(\w+(?:,\w+)*)\((.*?)\)->(\S+) =\s(.*)", entry, re.DOTALL)
        assert found, entry
        names, takes, gives, sql = found.groups()
        for name in names.split(","):
            one = Signature(tuple(_read(t) for t in takes.split(";") if t), _read(gives), sql)
            table.setdefault(name, []).append(one)
    return table


def _read(written: str) -> Type:
    found = re.fullmatch(r"(array|map)<(.*)>", written)
    if found:
        return Type(found.group(1), tuple(_read(one) for one in found.group(2).split(",")))
    return types.TIMESTAMP if written == "timestamp" else types.ZONED if written == "zoned" else Type(written)


def _by_signature(name: str, values: list[Value], node: Any) -> Value:
    for one in signatures()[name]:
        bindings = _bound(one, values)
        if bindings is None:
            continue
        wanted = [
            v.type if _same_moment(k, v.type) else _filled(k, bindings) for k, v in zip(one.takes, values, strict=True)
        ]
        given = [coerced(v, kind, node) for v, kind in zip(values, wanted, strict=True)]
        gives = _filled(one.gives, bindings)
        nan = any(v.nan for v in values) if name in STAYS else True
        return Value(_filled_in(one.sql, given, gives), gives, nan=nan)
    found = ", ".join(str(value.type) for value in values)
    raise refuse(node, f"Unexpected parameters ({found}) for function {name}. CAST them, or use Athena.")


def _filled_in(template: str, given: list[Value], gives: Type) -> str:
    """The SQL of a signature; what it needs more than once is worked out once."""

    def made(values: list[Value]) -> str:
        return template.format(*(value.sql for value in values), local=gives.local)

    twice = any(template.count(f"{{{k}}}") > 1 for k in range(len(given)))
    return once(given, made) if twice else made(given)


GROUPS = {"W": types.WHOLE, "F": types.FLOATING, "M": ("date", "timestamp", "zoned")}


def _bound(one: Signature, values: list[Value]) -> dict[str, Type] | None:
    """What the letters of a signature stand for, None where the values do not fit."""
    bindings: dict[str, Type] = {}
    if len(one.takes) != len(values):
        return None
    return bindings if all(_fits(k, v.type, bindings) for k, v in zip(one.takes, values, strict=True)) else None


def _same_moment(kind: Type, given: Type) -> bool:
    """Whether both are timestamps, or both zoned ones: of any number of digits, in any zone."""
    return kind.name == given.name and kind.name in ("timestamp", "zoned")


def _fits(kind: Type, given: Type, bindings: dict[str, Type]) -> bool:
    if len(kind.name) == 1:
        if kind.name in GROUPS and given.name not in (*GROUPS[kind.name], "unknown"):
            return False
        wider = types.common(bindings.get(kind.name, types.UNKNOWN), given)
        if wider is not None:
            bindings[kind.name] = wider
        return wider is not None
    if kind.name in ("array", "map") and given.name == kind.name:
        return all(_fits(a, b, bindings) for a, b in zip(kind.args, given.args, strict=True))
    if _same_moment(kind, given):
        return True
    return types.takes(kind, given) and not (kind.name == "timestamp" and given.name == "zoned")


def _filled(kind: Type, bindings: dict[str, Type]) -> Type:
    if len(kind.name) == 1:
        return bindings.get(kind.name, types.UNKNOWN)  # NULL fits and binds nothing
    return Type(kind.name, tuple(_filled(a, bindings) if isinstance(a, Type) else a for a in kind.args))


def simple(name: str, values: list[Value], node: Any) -> Value:
    """Call a function of the table of signatures."""
    return _by_signature(name, values, node)


def trim(node: Any, scope: Scope) -> Value:
    """TRIM([LEADING | TRAILING | BOTH] [characters] FROM text)."""
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "BOTH").upper(), "trim")
    given = [node.this, *([node.expression] if node.expression else [])]
    return _by_signature(name, [scope.value(one) for one in given], node)


def substring(node: Any, scope: Scope) -> Value:
    """SUBSTRING(text FROM start FOR length), or with commas."""
    given = [node.this, node.args.get("start"), node.args.get("length")]
    return _by_signature("substr", [scope.value(one) for one in given if one is not None], node)


def position(node: Any, scope: Scope) -> Value:
    """POSITION(part IN text)."""
    return _by_signature("strpos", [scope.value(node.this), scope.value(node.args["substr"])], node)


def extract(node: Any, scope: Scope) -> Value:
    """EXTRACT(field FROM moment)."""
    if node.this.name.upper() not in EXTRACTED:
        raise refuse(node, f"EXTRACT takes one of {', '.join(EXTRACTED)}.")
    return datetimes.extracted(node.this.name, scope.value(node.expression), node)


def at_time_zone(node: Any, scope: Scope) -> Value:
    """moment AT TIME ZONE 'zone'."""
    zone = casts.checked_zone(scope.value(node.args["zone"]).const, node)
    return datetimes.rezoned(scope.value(node.this), zone, node)


def interval(node: Any, scope: Scope) -> Value:
    """INTERVAL '2' DAY."""
    return intervals.interval(node)


def arguments(node: Any, scope: Scope, low: int, high: int) -> list[Value]:
    """The translated arguments of a call, where their number fits."""
    if not low <= len(node.expressions) <= high:
        raise refuse(node, f"expected {low}{f' to {high}' if high > low else ''} arguments.")
    return [scope.value(one) for one in node.expressions]


__all__ = ["arguments", "call", "coerced", "operators", "simple", "unified"]
