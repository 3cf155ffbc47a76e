"""stockkit: from raw daily bars to trusted tables, features, honest forecasts and reports.

What most notebooks call, loaded on first use so that ``import stockkit`` stays cheap::

    from stockkit import features, open_lake, plots

    lake = open_lake("data/lake")
    prices = lake.read("prices", symbols=["AAPL"])
    plots.price_bars(prices)
    features.compute(prices, ["rsi_14"])

The rest is one import away: ``from stockkit.forecast.judge import scores``.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers
    from stockkit import causality, features, plots
    from stockkit.intake import ingest
    from stockkit.lake import feature_table
    from stockkit.lake.tables import open_lake
    from stockkit.market import simulate
    from stockkit.workbook import user_file
    from stockkit.workbook.handover import counting, ensure, hand_over, headline

if "STOCKKIT_TRACE" in os.environ:  # a step of a run: what it reads is noted from here on
    from stockkit.workbook.cache import trace

    trace.install()

__version__ = "0.1.0"
__all__ = [
    "causality", "counting", "ensure", "feature_table", "features", "hand_over", "headline", "ingest", "open_lake",
    "plots", "simulate", "user_file",
]  # fmt: skip

_ROOMS = {  # where it is; a module of its own in stockkit where nothing else is said
    "counting": "stockkit.workbook.handover",
    "ensure": "stockkit.workbook.handover",
    "feature_table": "stockkit.lake",
    "hand_over": "stockkit.workbook.handover",
    "headline": "stockkit.workbook.handover",
    "ingest": "stockkit.intake",
    "open_lake": "stockkit.lake.tables",
    "simulate": "stockkit.market",
    "user_file": "stockkit.workbook",
}


def __getattr__(name: str) -> Any:
    """Import what is offered when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'stockkit' has no attribute {name!r}")
    room = importlib.import_module(_ROOMS.get(name, "stockkit"))
    return getattr(room, name) if name in vars(room) else importlib.import_module(f"{room.__name__}.{name}")


def __dir__() -> list[str]:
    return ["__version__", *__all__]
