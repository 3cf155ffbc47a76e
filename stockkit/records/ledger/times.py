"""When forecasts were sealed: the time of each commit, chained from commit to commit in the table's log.

Every commit that adds rows notes the numbers of its first and last row, the hash of the last, the moment (UTC, by the
writer's clock), and a link: SHA-256 of the link before (64 zeros for the first), the two numbers, the hash and the
moment, joined by blanks. Delta notes a timestamp of its own; the later of the two counts. So a forecast is as old as
its commit, whatever its ``made_at`` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.records.ledger.chain import GENESIS, Fault

FIRST, LAST, HASH = "sealed_first", "sealed_number", "sealed_hash"
AT, LINK = "sealed_at", "sealed_link"
KEEP_LOG = {"delta.enableExpiredLogCleanup": "false"}  # else Delta drops commits, and with them their times
CLOCKS = pd.Timedelta(hours=1)  # that a commit may take, and two clocks may differ
RECENT = 20  # commits looked through first for the last seal


@dataclass(frozen=True)
class Seal:
    """One commit of the ledger: rows `first` to `last`, the hash of the last, and when.

    Attributes:
        first: None where it cannot be told: of a log that was cut, by a stockkit that did not note it.
        committed: by Delta's note. noted, link: by ours; None of a commit that was made before they were noted.
    """

    first: int | None
    last: int
    hash: str
    committed: pd.Timestamp
    noted: pd.Timestamp | None
    link: str | None

    @property
    def at(self) -> pd.Timestamp:
        """The later of the two moments."""
        return self.committed if self.noted is None else max(self.committed, self.noted)


def notes(before: Seal | None, *, first: int, last: int, hashed: str, at: pd.Timestamp) -> dict[str, str]:
    """What a commit of the rows `first` to `last` notes."""
    moment = at.isoformat()
    link = _link(before.link if before else None, first, last, hashed, moment)
    return {FIRST: str(first), LAST: str(last), HASH: hashed, AT: moment, LINK: link}


def _link(before: str | None, first: int | None, last: int, hashed: str, moment: str) -> str:
    return hashlib.sha256(f"{before or GENESIS} {first} {last} {hashed} {moment}".encode()).hexdigest()


def seals(table: Any, *, limit: int | None = None) -> list[Seal]:
    """The seals that a Delta table's log tells of, in the order of their rows; of the last `limit` commits only."""
    commits = sorted(table.history(limit), key=lambda commit: commit["version"])
    complete = bool(commits) and commits[0]["version"] == 0
    made: list[Seal] = []
    for commit in commits:
        if LAST in commit:
            start = made[-1].last + 1 if made else 0 if complete else None
            made.append(_seal(commit, start))
    return sorted(made, key=lambda seal: seal.last)


def newest(table: Any) -> Seal | None:
    """The last seal of a table."""
    made = seals(table, limit=RECENT) or seals(table)
    return made[-1] if made else None


def _seal(commit: dict[str, Any], start: int | None) -> Seal:
    first, at = str(commit.get(FIRST, "")), commit.get(AT)
    return Seal(
        first=int(first) if first.isdecimal() else start,
        last=int(commit[LAST]) if str(commit[LAST]).isdecimal() else -1,
        hash=str(commit.get(HASH)),
        committed=pd.Timestamp(int(commit.get("timestamp") or 0), unit="ms", tz="UTC"),
        noted=_moment(at) if at is not None else None,
        link=str(commit[LINK]) if LINK in commit else None,
    )


def _moment(text: Any) -> pd.Timestamp:
    """A moment as it was noted; of what is none, one so late that it proves nothing."""
    try:
        return pd.Timestamp(str(text)).tz_convert("UTC")
    except (ValueError, TypeError):
        return pd.Timestamp.max.tz_localize("UTC")


def by_number(made: Sequence[Seal], numbers: pd.Series) -> pd.Series:
    """When each row was sealed, by its number; NaT where no commit of the log tells."""
    lasts = np.array([seal.last for seal in made], dtype="int64")
    at = np.searchsorted(lasts, numbers.to_numpy("int64"))
    known = [
        k < len(made) and made[k].first is not None and made[k].first <= n for k, n in zip(at, numbers, strict=True)
    ]
    moments = [made[k].at if there else pd.NaT for k, there in zip(at, known, strict=True)]
    return pd.Series(moments, numbers.index, dtype="datetime64[ns, UTC]")


def faults(made: Sequence[Seal], last: int) -> Iterator[Fault]:
    """Where the times do not fit: links that do not follow, clocks far apart, and rows after the last seal."""
    before: Seal | None = None
    for seal in made:
        if before is not None and before.link is not None and seal.link is None:
            yield seal.last, "", "not linked", f"the commit of row {seal.last} notes no link, those before it do"
        elif seal.link is not None and (before is not None or seal.first == 0):
            moment = seal.noted.isoformat() if seal.noted is not None else ""
            if seal.link != _link(before.link if before else None, seal.first, seal.last, seal.hash, moment):
                yield seal.last, "", "not linked", f"the time of the commit of row {seal.last} was changed"
        if seal.noted is not None and abs(seal.noted - seal.committed) > CLOCKS:
            yield seal.last, "", "backdated", f"sealed at {seal.noted}, committed at {seal.committed}"
        before = seal
    if made and last > made[-1].last:
        yield made[-1].last + 1, "", "not noted", f"no commit of the ledger added rows {made[-1].last + 1} to {last}"
