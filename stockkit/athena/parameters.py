"""Bound parameters: any value of Python, numpy or pandas as the one plain value that has a type in Athena.

The local engine binds that value, Athena is sent its literal, and `types.from_value` names the type of both.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from stockkit.athena.values import quoted
from stockkit.errors import QueryError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd


def plain(value: Any) -> Any:
    """A parameter's value: None, bool, int, float, Decimal, str, date, datetime (UTC where it has a zone), or a list.

    NaT and NA are None; a NaN stays the double that it is. A Timestamp is a timestamp even at midnight.

    Raises:
        QueryError: a type that no parameter has, a whole number beyond bigint, a Decimal that is no number or has
            more than 38 digits, nanoseconds.
    """
    if isinstance(value, list | tuple | np.ndarray | pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return [_one(item) for item in value]
    return _one(value)


def every(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with their `plain` values."""
    return {name: plain(value) for name, value in parameters.items()}


def _one(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, np.datetime64):
        return _one(pd.Timestamp(value))
    if isinstance(value, np.generic):
        return _one(value.item())
    if isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, dt.datetime):
        return _moment(value)
    if isinstance(value, dt.date):
        return value
    raise QueryError(
        f"a parameter cannot be {str(value)[:80]!r} ({type(value).__name__}): give text, a number, a date or None, "
        "or a list of them for IN."
    )


def _whole(value: int) -> int:
    if abs(value) >= 2**63:
        raise QueryError(f"a parameter cannot be {str(value)[:80]}: it does not fit into a bigint; give a Decimal.")
    return value


def _decimal(value: Decimal) -> Decimal:
    if not value.is_finite() or len(f"{abs(value):f}".replace(".", "").lstrip("0")) > 38:
        raise QueryError(f"a parameter cannot be Decimal {str(value)[:80]!r}: a decimal is a number of 1 to 38 digits.")
    return value


def _moment(value: dt.datetime) -> dt.datetime:
    if isinstance(value, pd.Timestamp):
        if value.nanosecond:
            raise QueryError(f"a parameter cannot be {value}: give microseconds at most, as value.floor('us') does.")
        value = value.to_pydatetime()
    return value if value.tzinfo is None else value.astimezone(dt.UTC)


def literal(value: Any) -> str:
    """A plain value as the literal that Athena takes for it, of the type that `types.from_value` names.

    Text is quoted, so it stays data.
    """
    value = plain(value)
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, Decimal):
        return f"DECIMAL '{value:f}'"
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S.%f}{'' if value.tzinfo is None else ' UTC'}'"
    return f"DATE '{value:%Y-%m-%d}'"


def _double(value: float) -> str:
    if not math.isfinite(value):
        return "nan()" if math.isnan(value) else f"{'-' if value < 0 else ''}infinity()"
    return repr(value) if "e" in repr(value) else f"{value!r}e0"
