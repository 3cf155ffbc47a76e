"""stockkit: from raw daily bars to trusted tables, features, honest forecasts and reports.

What a notebook usually needs, loaded on first use so that ``import stockkit`` stays cheap::

    from stockkit import open_lake, features, plots

    lake = open_lake("data/lake")
    prices = lake.read("prices", symbols=["AAPL"])
    lake.sql("SELECT max(high) AS high FROM prices WHERE symbol = :symbol", symbol="AAPL")
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_OFFERED = {  # name: the module that has it
    "open_lake": "stockkit.lake.tables",
    "counting": "stockkit.workbook.handover",
    "hand_over": "stockkit.workbook.handover",
    "headline": "stockkit.workbook.handover",
    "ensure": "stockkit.workbook.handover",
}
_MODULES = {  # name: the room that has it
    "actions": "stockkit.market",
    "causality": "stockkit",
    "feature_table": "stockkit.lake",
    "features": "stockkit",
    "ingest": "stockkit.intake",
    "plots": "stockkit",
    "sessions": "stockkit.market",
    "simulate": "stockkit.market",
    "user_file": "stockkit.workbook",
}
__all__ = ["__version__", *sorted([*_OFFERED, *_MODULES])]


def __getattr__(name: str) -> Any:
    """Import the room that offers `name` when it is first asked for."""
    if name in _MODULES:
        return importlib.import_module(f"{_MODULES[name]}.{name}")
    if name in _OFFERED:
        return getattr(importlib.import_module(_OFFERED[name]), name)
    raise AttributeError(f"module 'stockkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
