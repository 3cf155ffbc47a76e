"""Who is champion of a horizon: entries that are only ever added, ``models/champion-h1/00000001.json`` and so on.

An entry is created only where there is none of its number, so that of two promotions at once one wins and the other
raises. The last entry is the champion; nothing is ever changed or deleted. Each entry carries the SHA-256 of the file
of the one before, and ``models/champion-h1/head.json`` the number and SHA-256 of the last: an entry that was edited,
added by hand or taken away is an error, not obeyed. Whoever can write the lake and computes all hashes anew is not
detected.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import LakeError
from stockkit.forecast.judge import gate
from stockkit.forecast.models.protocol import RANDOM_WALK
from stockkit.lake.tables import Lake
from stockkit.provenance import run_id
from stockkit.records.registry import saved_model
from stockkit.records.registry.saved_model import SavedModel

PROMOTED, ROLLED_BACK = "promoted", "rolled back"
NUMBER = re.compile(r"[0-9]{8}\.json")
HEAD, GENESIS = "head.json", "0" * 64
BACK = "Put it back from a copy of the lake if you have one."
HEADLESS = f"Take {HEAD} beside it away to go on with the entries as they are."


@dataclass(frozen=True)
class Entry:
    """One change of champion.

    Attributes:
        number: from 1. horizon: of which. version: the champion from here on, as ``lasso-h1/2023-12-29-0123456789ab``;
            None: there is none, as the only one was broken. before: the champion until then.
        action: promoted or rolled back. at: when, ISO. run: by which run. reasons, figures: of the gate.
        previous: the SHA-256 of the entry before, 64 zeros for the first; None of one of before entries were chained.
    """

    number: int
    horizon: int
    version: str | None
    before: str | None
    action: str
    at: str
    run: str
    reasons: tuple[str, ...]
    figures: dict[str, float | None]
    previous: str | None = None


@dataclass(frozen=True)
class Decision:
    """What came of a promotion: of which version, the gate's judgement, and the entry where it passed."""

    version: str
    judgement: gate.Judgement
    entry: Entry | None

    @property
    def promoted(self) -> bool:
        """Whether the candidate is champion now."""
        return self.entry is not None

    def __str__(self) -> str:
        outcome = "is champion" if self.promoted else "did not pass the gate, and nothing was changed"
        return f"{self.version} {outcome}. {' '.join(self.judgement.reasons)}"


def history(lake: Lake, horizon: int) -> list[Entry]:
    """Every change of champion of a horizon, oldest first.

    Raises:
        LakeError: an entry that is not ours, was edited, or is gone; names the file and the way out.
    """
    return [entry for entry, _ in _chained(lake, horizon)]


def _chained(lake: Lake, horizon: int) -> list[tuple[Entry, str]]:
    """The entries, each with the SHA-256 of its file, held to their chain and to the head."""
    folder = f"models/champion-h{horizon}"
    entries: list[tuple[Entry, str]] = []
    for name in [name for name in lake.files.names(folder) if NUMBER.fullmatch(name)]:
        body = lake.files.read(f"{folder}/{name}") or b""
        entry = _entry(f"{lake.files}/{folder}/{name}", body)
        last, before = (entries[-1][0].number, entries[-1][1]) if entries else (0, GENESIS)
        chained = any(earlier.previous is not None for earlier, _ in entries)
        if entry.number != last + 1:
            raise LakeError(f"{lake.files}/{folder}/{name}: the entry before it, {last + 1:08}.json, is gone. {BACK}")
        if entry.previous != before and (entry.previous is not None or chained):
            raise LakeError(
                f"{lake.files}/{folder}/{name} does not follow from the entry before it: one of the two was edited, or "
                f"this one was not written by stockkit. {BACK} Or take it away to go on without it."
            )
        entries.append((entry, hashlib.sha256(body).hexdigest()))
    _check_head(lake, folder, entries)
    return entries


def _check_head(lake: Lake, folder: str, entries: list[tuple[Entry, str]]) -> None:
    """The entry that the head names must be there; later ones, of promotions cut short at the head, must be chained."""
    where, body = f"{folder}/{HEAD}", lake.files.read(f"{folder}/{HEAD}")
    if body is None:
        return
    try:
        head = json.loads(body)
        number, hashed = int(head["number"]), str(head["sha256"])
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise LakeError(f"{lake.files}/{where}: is no head of entries ({error}). {HEADLESS}") from error
    if number > len(entries):
        raise LakeError(f"{lake.files}/{folder}/{number:08}.json, a change of champion, is gone. {BACK} {HEADLESS}")
    if number > 0 and entries[number - 1][1] != hashed:
        raise LakeError(f"{lake.files}/{folder}/{number:08}.json was edited since it was written. {BACK} {HEADLESS}")
    if any(entry.previous is None for entry, _ in entries[number:]):
        raise LakeError(
            f"{lake.files}/{folder}/{number + 1:08}.json was not written by stockkit. Take it away to go on without it."
        )


def champion(lake: Lake, horizon: int) -> str | None:
    """The champion of a horizon, as ``lasso-h1/2023-12-29-0123456789ab``; None where there is none."""
    entries = history(lake, horizon)
    return entries[-1].version if entries else None


def saved_champion(lake: Lake, horizon: int) -> SavedModel | None:
    """The saved model that is champion; None where there is none.

    Raises:
        LakeError: its card is missing or changed; names the way back.
    """
    key = champion(lake, horizon)
    with way_back(horizon):
        return None if key is None else saved_model.at(lake.files, key)


@contextmanager
def way_back(horizon: int) -> Iterator[None]:
    """Add to an error of a champion's files what to do about it."""
    try:
        yield
    except LakeError as error:
        out = f"It is the champion: `stockkit models rollback {horizon}` goes back to the one before it."
        raise LakeError(f"{error} {out}") from error


def promote(lake: Lake, version: str, *, at: pd.Timestamp) -> Decision:
    """Make a saved model champion of its horizon, if it passes the gate; else leave everything as it was.

    It is judged by the evidence saved with it (`gate.judge`). The champion's rows on those sessions are those of its
    model in that evidence, where the champion is another model; where the same model was trained anew, or the
    evidence lacks the champion's, they are those that the champion was saved with. Where the same model's are so old
    that they have fewer than 100 sessions in common, the random walk stands in for it. A champion stays champion,
    and the decision of its promotion is returned again.

    Args:
        lake: where.
        version: of the candidate, as ``lasso-h1/2023-12-29-0123456789ab``.
        at: now, UTC.

    Raises:
        LakeError: no such model, or a file of it that is missing or changed; the champion's
            evidence cannot be read; or another promotion came first.
    """
    saved = saved_model.at(lake.files, version)
    saved.trained()
    horizon = int(saved.card["horizon"])
    entries = history(lake, horizon)
    before = entries[-1].version if entries else None
    if before == saved.key:
        then = {name: np.nan if value is None else value for name, value in entries[-1].figures.items()}
        return Decision(version, gate.Judgement(True, entries[-1].reasons, then), entries[-1])
    judgement = _judged(lake, saved, horizon, before)
    if not judgement.passed:
        return Decision(version, judgement, None)
    figures = {name: value if np.isfinite(value) else None for name, value in judgement.figures.items()}
    change = {"version": saved.key, "before": before, "action": PROMOTED, "at": at.isoformat(), "figures": figures}
    return Decision(version, judgement, _append(lake, horizon, entries, reasons=judgement.reasons, **change))


def rollback(lake: Lake, horizon: int, *, at: pd.Timestamp) -> Entry:
    """Go back to the newest champion before the present one whose files are whole; returns the new entry.

    Where none is left and the present one is broken, there is no champion from then on, so that a new one can be
    judged against the random walk.

    Raises:
        LakeError: there is no champion, none before a champion that is whole, or another change came first.
    """
    entries = history(lake, horizon)
    standing = _standing(entries)
    if not standing:
        raise LakeError(f"horizon {horizon} has no champion: there is nothing to go back from.")
    passed_over = []
    for key in reversed(standing[:-1]):
        if not (problem := _problem(lake, key)):
            break
        passed_over.append(f"{key} was passed over: {problem}")
    else:
        key = None
        broken = _problem(lake, standing[-1])
        if not broken:
            raise LakeError(f"{standing[-1]} is the first champion of horizon {horizon}: there is none to go back to.")
        passed_over.append(broken)
    reasons = (f"Back from {standing[-1]} to {key or 'no champion'}.", *passed_over)
    change = {"version": key, "before": standing[-1], "action": ROLLED_BACK, "at": at.isoformat(), "figures": {}}
    return _append(lake, horizon, entries, reasons=reasons, **change)


def _standing(entries: Iterable[Entry]) -> list[str]:
    """The champions that stand, oldest first: a rollback takes away those after the one that it goes back to."""
    standing: list[str] = []
    for entry in entries:
        if entry.action == ROLLED_BACK:
            while standing and standing[-1] != entry.version:
                standing.pop()
        elif entry.version is not None:
            standing.append(entry.version)
    return standing


def _problem(lake: Lake, key: str) -> str:
    try:
        saved_model.at(lake.files, key).trained()
    except LakeError as error:
        return str(error)
    return ""


def _judged(lake: Lake, saved: SavedModel, horizon: int, before: str | None) -> gate.Judgement:
    evidence = saved.evidence()
    rows = {str(name): forecasts for name, forecasts in evidence.groupby("model", observed=True)}
    model = saved.card["model"]
    champion_rows, note = None, ""
    if before is not None:
        name = before.partition("/")[0].rpartition("-h")[0]
        champion_rows = rows[name] if name != model and name in rows else _champions_evidence(lake, horizon, name)
        if name == model and _common(rows[model], champion_rows) < gate.LEAST:
            champion_rows, note = (
                None,
                f"{before} has too few sessions in common with it: judged against the random walk.",
            )
    judgement = gate.judge(rows[model], champion_rows, rows[RANDOM_WALK])
    reasons = (*judgement.reasons, note) if note else judgement.reasons
    return gate.Judgement(judgement.passed, reasons, judgement.figures)


def _common(candidate: pd.DataFrame, champion: pd.DataFrame) -> int:
    """The most sessions that a symbol has in both."""
    both = candidate[gate.KEY].merge(champion[gate.KEY], on=gate.KEY)
    return int(both.groupby("symbol", observed=True).size().max()) if len(both) else 0


def _champions_evidence(lake: Lake, horizon: int, model: str) -> pd.DataFrame:
    """The champion's rows in the evidence that it was saved with itself."""
    saved = saved_champion(lake, horizon)
    if saved is None:
        raise LakeError(f"horizon {horizon} lost its champion meanwhile: try again.")
    with way_back(horizon):
        evidence = saved.evidence()
    return evidence[evidence["model"] == model]


def _append(lake: Lake, horizon: int, entries: list[Entry], **change: Any) -> Entry:
    chained = _chained(lake, horizon)[: len(entries)]  # what was decided by; a later one makes this one lose
    number, previous = len(chained) + 1, chained[-1][1] if chained else GENESIS
    entry = Entry(number=number, horizon=horizon, run=run_id(), previous=previous, **change)
    folder = f"models/champion-h{horizon}"
    key = f"{folder}/{number:08}.json"
    body = json.dumps(asdict(entry), allow_nan=False, ensure_ascii=False, indent=1).encode()
    if not lake.files.put(key, body) and (there := lake.files.read(key)) != body:
        raise LakeError(
            f"horizon {horizon} got another champion at the same time, {_entry(key, there or b'').version}: nothing "
            f"was changed. Look with `stockkit models list`, and try again if you still want {entry.version}."
        )
    head = {"number": number, "sha256": hashlib.sha256(body).hexdigest()}
    lake.files.note(f"{folder}/{HEAD}", json.dumps(head).encode())
    return entry


def _entry(where: str, body: bytes) -> Entry:
    try:
        fields = json.loads(body)
        entry = Entry(**{**fields, "reasons": tuple(fields["reasons"])})
        good = f"{entry.number:08}.json" == where.rpartition("/")[2] and isinstance(entry.version, str | None)
        name = (entry.version or "").partition("/")[0]
        good = good and (entry.version is None or name.endswith(f"-h{entry.horizon}"))
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise LakeError(f"{where}: is no entry of champions ({error}). Take it away to go on without it.") from error
    if not good:
        raise LakeError(f"{where}: is not the entry that its name says. Take it away to go on without it.")
    return entry
