"""What the tables of the workbook hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stockkit.market import schema

MADE: Mapping[str, str] = {
    "made_at": "datetime64[ns, UTC]",
    "as_of": "datetime64[ns]",
    "symbol": "string",
    "model": "string",
    "horizon": "int64",
    "target_session": "datetime64[ns]",
    "mean": "float64",
    "sigma": "float64",
    **{f"{side}{level}": "float64" for level in (80, 90, 95) for side in ("lo", "hi")},
}
SEAL: Mapping[str, str] = {
    "number": "int64",
    "data_version": "string",
    "code_version": "string",
    "previous": "string",
    "hash": "string",
}
SCORES: Mapping[str, str] = {"symbol": "string", "model": "string", "horizon": "int64", "evidence": "string"}


@dataclass(frozen=True)
class Table:
    """What a table of the workbook holds: its grain in words, its key columns, its contract if it has one."""

    grain: str
    key: tuple[str, ...]
    contract: Mapping[str, str] = field(default_factory=dict)


TABLES: dict[str, Table] = {
    "prices": Table("a trusted daily bar, split-adjusted: a symbol and session", ("symbol", "date"), schema.PRICES),
    "rejects": Table("a row of a source that broke a rule: a symbol and line", ("symbol", "line"), schema.REJECTS),
    "corrections": Table(
        "a day on which a later answer of a source changed an earlier one",
        ("symbol", "date", "changed_at"),
        schema.CORRECTIONS,
    ),
    "features": Table("every feature of a symbol and session", ("symbol", "date")),
    "forecasts": Table(
        "what one model said of one symbol: as-of date, model, horizon, moment made, number in the ledger",
        ("symbol", "as_of", "model", "horizon", "made_at", "number"),
        {**MADE, **SEAL},
    ),
    "scores": Table(
        "how one model did on one symbol (all_…: on all): in the backtest, or by the sealed forecasts (evidence)",
        ("symbol", "model", "horizon", "evidence"),
        SCORES,
    ),
}


def key_of(table: str) -> tuple[str, ...]:
    """The key columns of a table; symbol and date where it is none of the workbook's own."""
    return TABLES[table].key if table in TABLES else ("symbol", "date")
