"""Forecasts for the tests of the ledger, made by hand."""

from __future__ import annotations

import json
from unittest import mock

import numpy as np
import pandas as pd

from stockkit.lake.contracts import MADE
from stockkit.market import schema, sessions
from stockkit.records import ledger
from stockkit.records.ledger import sealing

VERSIONS = {"data_version": "features=3 prices=12", "code_version": "0.1.0+gabc1234"}


def made(symbols=("AAPL", "^GSPC"), *, as_of="2023-09-18", mean=0.001, horizon=1, models=("drift", "random_walk"),
         hour=21):  # fmt: skip
    """One forecast a symbol and model, made on the as-of day (UTC)."""
    day = pd.Timestamp(as_of)
    keys = [{"symbol": symbol, "model": model} for symbol in symbols for model in models]
    widths = {80: 0.0128, 90: 0.0164, 95: 0.0196}
    bounds = {f"{side}{level}": sign * z for level, z in widths.items() for side, sign in (("lo", -1), ("hi", 1))}
    rows = pd.DataFrame(keys, columns=["symbol", "model"]).assign(
        made_at=day.tz_localize("UTC") + pd.Timedelta(hours=hour, nanoseconds=123_456_789),
        as_of=day,
        horizon=horizon,
        target_session=sessions.shift(day, horizon),
        mean=mean,
        sigma=0.01,
        **bounds,
    )
    return schema.cast(rows, MADE)


def days(count, *, last="2023-09-20"):
    return sessions.every()[: sessions.every().searchsorted(pd.Timestamp(last)) + 1][-count:]


def bars(symbols=("AAPL", "^GSPC"), *, count=30, last="2023-09-20", seed=0):
    """Prices as the table keeps them."""
    from stockkit.market import simulate

    walks = simulate.bars(list(symbols), count=count, last=last, rng=np.random.default_rng(seed))
    more = {"close_raw": walks["close"], "split_factor": 1.0, "dividend": 0.0}
    rows = walks.assign(**more, known_at=pd.Timestamp("2023-09-21", tz="UTC"))
    return rows.astype(dict(schema.PRICES))


def seal_then(lake, part, at=None, **versions):
    """Seal as if it were done at a moment of the past, by default when the forecasts say that they were made."""
    at = part["made_at"].max() if at is None else at
    before = lake.version("forecasts") if "forecasts" in lake.tables() else None
    with mock.patch.object(sealing, "_now", return_value=at):
        version = ledger.seal(lake, part, **{**VERSIONS, **versions})
    if version != before and len(part):
        redate(lake, version, at)
    return lake


def redate(lake, version, at):
    """Give a commit another timestamp, as a forger of the log would; the notes in it stay."""
    key = f"tables/forecasts/_delta_log/{version:020}.json"
    actions = [json.loads(line) for line in lake.files.read(key).splitlines()]
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = int(at.timestamp() * 1000)
    lake.files.note(key, "\n".join(map(json.dumps, actions)).encode())
