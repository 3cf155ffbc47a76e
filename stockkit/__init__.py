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

from stockkit.lake.clients import Clients, connect_with

__version__ = "0.1.0"

_OFFERED = {
    "open_lake": "stockkit.lake.tables",
    "feature_table": "stockkit.lake",
    "ingest": "stockkit.lake",
    "ledger": "stockkit.lake",
    "counting": "stockkit.workbook.handover",
    "hand_over": "stockkit.workbook.handover",
    "headline": "stockkit.workbook.handover",
    "ensure": "stockkit.workbook.handover",
    "user_file": "stockkit.workbook",
    "actions": "stockkit.market",
    "causality": "stockkit.market",
    "features": "stockkit.market",
    "sessions": "stockkit.market",
    "simulate": "stockkit.market",
    "backtest": "stockkit.forecast",
    "coverage": "stockkit.forecast",
    "drift": "stockkit.forecast",
    "rules": "stockkit.forecast",
    "study": "stockkit.forecast",
    "trained": "stockkit.forecast",
    "intervals": "stockkit.forecast",
    "models": "stockkit.forecast",
    "newcomers": "stockkit.forecast",
    "outlook": "stockkit.forecast",
    "relevance": "stockkit.forecast",
    "sources": "stockkit.lake",
    "scores": "stockkit.forecast",
    "plots": "stockkit",
}
_ROOMS = ("stockkit.lake", "stockkit.market", "stockkit.forecast", "stockkit.workbook")  # whose modules are offered
__all__ = ["__version__", *sorted(_OFFERED)]


def _connect() -> Clients:
    """Make the AWS session of a lake that was given none: here the rooms `lake` and `cloud` are put together."""
    from stockkit.cloud.session import Session

    return Session()


connect_with(_connect)


def __getattr__(name: str) -> Any:
    """Import the room that offers `name` when it is first asked for."""
    if name not in _OFFERED:
        raise AttributeError(f"module 'stockkit' has no attribute {name!r}")
    home = _OFFERED[name]
    if name == "plots" or home in _ROOMS:
        return importlib.import_module(f"{home}.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
