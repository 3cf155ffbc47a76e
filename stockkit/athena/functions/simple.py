"""Simple functions: found by their name and the types of their arguments in the table of signatures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stockkit.athena import types
from stockkit.athena.functions.signatures import SIGNATURES, STAYS
from stockkit.athena.types import Type
from stockkit.athena.values import Value, coerced, once, refuse


@dataclass(frozen=True)
class Signature:
    """One way to call a function: the types it takes, the type it gives, and its SQL."""

    takes: tuple[Type, ...]
    gives: Type
    sql: str


def _functions() -> dict[str, list[Signature]]:
    table: dict[str, list[Signature]] = {}
    for entry in re.split(r"\n(?! )", SIGNATURES.strip()):
        match = re.fullmatch(r"(\w+(?:,\w+)*)\((.*?)\)->(\S+) =\s(.*)", entry, re.DOTALL)
        assert match, entry
        names, takes, gives, sql = match.groups()
        for name in names.split(","):
            signature = Signature(tuple(_read(t) for t in takes.split(";") if t), _read(gives), sql)
            table.setdefault(name, []).append(signature)
    return table


def _read(written: str) -> Type:
    match = re.fullmatch(r"(array|map)<(.*)>", written)
    if match:
        return Type(match.group(1), tuple(_read(part) for part in match.group(2).split(",")))
    return types.TIMESTAMP if written == "timestamp" else types.ZONED if written == "zoned" else Type(written)


def call(name: str, values: list[Value], node: Any) -> Value:
    """A call of a function of the table.

    Raises:
        QueryError: no signature of it takes these values.
    """
    for signature in FUNCTIONS[name]:
        bindings = _bound(signature, values)
        if bindings is None:
            continue
        wanted = [
            v.type if _same_moment(k, v.type) else _filled(k, bindings)
            for k, v in zip(signature.takes, values, strict=True)
        ]
        given = [coerced(v, kind, node) for v, kind in zip(values, wanted, strict=True)]
        gives = _filled(signature.gives, bindings)
        nan = any(v.nan for v in values) if name in STAYS else True
        return Value(_filled_in(signature.sql, given, gives), gives, nan=nan)
    given_types = ", ".join(str(value.type) for value in values)
    raise refuse(node, f"Unexpected parameters ({given_types}) for function {name}. CAST them, or use Athena.")


def _filled_in(template: str, given: list[Value], gives: Type) -> str:
    """The SQL of a signature; what it needs more than once is worked out once."""

    def made(values: list[Value]) -> str:
        return template.format(*(value.sql for value in values), local=gives.local)

    twice = any(template.count(f"{{{k}}}") > 1 for k in range(len(given)))
    return once(given, made) if twice else made(given)


GROUPS = {"W": types.INTEGRAL, "F": types.FLOATING, "M": ("date", "timestamp", "zoned")}


def _bound(signature: Signature, values: list[Value]) -> dict[str, Type] | None:
    """What the letters of a signature stand for, None where the values do not fit."""
    bindings: dict[str, Type] = {}
    if len(signature.takes) != len(values):
        return None
    return bindings if all(_fits(k, v.type, bindings) for k, v in zip(signature.takes, values, strict=True)) else None


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


FUNCTIONS = _functions()
