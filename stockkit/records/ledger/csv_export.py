"""Forecasts as CSV files, one a symbol, for those who want a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd

from stockkit.forecast.walk import forecast_table
from stockkit.lake import frames
from stockkit.lake.tables import Lake
from stockkit.market import schema
from stockkit.records.ledger.sealing import newest, sealed

log = logging.getLogger(__name__)

FOLDER = "predictions"
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}
PRICED = ["close", "price", "price_lo80", "price_hi80", "price_lo95", "price_hi95"]


def export(lake: Lake, symbols: Sequence[str] | None = None, *, every: bool = False) -> dict[str, str]:
    """Write ``predictions/<symbol>.csv`` below the lake; return each symbol's file, as a key below the lake.

    A file holds the newest forecast of each model and horizon, the last as-of session first, and replaces the one
    before in one step. Columns: those of the table, `number` and `hash` included, so that a row can be held to the
    ledger; and, where the lake has `prices` of the as-of session, its close and the forecast in the currency of the
    close (`forecast_table.priced`). Numbers are written so that they are read back as the same float64.

    Args:
        lake: a folder or on S3.
        symbols: whose; all that have sealed forecasts by default. One without any is logged and has no file.
        every: all sealed forecasts, not only the newest.

    Raises:
        SymbolError: something that is no symbol. LakeError: there are no forecasts, or a file cannot be written.
    """
    wanted = None if symbols is None else schema.check_symbols(symbols)
    rows = sealed(lake)
    chosen = (rows if every else newest(rows)).sort_values(
        ["symbol", "as_of", "model", "horizon", "number"], ascending=[True, False, True, True, True]
    )
    tables = {str(symbol): forecasts for symbol, forecasts in _priced(lake, chosen).groupby("symbol", sort=False)}
    missing = sorted(set(wanted or ()) - set(tables))
    if missing:
        log.warning("event=no_forecasts symbols=%s: no file written", ",".join(missing))
    written = {}
    for symbol in [name for name in wanted or tables if name in tables]:
        written[symbol] = f"{FOLDER}/{file_name(symbol)}"
        lake.files.note(written[symbol], frames.to_csv(tables[symbol]).encode())
    return written


def file_name(symbol: str) -> str:
    """``BRK.B.csv``; what Windows takes for a device gets a ``_``, which no symbol has: ``CON_.csv``."""
    stem, dot, rest = schema.check_symbol(symbol).partition(".")
    return f"{stem}{'_' if stem in DEVICES else ''}{dot}{rest}.csv"


def _priced(lake: Lake, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the forecast in the currency of the close, empty where the close is not known."""
    if "prices" in lake.tables():
        prices = lake.read("prices", columns=["symbol", "date", "close"])
    else:
        prices = schema.empty({"symbol": "string", "date": "datetime64[ns]", "close": "float64"})
    return rows.join(forecast_table.priced(rows, prices)[PRICED])
