"""What came true of the sealed forecasts, by the prices as they are known now, and its scores."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from stockkit.forecast.judge import scores
from stockkit.forecast.models.protocol import RANDOM_WALK, Series, target
from stockkit.lake import commits, frames
from stockkit.lake.contracts import SCORES, key_of
from stockkit.lake.tables import Lake
from stockkit.market import schema, sessions
from stockkit.records.ledger.sealing import KEY, sealed, sealed_at

log = logging.getLogger(__name__)

SEALED = -2  # the fold of sealed forecasts; backtests have 0 and up, and -1 for the newest
BACKTEST, LEDGER = "backtest", "ledger"
OPEN, CLOSED, LATE, REPEATED, NO_CLOSE, UNDATED = "open", "closed", "late", "repeated", "no close", "undated"
ROWS = ["symbol", "model", "as_of", "horizon", "mean", "sigma", "actual", "fold", "scale",
        "lo80", "hi80", "lo90", "hi90", "lo95", "hi95"]  # fmt: skip


def outcomes(lake: Lake, *, calendar: str = sessions.DEFAULT) -> pd.DataFrame:
    """Every sealed forecast with what became of it, in the order of sealing.

    Args:
        lake: with the tables `forecasts` and `prices`.
        calendar: the exchange whose closing bells tell what was made too late.

    Returns:
        The ledger's rows with `sealed_at` (of its commit, UTC), `state`, `actual` (h-session log return between the
        closes of as_of and target_session, split-adjusted, as `prices` has them now; NaN unless closed) and `scale`
        (mean absolute h-session log return of the symbol's sessions that had closed by as_of). States: "open", the
        symbol's prices do not have the target session (yet: a share that stopped trading stays open); "late", made or
        sealed when the target session had closed, whatever its `made_at` says; "undated", the log does not tell when
        it was sealed; "repeated", a row sealed earlier speaks of the same symbol, model, horizon and as-of session;
        "no close", the prices lack the as-of session; "closed", all else: these count.

    Raises:
        LakeError: a table is missing, or `forecasts` was made before forecasts were sealed.
    """
    rows = sealed(lake)
    prices = lake.read("prices", symbols=list(rows["symbol"].unique()) or None, columns=["symbol", "date", "close"])
    close = prices.set_index(["symbol", "date"])["close"]
    then, now = (_at(close, rows, day) for day in ("as_of", "target_session"))
    commit = sealed_at(lake, rows)
    made = commit.where(commit > rows["made_at"], rows["made_at"])
    moments = made.drop_duplicates()
    bell = dict(zip(moments, (sessions.last_closed(moment, calendar) for moment in moments), strict=True))
    late = rows["target_session"] <= made.map(bell).astype("datetime64[ns]")
    states = {
        REPEATED: rows.duplicated(KEY),
        LATE: late,
        UNDATED: commit.isna(),
        OPEN: np.isnan(now),
        NO_CLOSE: np.isnan(then),
    }
    state = np.select([np.asarray(wrong) for wrong in states.values()], list(states), CLOSED)
    actual = np.where(state == CLOSED, np.log(now / then), np.nan)
    return rows.assign(
        sealed_at=commit, state=pd.Series(state, rows.index, "string"), actual=actual, scale=_scale(prices, rows)
    )


def closed(lake: Lake, *, calendar: str = sessions.DEFAULT) -> pd.DataFrame:
    """The sealed forecasts that came due and count, in the rows frame of `stockkit.forecast`, with fold `SEALED`.

    Of several forecasts of one symbol, model, horizon and as-of session the first sealed counts, and only if it was
    made before its target session closed. Arguments and errors as for `outcomes`, which also tells those left out.
    """
    results = outcomes(lake, calendar=calendar)
    late = int((results["state"] == LATE).sum())
    if late:
        log.info("event=late rows=%d: made after their target session had closed, not scored", late)
    rows = results[results["state"] == CLOSED].assign(fold=SEALED)
    return rows[ROWS].sort_values(["symbol", "model", "horizon", "as_of"], ignore_index=True)


def score(lake: Lake, *, calendar: str = sessions.DEFAULT) -> pd.DataFrame:
    """Score the sealed forecasts that came due into the table `scores`, with evidence "ledger"; return these scores.

    Columns as from `scores.score`, and `evidence`. A symbol and horizon without a sealed random walk has nothing to be
    compared with: it is left out and logged. Arguments and errors as for `outcomes`.
    """
    rows = closed(lake, calendar=calendar)
    place = ["symbol", "horizon"]
    compared = pd.MultiIndex.from_frame(rows.loc[rows["model"] == RANDOM_WALK, place])
    kept = pd.MultiIndex.from_frame(rows[place]).isin(compared)
    for symbol, horizon in rows.loc[~kept, place].drop_duplicates().itertuples(index=False):
        log.warning("event=not_scored symbol=%s horizon=%d: no sealed %s", symbol, horizon, RANDOM_WALK)
    scored = scores.score(rows[kept].reset_index(drop=True))
    keep_scores(lake, scored, evidence=LEDGER)
    return scored.assign(evidence=pd.Series(LEDGER, scored.index, "string"))


def keep_scores(lake: Lake, scored: pd.DataFrame, *, evidence: str) -> int:
    """Put scores into the table `scores` in place of those of the same evidence and symbols; return its version.

    Those of the other evidence, and of other symbols, stay; equal scores make no new version. What columns one kind
    of evidence lacks are empty in its rows.

    Args:
        lake: where the table is. scored: as from `scores.score`, or `Board.table`. evidence: `BACKTEST` or `LEDGER`.

    Raises:
        SchemaError: a column of the table's contract is missing or of another dtype. LakeError: it cannot be written.
    """
    rows = scored.assign(evidence=pd.Series(evidence, scored.index, "string"))
    texts = {name: dtype for name, dtype in SCORES.items() if dtype == "string"}
    rows = schema.check_frame(schema.conform(rows, texts, what="scores"), SCORES, what="scores")
    symbols = schema.check_symbols(rows["symbol"].unique()) if len(rows) else []

    def work_out(now: Any | None) -> commits.Rows | None:
        if now is None or not symbols:
            return commits.Rows(frames.to_arrow(frames.by_key(rows, key_of("scores"))), None) if now is None else None
        old = frames.to_pandas(frames.of_symbols(now, symbols))
        others = old[old["evidence"] != evidence] if "evidence" in old else old[:0]  # a table of before the ledger
        both = frames.by_key(pd.concat([part for part in (rows, others) if len(part)]), key_of("scores"))
        new = frames.to_arrow(both.reset_index(drop=True))
        before = frames.to_arrow(frames.by_key(old, key_of("scores")))
        moved = frames.changed(before, new, symbols)
        return commits.Rows(frames.only(new, moved), moved) if moved else None

    return lake.commit("scores", work_out)


def _at(close: pd.Series, rows: pd.DataFrame, day: str) -> np.ndarray:
    """The close of each row's symbol in its session `day`; NaN where there is none."""
    return close.reindex(pd.MultiIndex.from_frame(rows[["symbol", day]])).to_numpy("float64")


def _scale(prices: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """The mean absolute h-session log return that each row's symbol had made by its as-of session."""
    histories = {str(symbol): bars for symbol, bars in prices.groupby("symbol", sort=False)}
    out = pd.Series(np.nan, rows.index)
    for (symbol, horizon), made in rows.groupby(["symbol", "horizon"], sort=False):
        if symbol not in histories:
            continue
        date, close = histories[symbol]["date"].to_numpy(), histories[symbol]["close"].to_numpy("float64")
        moves = np.abs(target(Series(str(symbol), date, close, np.empty((len(close), 0))), int(horizon)))
        past = np.r_[0.0, np.cumsum(np.nan_to_num(moves))], np.r_[0, np.cumsum(np.isfinite(moves))]
        known = np.maximum(np.searchsorted(date, made["as_of"].to_numpy(), side="right") - int(horizon), 0)
        with np.errstate(invalid="ignore"):
            out[made.index] = past[0][known] / past[1][known]  # NaN where nothing had been made yet
    return out
