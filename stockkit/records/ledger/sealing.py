"""Sealing forecasts into the ledger, and proving that nobody changed them since."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError, LakeError
from stockkit.forecast.models.protocol import SERIES, check_horizon
from stockkit.lake import commits, frames
from stockkit.lake.contracts import MADE, SEAL, key_of
from stockkit.lake.tables import Lake
from stockkit.market import schema
from stockkit.provenance import code_version
from stockkit.records.ledger import chain, times

log = logging.getLogger(__name__)

TABLE = "forecasts"
PROBLEMS = {"number": "Int64", "symbol": "string", "problem": "string", "detail": "string"}
KEY = [*SERIES, "as_of"]
DIGEST = re.compile(r"[0-9a-f]{64}")


def seal(lake: Lake, made: pd.DataFrame, *, data_version: str | None = None, code_version: str | None = None) -> int:
    """Append forecasts to the ledger, each linked to the one before; return the table's version.

    A forecast that the ledger holds already (the same symbol, model, horizon, as-of session and numbers, whenever and
    by whichever versions it was made) is not sealed again. A row without a mean is no forecast and is left out. Of two
    writers at once the slower one links its rows to those of the faster.

    Args:
        lake: where the table is.
        made: as from `forecast_table.table` (`contracts.MADE`): one row a symbol, model, horizon and as-of session;
            left untouched. An interval may be NaN.
        data_version: what they were made from; what `data_version` tells of `lake`, if not given.
        code_version: what they were made by; what `stockkit.provenance` tells of the workbook, if not given.

    Raises:
        SchemaError, SymbolError: a column is missing, of another dtype, or holds what is no symbol.
        ForecastError: a row that stands twice, or a value that no forecast can have. LakeError: the table cannot be
        written or was made before forecasts were sealed. Nothing was sealed.
    """
    rows = _checked(made)
    given = {"data_version": data_version, "code_version": code_version}
    origin = versions(lake) | {name: value for name, value in given.items() if value is not None}
    rows = rows[rows["mean"].notna()].assign(**origin)
    if len(rows) < len(made):
        log.warning("event=no_forecast rows=%d: without a mean, not sealed", len(made) - len(rows))

    def work_out(now: Any | None) -> commits.Rows | None:
        fresh = rows if now is None else _fresh(now, rows)
        if fresh.empty and now is not None:
            return None
        before = times.newest(now) if now is not None else None
        number, previous = _last(now, before) if now is not None else (-1, chain.GENESIS)
        linked = chain.link(fresh, number=number + 1, previous=previous)
        notes: dict[str, str] = {}
        for last in linked.tail(1).itertuples():  # none where the first seal has no rows
            notes = times.notes(before, first=number + 1, last=last.number, hashed=last.hash, at=_now())
        arrow = frames.to_arrow(schema.cast(linked, {**MADE, **SEAL}))
        return commits.Rows(arrow, None, notes, configuration=times.KEEP_LOG)

    _keep_log(lake)
    return lake.commit(TABLE, work_out)


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


def _keep_log(lake: Lake) -> None:
    """Let a ledger of before commits were needed keep those that it has."""
    if TABLE in lake.tables():
        commits.set_properties(_opened(lake), times.KEEP_LOG)


def data_version(lake: Lake) -> str:
    """Which tables, in which versions, a lake object has read so far: ``features=3 prices=12``."""
    return " ".join(f"{table}={version}" for table, version in sorted(lake.reads.items()) if table != TABLE)


def versions(lake: Lake) -> dict[str, str]:
    """What a lake object's tables and the workbook's code are now, as a forecast or a saved model carries it."""
    return {"data_version": data_version(lake), "code_version": code_version(lake.root)}


def head(lake: Lake) -> str:
    """The hash of the last row sealed, which stands for all rows up to it; 64 zeros where there is none.

    Raises:
        LakeError: there is no table, or it was made before forecasts were sealed.
    """
    now = _opened(lake)
    return _last(now, times.newest(now))[1]


def sealed_at(lake: Lake, rows: pd.DataFrame) -> pd.Series:
    """When each of some rows of the ledger was sealed, by its commit (UTC); NaT where the log does not tell."""
    return times.by_number(times.seals(_opened(lake)), rows["number"])


def sealed(lake: Lake) -> pd.DataFrame:
    """Every row of the ledger, in the order in which they were sealed; counts as a read.

    Raises:
        LakeError: there is no table, or it was made before forecasts were sealed.
    """
    _opened(lake)
    return lake.read(TABLE).sort_values("number", kind="stable", ignore_index=True)


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows of the ledger, the last as-of session's forecast of each symbol, model and horizon, the first sealed."""
    latest = rows.sort_values(["as_of", "number"], ascending=[False, True], kind="stable")
    return latest.drop_duplicates(["symbol", "model", "horizon"]).sort_values(KEY, ignore_index=True)


def verify(lake: Lake, head: str | None = None) -> pd.DataFrame:
    """Find every row of the ledger that was edited, removed, added or put elsewhere since it was sealed.

    Args:
        lake: where the table is.
        head: a hash that `head` gave earlier and that was kept elsewhere; a row of the chain must still carry it, or,
            for the link of the last commit (``sealed_link`` in its log), a commit.

    Returns:
        One row a problem, none when all is well: number (of the row; NA where it has none), symbol, problem and
        detail. A row edited is found by its own hash; one edited and hashed anew by the row after it; a chain hashed
        anew from there on by a head that was noted in the table's log or is given here. Times of commits are held to
        their chain and to Delta's own.

    Raises:
        LakeError: there is no table, it was made before forecasts were sealed, or `head` is no hash.
    """
    if head is not None and not DIGEST.fullmatch(head):
        raise LakeError(f"head {head!r} is no hash: give the 64 digits that `stockkit forecasts verify` told.")
    now = _opened(lake)
    return pd.DataFrame(list(_problems(lake.location(TABLE), now, head)), columns=list(PROBLEMS)).astype(PROBLEMS)


def _problems(location: commits.TableLocation, now: Any, head: str | None) -> Iterator[chain.Fault]:
    for name in [column.name for column in now.schema().fields if column.name not in {**MADE, **SEAL}]:
        yield None, "", "added", f"column {name!r} is not part of what was sealed"
    try:
        with location.reading():
            rows = frames.to_pandas(now.to_pyarrow_table(columns=[*MADE, *SEAL]))
    except LakeError as error:
        yield None, "", "unreadable", str(error)
        return
    yield from chain.faults(rows)
    texts = rows.assign(hash=rows["hash"].fillna(""))[["number", "hash"]].dropna()
    there = {int(number): str(hashed) for number, hashed in texts.itertuples(index=False)}
    made = times.seals(now)
    for seal in made:
        if there.get(seal.last) != seal.hash:
            state = "has another hash" if seal.last in there else "is gone"
            yield seal.last, "", "not as noted", f"row {seal.last}, noted in the log as {seal.hash[:12]}…, {state}"
    yield from times.faults(made, max(there, default=-1))
    last = _by_statistics(now)
    if last is not None and last != max(there, default=last):
        yield None, "", "statistics", f"the log's statistics end at row {last}, the rows at {max(there)}"
    if head not in {None, chain.GENESIS, *there.values(), *(seal.link for seal in made)}:
        yield None, "", "head unknown", f"no row and no commit has the hash {head}"


def _opened(lake: Lake) -> Any:
    now = lake.delta(TABLE)
    _check_sealed(now)
    return now


def _check_sealed(now: Any) -> None:
    lacking = sorted({*MADE, *SEAL} - {column.name for column in now.schema().fields})
    if lacking:
        raise LakeError(
            f"the table {TABLE!r} in {now.table_uri} was made before forecasts were sealed: it has no column "
            f"{lacking[0]!r}. Move its folder to another place and make forecasts anew with "
            f"`stockkit run params/sample.yaml`."
        )


def _fresh(now: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Those of `rows` that the ledger does not hold yet."""
    _check_sealed(now)
    if rows.empty:
        return rows
    columns = [name for name in MADE if name != "made_at"]
    days = [day.date() for day in rows["as_of"].drop_duplicates()]
    wanted = [("symbol", "in", list(rows["symbol"].unique())), ("as_of", "in", days)]
    old = frames.to_pandas(now.to_pyarrow_table(columns=columns, filters=wanted)).drop_duplicates()
    known = rows[columns].merge(old, how="left", on=columns, indicator="known")["known"] == "both"
    return rows[~known.to_numpy()]


def _last(now: Any, noted: times.Seal | None) -> tuple[int, str]:
    """The number and hash of the last row; the log's statistics are asked only where its last note says the same."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = ["number", "hash"]
    number = _by_statistics(now)
    wanted = [("number", "=", number)] if noted is not None and number == noted.last else None
    rows = now.to_pyarrow_table(columns=columns, filters=wanted)
    if wanted and rows.num_rows != 1:
        rows = now.to_pyarrow_table(columns=columns)
    rows = rows.filter(pc.is_valid(rows["number"]))
    if not rows.num_rows:
        return -1, chain.GENESIS
    row = rows.take(pa.array([pc.index(rows["number"], pc.max(rows["number"])).as_py()])).to_pylist()[0]
    if not row["hash"]:
        raise LakeError(
            f"row {row['number']} of the ledger in {now.table_uri} has no hash: somebody changed it. "
            f"`stockkit forecasts verify` shows all such rows; nothing can be sealed after them."
        )
    return int(row["number"]), str(row["hash"])


def _by_statistics(now: Any) -> int | None:
    """The last number by the log's statistics; None where a file has none."""
    import pyarrow.compute as pc

    files = commits.logged_files(now)
    numbers = files["max.number"] if "max.number" in files.column_names else None
    return None if numbers is None or numbers.null_count or not len(numbers) else int(pc.max(numbers).as_py())


def _checked(made: pd.DataFrame) -> pd.DataFrame:
    """`made` in the ledger's columns, order and precision."""
    texts = {name: dtype for name, dtype in MADE.items() if dtype == "string"}
    made = schema.check_frame(schema.conform(made, texts, what="forecasts"), MADE, what="forecasts")
    if made.empty:
        return schema.cast(made, MADE)
    schema.check_symbols(made["symbol"].unique())
    for horizon in made["horizon"].unique():
        check_horizon(int(horizon))
    for fault, wrong in _wrong(made).items():
        if wrong.any():
            row = made[wrong.to_numpy()].iloc[0]
            which = f"{row['symbol']} by {row['model']} as of {row['as_of']}"
            raise ForecastError(f"forecast of {which}: {fault}. Nothing was sealed.")
    rows = made.assign(made_at=made["made_at"].dt.floor("us"))  # what the table keeps
    return frames.by_key(schema.cast(rows, MADE), key_of(TABLE))


def _wrong(made: pd.DataFrame) -> Mapping[str, pd.Series]:
    """What no forecast can have, each with the rows that have it."""
    numbers = made[[name for name, dtype in MADE.items() if dtype == "float64"]]
    days = made[["as_of", "target_session"]]
    crossed = [made[f"lo{level}"] > made[f"hi{level}"] for level in (80, 90, 95)]
    return {
        "the model or a date is missing": made[["model", "made_at", *days]].isna().any(axis=1) | (made["model"] == ""),
        "a session carries a time of day": (days != days.apply(lambda day: day.dt.normalize())).any(axis=1),
        "its target session is not after the as-of session": ~(made["target_session"] > made["as_of"]),
        "a number is infinite": numbers.apply(np.isinf).any(axis=1),
        "sigma is not above 0": made["sigma"] <= 0,
        "an interval ends below its start": pd.concat(crossed, axis=1).any(axis=1),
        "it stands there twice: keep one": made.duplicated(KEY),
    }
