"""Four versions of the pipeline that look right and lose or double: the proof has to tell each of them.

They are the ways in which such systems are commonly built; `stockkit stream prove` runs them beside ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stockkit.lake import commits
from stockkit.stream import archive
from stockkit.stream.bus.protocol import Record
from stockkit.stream.pipeline import Live, Pipeline
from stockkit.stream.proof.failpoints import World
from stockkit.stream.store import Batch


class _Appending:
    """A lake that appends what it is given, without a look at what it has."""

    def __init__(self, lake: Any) -> None:
        self._lake = lake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)

    def commit(self, table: str, work_out: Callable[[Any | None], commits.Rows | None]) -> Any:
        def blindly(now: Any | None) -> commits.Rows | None:
            rows = work_out(None)
            return rows if rows is None or now is None else replace(rows, where=None)

        return self._lake.commit(table, work_out if table == "bars_1m" else blindly)


class _Swallowing(Pipeline):
    """Goes on after an error as if the batch had been stored: "200, done"."""

    def take(self, records: Sequence[Record], now: int) -> Batch:
        """See `Pipeline`."""
        try:
            return super().take(records, now)
        except BaseException:
            return Batch()


class _SkippingUnevaluated(Pipeline):
    """Does not store states: those of a new life start empty, and what was read before is not evaluated again."""

    def _load(self, symbols: Any) -> None:
        absent = {symbol for symbol in symbols if symbol not in self._live}
        for symbol in absent:
            self._live[symbol] = Live(symbol, self._step, None)
        for symbol, kept in self._store.states(absent).items():
            self._live[symbol].version = kept.version


def appending(world: World) -> World:
    """Rows are appended: a commit whose note was lost comes twice."""
    return replace(world, flush=lambda lake, store: archive.flush(_Appending(lake), store))  # type: ignore[arg-type]


def swallowing(world: World) -> World:
    """Errors are swallowed: the batch is gone."""
    return replace(world, pipeline=_Swallowing)


def committing_first(world: World) -> World:
    """The bus's offset is committed before the batch is stored, and a new life goes on from there."""
    bus = world.bus

    def resume(partition: str) -> int | None:
        return bus.dropped[int(partition.rpartition("/")[2])] - 1

    return replace(world, resume=resume, committed_first=True)


def skipping(world: World) -> World:
    """What was read before is skipped and not evaluated: averages and sequences start empty."""
    return replace(world, pipeline=_SkippingUnevaluated)


NAIVE: Mapping[str, Callable[[World], World]] = {
    "append": appending,
    "swallow": swallowing,
    "commit first": committing_first,
    "skip without evaluating": skipping,
}
