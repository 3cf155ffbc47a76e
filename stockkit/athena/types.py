"""Athena's types: how they are named, which may stand for which, and what holds them in the local engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stockkit.errors import QueryError

INTEGRAL = ("tinyint", "smallint", "integer", "bigint")
FLOATING = ("real", "double")
LADDER = (*INTEGRAL, "decimal", *FLOATING)
DIGITS = {"tinyint": 3, "smallint": 5, "integer": 10, "bigint": 19}
LOCAL = {"boolean": "BOOLEAN", "tinyint": "TINYINT", "smallint": "SMALLINT", "integer": "INTEGER", "bigint": "BIGINT",
         "real": "FLOAT", "double": "DOUBLE", "varchar": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP",
         "zoned": "TIMESTAMPTZ", "unknown": "INTEGER", "interval": "BIGINT", "json": "VARCHAR"}  # fmt: skip


@dataclass(frozen=True)
class Type:
    """A type of Athena. `args`: digits and scale, digits of a second (and zone), elements, fields, the finest unit."""

    name: str
    args: tuple[Any, ...] = ()
    names: tuple[str | None, ...] = ()

    def __str__(self) -> str:
        if self.name == "interval":
            return "interval year to month" if self.args[0] == "month" else "interval day to second"
        if self.name == "zoned":
            return f"timestamp({self.args[0]}) with time zone"
        if self.name == "row":
            fields = (f"{n} {a}" if n else str(a) for n, a in zip(self.names, self.args, strict=True))
            return f"row({', '.join(fields)})"
        return f"{self.name}({', '.join(map(str, self.args))})" if self.args else self.name

    @property
    def integral(self) -> bool:
        """Whether it is an integer type."""
        return self.name in INTEGRAL

    @property
    def floating(self) -> bool:
        """Whether it is real or double."""
        return self.name in FLOATING

    @property
    def number(self) -> bool:
        """Whether it is a number of any kind."""
        return self.name in LADDER

    @property
    def moment(self) -> bool:
        """Whether it is a date or a timestamp, with or without a zone."""
        return self.name in ("date", "timestamp", "zoned")

    @property
    def local(self) -> str:
        """The type of the local engine that holds it."""
        if self.name == "decimal":
            return f"DECIMAL({self.args[0]},{self.args[1]})"
        if self.name == "array":
            return f"{self.args[0].local}[]"
        if self.name == "map":
            return f"MAP({self.args[0].local}, {self.args[1].local})"
        if self.name == "row":
            fields = (f'"{field(self, k)}" {arg.local}' for k, arg in enumerate(self.args))
            return f"STRUCT({', '.join(fields)})"
        return LOCAL[self.name]


def field(row: Type, place: int) -> str:
    """The name of a row's field in the local engine."""
    return row.names[place] or f"field{place}"


BOOLEAN, INTEGER, BIGINT, REAL, DOUBLE = (Type(n) for n in ("boolean", "integer", "bigint", "real", "double"))
VARCHAR, DATE, UNKNOWN = Type("varchar"), Type("date"), Type("unknown")
TIMESTAMP, ZONED = Type("timestamp", (3,)), Type("zoned", (3, "UTC"))


def decimal(precision: int, scale: int) -> Type:
    """A decimal with at most 38 digits."""
    return Type("decimal", (min(38, precision), scale))


def array(element: Type) -> Type:
    """An array of an element type."""
    return Type("array", (element,))


def as_decimal(kind: Type) -> Type:
    """The decimal that a whole number or decimal is taken for."""
    return kind if kind.name == "decimal" else Type("decimal", (DIGITS[kind.name], 0))


def common(one: Type, other: Type) -> Type | None:
    """The type that values of both can be taken for without being asked, None where there is none."""
    if one == other or other.name == "unknown":
        return one
    if one.name == "unknown":
        return other
    if one.number and other.number:
        return _common_number(one, other)
    if one.moment and other.moment:
        return _common_moment(one, other)
    if one.name == other.name and one.name in ("array", "map", "row") and len(one.args) == len(other.args):
        inner = [common(a, b) for a, b in zip(one.args, other.args, strict=True)]
        names = one.names if one.names == other.names else (None,) * len(one.names)
        return None if None in inner else Type(one.name, tuple(inner), names)
    return None


def _common_number(one: Type, other: Type) -> Type:
    high = one if LADDER.index(one.name) >= LADDER.index(other.name) else other
    if high.name != "decimal":
        return high
    a, b = as_decimal(one).args, as_decimal(other).args
    scale = max(a[1], b[1])
    return decimal(max(a[0] - a[1], b[0] - b[1]) + scale, scale)


def _common_moment(one: Type, other: Type) -> Type | None:
    order = ("date", "timestamp", "zoned")
    low, high = sorted((one, other), key=lambda kind: order.index(kind.name))
    digits = max(low.args[0] if low.args else 0, high.args[0])
    if high.name == "zoned" and high.args[1] != (low.args[1] if low.name == "zoned" else "UTC"):
        return None  # a value keeps its own zone in Athena, a column has one here
    return Type(high.name, (digits, *high.args[1:]))


def takes(wanted: Type, given: Type) -> bool:
    """Whether a value of `given` may stand where `wanted` is asked for."""
    return common(wanted, given) == wanted


def from_arrow(arrow: Any, where: str) -> Type:
    """The type under which Athena sees a column of a Parquet file.

    Raises:
        QueryError: a type that the tables of the workbook do not have.
    """
    import pyarrow as pa

    if pa.types.is_timestamp(arrow):
        return ZONED if arrow.tz else TIMESTAMP
    if pa.types.is_decimal(arrow):
        return decimal(arrow.precision, arrow.scale)
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return array(from_arrow(arrow.value_type, where))
    kinds = {"string": "varchar", "large_string": "varchar", "date32[day]": "date", "double": "double", "float": "real",
             "int64": "bigint", "int32": "integer", "int16": "smallint", "int8": "tinyint", "bool": "boolean",
             "string_view": "varchar"}  # fmt: skip
    if str(arrow) not in kinds:
        raise QueryError(f"{where} is of type {arrow}, which lake.sql does not read.")
    return Type(kinds[str(arrow)])


def from_value(value: Any) -> Type:
    """The type of a bound parameter's value, made plain by `parameters.plain`."""
    import datetime as dt
    from decimal import Decimal

    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER if abs(value) < 2**31 else BIGINT
    if isinstance(value, Decimal):
        integral, _, fraction = f"{abs(value):f}".partition(".")
        return decimal(max(len(integral.lstrip("0")) + len(fraction), 1), len(fraction))
    if isinstance(value, dt.datetime):
        return Type("zoned", (6, "UTC")) if value.tzinfo else Type("timestamp", (6,))
    if isinstance(value, dt.date):
        return DATE
    return VARCHAR if isinstance(value, str) else DOUBLE
