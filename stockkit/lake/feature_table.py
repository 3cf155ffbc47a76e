"""The `features` table, kept up to date with `prices`: of what has not changed nothing is computed or written again.

Each commit notes the version of `prices` that it saw and how the features were defined. The next one compares the bars
of then and now: a symbol with new sessions is computed from the first of them on, with as much history as the
look-back needs; one whose past changed (a split, a correction) from there on; all of it where the definition
changed since the newest commit that touched it. What is stored is then, bit for bit, what a computation of
everything would have given.

Example:
    >>> from stockkit import feature_table, open_lake
    >>> update = feature_table.update(open_lake("data/lake"), ["ret_1", "rsi_14"])
    >>> update.rows
    2699
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from stockkit import features
from stockkit.errors import LakeError, StockkitError
from stockkit.lake import commits, frames, price_changes
from stockkit.lake.tables import Lake
from stockkit.market import schema, sessions

NOTE = "stockkit.features"
TABLE, SOURCE = "features", "prices"
TIDYING = ("OPTIMIZE", "VACUUM START", "VACUUM END")  # commits that change no row
AT_ONCE = 40  # symbols whose features are in memory together
OnDone = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Due:
    """What is due to be computed: symbols in `full` or only `since` a session, and those `gone` from the prices."""

    full: list[str]
    since: dict[str, pd.Timestamp]
    gone: list[str] = field(default_factory=list)

    @property
    def concerned(self) -> list[str]:
        """The symbols whose stored rows change."""
        return [*self.full, *self.since, *self.gone]


@dataclass(frozen=True)
class Update:
    """What an update did.

    Attributes:
        version: the table's version afterwards. full: symbols computed from their first session.
        since: symbols computed from a later one on. kept: symbols that were up to date. rows: how many were computed.
        gone: symbols whose features were removed, because the prices have them no more.
    """

    version: int
    full: list[str]
    since: dict[str, pd.Timestamp]
    kept: list[str]
    rows: int
    gone: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line: how many symbols were computed anew, extended and left alone."""
        parts = [f"{len(self.full)} symbols whole"] if self.full else []
        parts += [f"{len(self.since)} from {min(self.since.values()):%Y-%m-%d} on"] if self.since else []
        parts += [f"{len(self.kept)} up to date"] if self.kept else []
        parts += [f"{len(self.gone)} removed"] if self.gone else []
        return f"features version {self.version}: {self.rows:,} rows computed; {', '.join(parts)}"


@dataclass(frozen=True)
class _Job:
    """What is wanted, of which version of the prices."""

    lake: Lake
    prices: Any
    names: list[str]
    symbols: list[str]
    dtype: str
    calendar: str
    threads: int
    on_done: OnDone | None
    gone: Callable[[set[str]], list[str]]
    done: dict[str, int] = field(default_factory=dict)
    failed: list[StockkitError] = field(default_factory=list)

    def bars(self, symbols: Sequence[str]) -> pd.DataFrame:
        """Bars of some symbols, sorted."""
        return price_changes.bars(self.prices, symbols)

    def compute(self, bars: pd.DataFrame, since: pd.Timestamp | None = None) -> Any:
        """Their features as Arrow rows."""
        table = features.compute(
            bars, self.names, since=since, dtype=self.dtype, calendar=self.calendar, threads=self.threads
        )
        for symbol, count in table.groupby("symbol", sort=False).size().items():
            self.done[str(symbol)] = int(count)
            if self.on_done:
                self.on_done(str(symbol), len(self.done), len(self.symbols))
        return frames.to_arrow(table)

    @property
    def across(self) -> bool:
        """Whether a feature of one symbol depends on the others."""
        return any(features.CATALOGUE[name].within for name in self.names)

    @cached_property
    def definition(self) -> str:
        """A fingerprint of everything but the bars that the values depend on; a table made anew has another id."""
        rooms = [Path(features.__file__).parent, Path(sessions.__file__)]
        files = sorted(path for room in rooms for path in ([room] if room.is_file() else room.glob("*.py")))
        libraries = [metadata.version(name) for name in ("numpy", "ta-lib", "exchange-calendars")]
        others = self.symbols if self.across else []
        inputs = [self.names, self.dtype, self.calendar, libraries, others, self.prices.metadata().id]
        digest = hashlib.sha256(json.dumps(inputs).encode())
        for file in files:
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    @property
    def shape(self) -> Any:
        """The schema of the table where it has these symbols alone."""
        return arrow_schema(self.names, self.dtype)


def arrow_schema(names: Sequence[str], dtype: str) -> Any:
    """The columns of the table with these features, as a pyarrow schema."""
    import pyarrow as pa

    kind = pa.float64() if dtype == "float64" else pa.float32()
    return pa.schema([("symbol", pa.string()), ("date", pa.date32()), *((name, kind) for name in names)])


def update(
    lake: Lake,
    names: Sequence[str] | None = None,
    *,
    symbols: Sequence[str] | None = None,
    dtype: str = "float64",
    calendar: str = sessions.DEFAULT,
    recompute: bool = False,
    threads: int = 2,
    on_done: OnDone | None = None,
) -> Update:
    """Bring the `features` table up to date with `prices`, in one commit; without news there is none.

    Args:
        lake: has `prices`.
        names: of the catalogue; the group `basic` by default.
        symbols: whom; all of `prices` by default, and those that it has no more are removed. Where symbols are named,
            the others of the table stay as they are.
        dtype: "float64", or "float32" for half the space. Where other symbols stay, so does the wider type.
        calendar: the exchange, for the group `calendar`.
        recompute: compute everything, whatever is stored.
        threads: how many threads compute.
        on_done: called with symbol, how many are done, and of how many.

    Raises:
        LakeError: no prices, or none of a symbol. ParamError: an unknown feature or dtype.
    """
    prices = lake.delta(SOURCE)
    priced = sorted(_stored(prices))
    wanted = priced if symbols is None else schema.check_symbols(symbols)
    unknown = sorted(set(wanted) - set(priced))
    if unknown:
        raise LakeError(
            f"prices has no rows of {unknown[0]!r}; it has {', '.join(priced[:20]) or 'no symbol'}. Ingest it first."
        )
    chosen = [feature.name for feature in features.check_names(names, dtype)]
    job = _Job(
        lake, prices, chosen, wanted, dtype, calendar, threads, on_done,
        gone=lambda stored: sorted(stored - set(priced)) if symbols is None else [],
    )  # fmt: skip
    worked_out: list[Due] = []

    def work_out(now: Any | None) -> commits.Rows | None:
        job.done.clear()
        worked_out.append(_due(job, now, recompute=recompute))
        news = worked_out[-1].concerned or now is None or _other_shape(job, now, _stored(now))
        return _rows(job, now, worked_out[-1]) if news else None

    lake.reads[SOURCE] = int(prices.version())
    try:
        version = lake.commit(TABLE, work_out)
    except LakeError as error:
        raise (job.failed or [error])[0] from None  # a feature's own error, not what the writer made of it
    due = worked_out[-1]
    kept = [symbol for symbol in wanted if symbol not in due.full and symbol not in due.since]
    return Update(version, due.full, due.since, kept, sum(job.done.values()), due.gone)


def _stored(now: Any | None) -> set[str]:
    """The symbols that the table has rows of."""
    return set() if now is None else {part["symbol"] for part in now.partitions()}


def _due(job: _Job, now: Any | None, *, recompute: bool) -> Due:
    stored = _stored(now)
    gone = job.gone(stored)
    by_user = any(features.CATALOGUE[name].group == "user" for name in job.names)
    if now is None or recompute or by_user or _other_shape(job, now, stored - set(gone)):
        return Due(job.symbols, {}, gone)
    return replace(_compared(job, now), gone=gone)


def _other_shape(job: _Job, now: Any, stored: set[str]) -> bool:
    """Whether only the wanted symbols are stored, but under other columns or types than they would get anew."""
    return stored <= set(job.symbols) and set(frames.columns(now)) != set(job.shape)


def _compared(job: _Job, now: Any) -> Due:
    """Compare the bars of now with those that each symbol's stored features were computed from."""
    seen = _seen(now, job)
    if job.across and set(seen) != set(job.symbols):
        return Due(job.symbols, {})
    changed: dict[str, pd.Timestamp | None] = {}
    for version in set(seen.values()):
        then = [symbol for symbol in seen if seen[symbol] == version]
        changed |= price_changes.first_changes(job.lake.location(SOURCE), job.prices, version, then)
    full = [symbol for symbol in job.symbols if symbol not in seen or changed.get(symbol, pd.NaT) is None]
    since = {symbol: first for symbol, first in changed.items() if first is not None}
    if job.across and full:
        return Due(job.symbols, {})
    if since:
        since = dict.fromkeys(job.symbols if job.across else since, min(since.values()))
    return Due(full, since)


def _seen(now: Any, job: _Job) -> dict[str, int]:
    """The version of the prices that each symbol's stored features were computed from; only what is still true.

    Of a symbol the newest commit that touched it decides. A commit by other hands ends the search: what it changed
    is not known.
    """
    newest: dict[str, int | None] = {}
    for commit in now.history():
        if NOTE in commit:
            note = json.loads(commit[NOTE])
            version = note["prices"] if note["definition"] == job.definition else None
            for symbol in note["symbols"]:
                newest.setdefault(symbol, version)
        elif commit.get("operation") not in TIDYING:
            break
    seen = {symbol: version for symbol, version in newest.items() if version is not None}
    return {symbol: seen[symbol] for symbol in job.symbols if symbol in seen and symbol in _stored(now)}


def _rows(job: _Job, now: Any | None, due: Due) -> commits.Rows:
    """What to commit: only new rows where nothing stored is replaced, else all rows of the symbols concerned."""
    stored = _last_sessions(now, sorted(due.since)) if due.since else {}
    note = {"prices": job.prices.version(), "definition": job.definition, "symbols": job.symbols}
    notes = {NOTE: json.dumps(note)}
    if due.since and due.concerned == list(due.since) and all(stored[s] < first for s, first in due.since.items()):
        return commits.Rows(_new_rows(job, due), None, notes)
    others = sorted(_stored(now) - set(due.concerned))
    if others and _too_narrow(job, now):
        return commits.Rows(_reader(job, now, due, others), [*due.concerned, *others], notes, reshape=True)
    return commits.Rows(_reader(job, now, due), due.concerned, notes, reshape=now is not None and not others)


def _too_narrow(job: _Job, now: Any) -> bool:
    """Whether a column of the table would round what is to be stored in it."""
    return job.dtype == "float64" and bool(frames.retyped(job.shape, frames.columns(now)))


def _last_sessions(now: Any, symbols: list[str]) -> dict[str, pd.Timestamp]:
    rows = frames.to_pandas(frames.of_symbols(now, symbols, ["symbol", "date"]))
    return dict(rows.groupby("symbol")["date"].max())


def _new_rows(job: _Job, due: Due) -> Any:
    """The features of the symbols that go on, each from its own session on, as Arrow rows."""
    import pyarrow.compute as pc

    first = min(due.since.values())
    rows = job.compute(job.bars(job.symbols if job.across else sorted(due.since)), first)
    return rows.filter(pc.greater_equal(rows["date"], _since(rows, due)))


def _reader(job: _Job, now: Any | None, due: Due, others: Sequence[str] = ()) -> Any:
    """All rows of the symbols concerned, computed a few symbols at a time while they are written.

    With `others` their stored rows too, in a shape that has room for all.
    """
    import pyarrow as pa

    shape = _wide_enough(job, now) if others else job.shape
    # deltalake takes the batches in a thread of its own, in which it cannot be asked for anything: so read now
    ahead = []
    if others and now is not None:
        ahead = [frames.shaped(frames.of_symbols(now, others), shape)]
    if due.since and now is not None:
        ahead += [frames.shaped(rows, shape) for rows in (_earlier(now, due, job.shape), _new_rows(job, due))]
    bars = job.bars(due.full)
    if job.across:
        bars = pd.concat([bars, _carried(job, bars)], axis=1)

    def batches() -> Iterator[Any]:
        for rows in ahead:
            yield from rows.to_batches(commits.CHUNK)
        edges = schema.symbol_edges(bars["symbol"])
        for first, last in itertools.pairwise([*edges[:-1:AT_ONCE], edges[-1]]):
            try:
                rows = job.compute(bars.iloc[first:last])
            except StockkitError as error:
                job.failed.append(error)
                raise
            yield from frames.shaped(rows, shape).to_batches(commits.CHUNK)

    return pa.RecordBatchReader.from_batches(shape, batches())


def _wide_enough(job: _Job, now: Any) -> Any:
    """The table's columns, those of the job in their own type, and those that the table lacks."""
    import pyarrow as pa

    stored = frames.columns(now)
    kept = (job.shape.field(field.name) if field.name in job.shape.names else field for field in stored)
    return pa.schema([*kept, *(field for field in job.shape if field.name not in stored.names)])


def _earlier(now: Any, due: Due, shape: Any) -> Any:
    """The stored rows before the session since which a symbol is computed anew."""
    import pyarrow.compute as pc

    rows = frames.of_symbols(now, sorted(due.since), shape.names)
    return rows.filter(pc.less(rows["date"], _since(rows, due))).cast(shape)


def _since(rows: Any, due: Due) -> Any:
    """The session since which the symbol of each row is computed anew."""
    first = frames.to_pandas(rows.select(["symbol"]))["symbol"].map(due.since)
    return frames.to_arrow(first.to_frame("date"))["date"]


def _carried(job: _Job, bars: pd.DataFrame) -> pd.DataFrame:
    """What each row is among the others of its day, where a feature needs it."""
    return features.compare(features.compute(bars, features.bases(job.names)), job.names)
