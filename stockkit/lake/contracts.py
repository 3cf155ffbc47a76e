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
PLACE: Mapping[str, str] = {"partition": "string", "offset": "string"}  # in a bus; offsets in order as text
TICKS: Mapping[str, str] = {
    "symbol": "string",
    "date": "datetime64[ns]",
    "event_time": "datetime64[ns, UTC]",
    "price": "float64",
    "size": "int64",
    "source": "string",
    "sequence": "int64",
    "number": "int64",
    **PLACE,
    "arrival": "datetime64[ns, UTC]",
    "late": "bool",
}
BARS_1M: Mapping[str, str] = {
    "symbol": "string",
    "date": "datetime64[ns]",
    "minute": "datetime64[ns, UTC]",
    "open": "float64",
    "high": "float64",
    "low": "float64",
    "close": "float64",
    "volume": "int64",
    "count": "int64",
    "late": "int64",
}
SIGNALS: Mapping[str, str] = {
    "id": "string",
    "symbol": "string",
    "date": "datetime64[ns]",
    "event_time": "datetime64[ns, UTC]",
    "side": "string",
    "interval": "string",
    "price": "float64",
    "fast": "float64",
    "slow": "float64",
    "number": "int64",
    **PLACE,
    "made_at": "datetime64[ns, UTC]",
}
LETTERS: Mapping[str, str] = {
    "reason": "string",
    "detail": "string",
    "body": "object",
    **PLACE,
    "arrival": "datetime64[ns, UTC]",
    "date": "datetime64[ns]",
}
SCORES: Mapping[str, str] = {"symbol": "string", "model": "string", "horizon": "int64", "evidence": "string"}


@dataclass(frozen=True)
class Table:
    """What a table of the workbook holds: its grain in words, its key columns, its contract if it has one.

    `partition` is the column that its files are apart by.
    """

    grain: str
    key: tuple[str, ...]
    contract: Mapping[str, str] = field(default_factory=dict)
    partition: str = "symbol"


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
    "ticks": Table(
        "a trade or quote, numbered in the order of its symbol's arrival", ("symbol", "number"), TICKS, "date"
    ),
    "bars_1m": Table("a minute of ticks: a symbol and the minute's start", ("symbol", "minute"), BARS_1M, "date"),
    "signals": Table("a crossing of two averages, by its id", ("symbol", "event_time", "id"), SIGNALS, "date"),
    "dead_letters": Table("a record that is no tick: partition and offset", ("partition", "offset"), LETTERS, "date"),
}


def key_of(table: str) -> tuple[str, ...]:
    """The key columns of a table; symbol and date where it is none of the workbook's own."""
    return TABLES[table].key if table in TABLES else ("symbol", "date")
