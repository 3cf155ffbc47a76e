"""What a source's lists and bars say of corporate actions over time: what stands, and since when.

Statements about actions are taken in the order of their arrival. One speaks for the days from its first to its last (a
list, for all): it replaces what earlier ones of its kind said of those days, and withdraws what it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stockkit.imports import pandas as pd
from stockkit.market import schema
from stockkit.market.corporate_actions import ACTIONS, FAULTS, Listed, none

CHANGED: Mapping[str, str] = {
    "symbol": "string",
    "ex_date": "datetime64[ns]",
    "kind": "string",
    "changed_at": "datetime64[ns, UTC]",
}

SCALE = "scale"  # the kind of what stands where a split is listed with a value that cannot be used
UNKNOWN = -1.0

Key = tuple[str, "pd.Timestamp", str, bool]  # symbol, ex-date, kind, and whether it states that a move was no split
Standing = dict[Key, tuple[float | None, "pd.Timestamp"]]  # its value (None: withdrawn), and since when


@dataclass(frozen=True)
class Statement:
    """What one answer or list says, since when it is known (UTC), and of which days (None: of all)."""

    listed: Listed
    since: pd.Timestamp
    days: tuple[pd.Timestamp, pd.Timestamp] | None = None

    def covers(self, day: pd.Timestamp) -> bool:
        """Whether it speaks of a day; one that cannot be read lies in every statement."""
        return self.days is None or pd.isna(day) or self.days[0] <= day <= self.days[1]


@dataclass(frozen=True)
class Known:
    """The `actions` that stand, since when each is as it is (`changed`, as CHANGED; also of withdrawn ones), and the
    `faults` (as `corporate_actions.FAULTS`) that no later statement has put right.

    The kind `SCALE` in `changed` is since when a day is free of a split whose value could not be used.
    """

    actions: pd.DataFrame = field(default_factory=none)
    changed: pd.DataFrame = field(default_factory=lambda: schema.empty(CHANGED))
    faults: pd.DataFrame = field(default_factory=lambda: schema.empty(FAULTS))


def known(*voices: Sequence[Statement]) -> Known:
    """What stands of several voices, each a series of statements as they arrived; the last voice is believed first."""
    standing: Standing = {}
    for voice in voices:
        for key, latest in _standing(voice).items():
            standing[key] = _override(standing.get(key), latest)
    rows = [(*key[:3], value) for key, (value, _) in standing.items() if value is not None and key[2] != SCALE]
    actions = pd.DataFrame(rows, columns=list(ACTIONS)).astype(dict(ACTIONS))
    since = [(*key[:3], moment) for key, (value, moment) in standing.items() if key[2] != SCALE or value is None]
    faults = [_unsettled(voice) for voice in voices]
    return Known(
        actions.sort_values(["symbol", "ex_date", "kind", "value"], ignore_index=True),
        schema.cast(pd.DataFrame(since, columns=list(CHANGED)), CHANGED) if since else schema.empty(CHANGED),
        schema.stack([part for parts in faults for part in parts], FAULTS),
    )


def _standing(voice: Sequence[Statement]) -> Standing:
    """What the last statement about each day says of it."""
    standing: Standing = {}
    for statement in voice:
        rows = statement.listed.actions.to_dict("records")
        now: dict[Key, float] = {
            (row["symbol"], row["ex_date"], row["kind"], row["kind"] == "split" and row["value"] == 1.0): row["value"]
            for row in rows
        }
        lost = statement.listed.faults[statement.listed.faults["kind"].fillna("") != "dividend"].dropna(
            subset=["symbol", "ex_date"]
        )
        now |= {(row["symbol"], row["ex_date"], SCALE, False): UNKNOWN for row in lost.to_dict("records")}
        for key, (value, _) in list(standing.items()):
            if key not in now and value is not None and statement.covers(key[1]):
                standing[key] = (None, statement.since)
        for key, value in now.items():
            if standing.get(key, (None,))[0] != value:
                standing[key] = (value, statement.since)
    return standing


def _override(
    lower: tuple[float | None, pd.Timestamp] | None, upper: tuple[float | None, pd.Timestamp]
) -> tuple[float | None, pd.Timestamp]:
    """What stands where a voice speaks over another one."""
    if lower is None:
        return upper
    if upper[0] is None:
        return lower[0], max(lower[1], upper[1])
    return upper if lower[0] != upper[0] else (upper[0], min(lower[1], upper[1]))


def _unsettled(voice: Sequence[Statement]) -> list[pd.DataFrame]:
    """The faults of each statement about days that no later one speaks of."""
    unsettled = []
    for at, statement in enumerate(voice):
        days = statement.listed.faults["ex_date"]
        settled = [any(later.covers(day) for later in voice[at + 1 :]) for day in days]
        unsettled.append(statement.listed.faults[[not later for later in settled]])
    return unsettled
