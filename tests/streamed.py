"""What a stream leaves in the lake, made up: ticks, minutes, signals and dead letters of a day, with their columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.forecast.trading import batch_crossings
from stockkit.lake.contracts import TABLES
from stockkit.market import schema
from stockkit.market.signals import Rule
from tests.forecast import crossing_worlds

LAG = pd.Timedelta("80ms")  # of the typical tick of a live source
REPLAYED_AT = pd.Timestamp("2026-01-05 08:00", tz="UTC")


def tables(
    seed: int = 1, *, symbols: tuple[str, ...] = ("AAPL", "META", "NFLX"), count: int = 1_500, live: bool = False
) -> dict[str, pd.DataFrame]:
    """The tables of one day; some ticks are late, and some records are none."""
    rng = np.random.default_rng(seed)
    ticks = crossing_worlds.ticks(seed, symbols=len(symbols), count=count)
    ticks["symbol"] = ticks["symbol"].map(dict(zip(ticks["symbol"].unique(), symbols, strict=True)))
    ticks["arrival"] = ticks["event_time"] + LAG * rng.lognormal(0, 0.6, len(ticks))
    late = rng.choice(len(ticks), len(ticks) // 200, replace=False)
    behind = np.zeros(len(ticks))
    behind[late] = rng.uniform(90, 300, len(late))
    behind[rng.choice(len(ticks), len(ticks) // 100, replace=False)] += rng.uniform(1, 20, len(ticks) // 100)
    ticks["event_time"] -= pd.to_timedelta(behind.round(3), "s")
    if not live:
        ticks["arrival"] = REPLAYED_AT + pd.to_timedelta(np.arange(len(ticks)) // 500, "ms")
    place = ticks.groupby("symbol").cumcount()
    ticks = ticks.assign(
        date=ticks["event_time"].dt.tz_localize(None).dt.normalize(), size=rng.integers(1, 500, len(ticks)),
        source="simulator-1", sequence=place, partition="0", offset=[f"{k:020}" for k in range(len(ticks))],
        late=np.isin(np.arange(len(ticks)), late),
    )  # fmt: skip
    ticks = schema.cast(ticks, TABLES["ticks"].contract)
    return {"ticks": ticks, "bars_1m": _minutes(ticks), "signals": _signals(ticks), "dead_letters": _letters(rng)}


def _minutes(ticks: pd.DataFrame) -> pd.DataFrame:
    ordered = ticks.sort_values(["symbol", "event_time", "number"])
    grouped = ordered.assign(minute=ordered["event_time"].dt.floor("min")).groupby(["symbol", "date", "minute"])
    bars = grouped.agg(
        open=("price", "first"), high=("price", "max"), low=("price", "min"), close=("price", "last"),
        volume=("size", "sum"), count=("price", "size"), late=("late", "sum"),
    )  # fmt: skip
    return schema.cast(bars.reset_index(), TABLES["bars_1m"].contract)


def _signals(ticks: pd.DataFrame) -> pd.DataFrame:
    raised = batch_crossings.of_ticks(ticks, Rule())
    raised = raised.merge(
        ticks[["symbol", "number", "partition", "offset", "date", "arrival"]], on=["symbol", "number"]
    )
    place = raised["partition"] + ":" + raised["offset"]
    rows = raised.rename(columns={"arrival": "made_at"}).assign(id="tick:5/20:" + place)
    return schema.cast(rows, TABLES["signals"].contract)


def _letters(rng: np.random.Generator) -> pd.DataFrame:
    reasons = rng.choice(["bad price", "not JSON", "from the future", "unknown symbol"], 37, p=[0.5, 0.3, 0.15, 0.05])
    rows = pd.DataFrame({"reason": reasons, "detail": "-1.0", "partition": "0", "arrival": REPLAYED_AT})
    rows = rows.assign(body=b"{}", offset=[f"{k:020}" for k in range(len(rows))], date=pd.Timestamp("2026-01-05"))
    return schema.cast(rows, TABLES["dead_letters"].contract)
