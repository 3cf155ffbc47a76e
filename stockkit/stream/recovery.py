"""A store made anew from the lake, where the machine that had it is gone.

The lake has every tick with its place, and the bus every record from there on: its offset is committed only after the
lake has the rows. So states, quotes and offsets come out as they were at the lake's last commit. What waited in the
outbox is gone with the store: signals that the lake has count as sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from stockkit.lake.tables import Lake
from stockkit.market.ticks import SCALE, Tick
from stockkit.stream import archive
from stockkit.stream.minutes import MINUTE, Bar
from stockkit.stream.pipeline import Live, Step
from stockkit.stream.store import Batch, Kept, Quote, Reach, Store

log = logging.getLogger(__name__)
COLUMNS = ["symbol", "price", "size", "event_time", "source", "sequence", "number", "partition", "offset", "arrival"]
BARS = ["symbol", "minute", "open", "high", "low", "close", "volume", "count"]


def recover(lake: Lake, store: Store, step: Step, now: int) -> int:
    """Fill an empty store from the lake's ticks; return how many were read, 0 where there is nothing to do.

    Args:
        lake: has `ticks`, `bars_1m` and `dead_letters`, or none of them. store: left as it is unless it is empty.
        step: as the pipeline has it. now: microseconds since 1970 UTC.

    Raises:
        Displaced: the store is not empty, and the lake is filled from another one since.
    """
    archive.take_over(lake, store)
    if not store.is_empty() or lake.version("ticks") is None:
        return 0
    states: dict[str, Kept] = {}
    quotes: list[Quote] = []
    count = 0
    symbols = lake.delta("ticks").to_pyarrow_table(columns=["symbol"])["symbol"].unique().to_pylist()
    for symbol in sorted(symbols):
        live, ticks = Live(symbol, step, None), list[Tick]()
        for row in _rows(lake, "ticks", symbol, COLUMNS, "number"):
            tick = Tick(row[0], round(row[1] * SCALE), *row[2:6])
            ticks.append(tick)
            live.state.accept(tick)
            live.state.number, live.partition = row[6:8]
            if live.state.quote is tick:
                quote = Quote(*tick[:4], row[9], row[6])
            if step.interval == "tick":
                live.state.step(tick, "")
        count += len(ticks)
        _close_minutes(lake, live, ticks)
        states[symbol] = live.kept()
        quotes.append(quote)
    store.commit(Batch(_reaches(lake, step), states, quotes, now=now))
    log.warning("event=recovered ticks=%d: the empty store %s is made anew from the lake", count, store.path)
    return count


def _close_minutes(lake: Lake, live: Live, ticks: Sequence[Tick]) -> None:
    """Bring a symbol's minutes to where the lake has them: those with a bar are closed, later ones open."""
    symbol = live.state.symbol
    closed = 0
    for row in _rows(lake, "bars_1m", symbol, BARS, "minute") if lake.version("bars_1m") is not None else ():
        prices = [round(price * SCALE) for price in row[2:6]]
        live.minutes.step(Bar(symbol, row[1], *prices, *row[6:]))
        closed = row[1] + MINUTE
    live.minutes.close_until(closed)
    for tick in ticks:
        if tick.event_time >= closed:
            live.minutes.add(tick)


def _rows(lake: Lake, table: str, symbol: str, columns: list[str], order: str) -> list[tuple[Any, ...]]:
    """The rows of one symbol, moments as microseconds since 1970 UTC."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    rows = lake.delta(table).to_pyarrow_dataset().to_table(columns, filter=ds.field("symbol") == symbol)
    rows = rows.sort_by([(order, "ascending")])
    plain = [rows[name].cast(pa.int64()) if pa.types.is_timestamp(rows[name].type) else rows[name] for name in columns]
    return list(zip(*(column.to_pylist() for column in plain), strict=True))


def _reaches(lake: Lake, step: Step) -> dict[str, Reach]:
    """How far the lake has each partition: the last offset of a tick or a dead letter."""
    import pyarrow as pa

    reaches: dict[str, Reach] = {}
    for table, moment in (("ticks", "event_time"), ("dead_letters", "arrival")):
        if lake.version(table) is None:
            continue
        rows = lake.delta(table).to_pyarrow_table(columns=["partition", "offset", moment])
        ends = rows.group_by("partition").aggregate([("offset", "max"), (moment, "max")])
        newest = ends[f"{moment}_max"].cast(pa.int64()).to_pylist()
        names, offsets = ends["partition"].to_pylist(), ends["offset_max"].to_pylist()
        for name, offset, time in zip(names, offsets, newest, strict=True):
            before = reaches.get(name, Reach(None, -1, 0))
            watermark = time - step.lateness if table == "ticks" else before.watermark
            reaches[name] = Reach(None, max(int(offset), before.offset), watermark)
    return reaches
