"""The raw zone: what a source answered, byte for byte, with the time it was fetched; never overwritten.

``raw/source=S/symbol=Y/<fetched_at>-<number>-<sha256/12>.csv``, and ``actions/source=S/…`` for corporate actions. The
number counts a symbol's answers as they arrive: it is one more than the highest that is there, so an answer that is
stored after another one comes after it, whatever the clock says. Answers that earlier versions kept have no number;
they come first, by their time.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from stockkit.files import Files
from stockkit.imports import pandas as pd
from stockkit.market import schema
from stockkit.market.answers import Answer
from stockkit.market.symbols import is_symbol

log = logging.getLogger(__name__)

STAMP = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"(\d{8}T\d{6}Z)-(?:(\d{6,})-)?([0-9a-f]{12})\.csv")
DAMAGED, FOREIGN, SET_BACK = "damaged raw file", "foreign file", "clock set back"


@dataclass(frozen=True)
class Fault:
    """Something wrong in the raw zone: the file, which `problem` (one of the constants above), and what of it."""

    file: str
    problem: str
    detail: str


@dataclass(frozen=True)
class Holding:
    """What the raw zone holds of a symbol: its `answers` in the order of arrival, and the `faults` met on the way.

    `kept` are all its files in the order of arrival, damaged ones too, for `extend`.
    """

    answers: list[Answer] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    kept: Sequence[_Kept] = ()

    @property
    def damaged(self) -> list[str]:
        """The files that are not used, as they are damaged or cannot be read."""
        return [fault.file for fault in self.faults if fault.problem == DAMAGED]


@dataclass(frozen=True, order=True)
class _Kept:
    """A file of the raw zone, in the order of arrival."""

    number: int
    key: str
    fetched_at: pd.Timestamp = field(compare=False)
    digest: str = field(compare=False)


def extend(
    holding: Holding, files: Files, source: str, symbol: str | None, body: bytes, fetched_at: pd.Timestamp
) -> Holding:
    """Store an answer on top of what `read` gave, and return what it would give now; bytes equal to the last answer
    are not stored again. Nothing is listed or read.

    A clock that shows less than at the last answer is logged; the answer comes after that one all the same. Of two
    runs that ask at once, each goes on from what it has read; answers that they give the same number count by their
    time.

    Args:
        holding: what `read` gave of the same source and symbol.
        files: the lake's.
        source: the name of the source.
        symbol: whose bars these are; None for corporate actions.
        body: the answer, verbatim.
        fetched_at: when it was given, UTC.

    Raises:
        LakeError: the lake cannot be written; nothing half-written is left.
    """
    last = holding.kept[-1] if holding.kept else None
    if last and holding.answers and holding.answers[-1].file == last.key and holding.answers[-1].body == body:
        return holding
    digest, stamp = hashlib.sha256(body).hexdigest()[:12], fetched_at.strftime(STAMP)
    number = 1 + max(len(holding.kept), last.number if last else 0)
    key = f"{_folder(source, symbol)}/{stamp}-{number:06d}-{digest}.csv"
    kept = [*holding.kept, _Kept(number, key, pd.to_datetime(stamp, format=STAMP, utc=True), digest)]
    if set_back := _set_back(kept):
        log.warning("event=clock_set_back %s", set_back[0].detail)
    files.put(key, body)
    faults = [fault for fault in holding.faults if fault.problem != SET_BACK]
    new = _answers(kept[-1:], {key: body}, symbol, kept)
    return Holding([*holding.answers, *new], [*faults, *set_back], kept)


def read(
    files: Files,
    source: str,
    symbol: str | None,
    *,
    until: pd.Timestamp | None = None,
) -> Holding:
    """All answers that the raw zone holds, as they arrived, each checked against the hash in its name.

    Args:
        files: the lake's.
        source: the name of the source.
        symbol: whose; None for corporate actions.
        until: only what was known before (UTC).

    A file that is damaged, cannot be read or is none of ours is not used and is listed in the faults; so is a newest
    answer that a clock set back dates before another one.
    """
    kept, faults = _listing(files, source, symbol)
    kept = [file for file, since in zip(kept, _known_at(kept), strict=True) if until is None or since < until]
    bodies = {file.key: _body(files, file) for file in kept}
    sound = [file for file in kept if isinstance(bodies[file.key], bytes)]
    faults += [body for body in bodies.values() if isinstance(body, Fault)]
    return Holding(_answers(sound, bodies, symbol, kept), [*faults, *_set_back(kept)], kept)


def holdings(files: Files) -> dict[str, list[str]]:
    """The sources that the raw zone holds answers of, each with its symbols, ascending."""
    by_source: dict[str, list[str]] = {}
    for source in files.folders("raw"):
        names = [name.partition("=")[2] for name in files.folders(f"raw/{source}") if name.startswith("symbol=")]
        symbols = [name for name in names if is_symbol(name)]
        if source.startswith("source=") and symbols:
            by_source[source.partition("=")[2]] = symbols
    return by_source


def order(file: str) -> tuple[int, str]:
    """Where an answer's file stands in the order of arrival of its folder; a name that is none of ours comes first."""
    kept = _parsed(file)
    return (kept.number, file) if kept else (-1, file)


def verify(files: Files) -> Iterator[Fault]:
    """Read every file of the raw zone; a fault for each that is damaged, cannot be read or is none of ours."""
    for zone in ("raw", "actions"):
        yield from (_foreign(f"{zone}/{name}") for name in files.names(zone))
        for folder in files.folders(zone):
            source = folder.partition("=")[2]
            if zone == "actions" and source:
                yield from read(files, source, None).faults
                continue
            yield from (_foreign(f"{zone}/{folder}/{name}") for name in files.names(f"{zone}/{folder}"))
            for name in files.folders(f"{zone}/{folder}"):
                symbol = name.partition("=")[2]
                if source and is_symbol(symbol):
                    yield from read(files, source, symbol).faults
                else:
                    yield _foreign(f"{zone}/{folder}/{name}")


def _folder(source: str, symbol: str | None) -> str:
    if symbol is None:
        return f"actions/source={source}"
    return f"raw/source={source}/symbol={schema.check_symbol(symbol)}"


def _listing(files: Files, source: str, symbol: str | None) -> tuple[list[_Kept], list[Fault]]:
    """The files of a folder in the order of arrival, and those that are none of ours."""
    folder = _folder(source, symbol)
    named = [(f"{folder}/{name}", _parsed(f"{folder}/{name}")) for name in files.names(folder)]
    return sorted(file for _, file in named if file), [_foreign(key) for key, file in named if not file]


def _parsed(key: str) -> _Kept | None:
    parts = NAME.fullmatch(key.rpartition("/")[2])
    moment = pd.to_datetime(parts[1], format=STAMP, utc=True, errors="coerce") if parts else pd.NaT
    return _Kept(int(parts[2] or 0), key, moment, parts[3]) if parts and not pd.isna(moment) else None


def _foreign(key: str) -> Fault:
    return Fault(key, FOREIGN, "it is no answer of a source and is not used: move it out of the raw zone.")


def _known_at(kept: Sequence[_Kept]) -> list[pd.Timestamp]:
    """Since when each answer was known: no earlier than those that arrived before it, whatever the clock said."""
    return list(accumulate((file.fetched_at for file in kept), max))


def _set_back(kept: Sequence[_Kept]) -> list[Fault]:
    """A fault where the newest answer is dated before one that arrived earlier."""
    if not kept or (newest := max(file.fetched_at for file in kept)) == kept[-1].fetched_at:
        return []
    last = kept[-1]
    return [
        Fault(
            last.key,
            SET_BACK,
            f"{last.key} is dated {last.fetched_at:%Y-%m-%d %H:%M:%S} UTC, before an answer of "
            f"{newest:%Y-%m-%d %H:%M:%S} UTC that arrived earlier: the clock was set back. The order of arrival "
            "counts; check the machine's clock.",
        )
    ]


def _body(files: Files, kept: _Kept) -> bytes | Fault:
    """The bytes of an answer, or what is wrong with its file."""
    way_out = "Put it back from a copy, or move it out of the raw zone and fetch again."
    try:
        body = files.read(kept.key)
    except OSError as error:
        return Fault(kept.key, DAMAGED, f"it cannot be read ({error.strerror}) and is not used. {way_out}")
    if body is None:
        return Fault(kept.key, DAMAGED, f"it vanished while it was read and is not used. {way_out}")
    digest = hashlib.sha256(body).hexdigest()[:12]
    if digest != kept.digest:
        what = f"its {len(body):,} bytes have the hash {digest}, its name says {kept.digest}"
        return Fault(kept.key, DAMAGED, f"{what}: it was changed or cut off and is not used. {way_out}")
    return body


def _answers(
    sound: Sequence[_Kept], bodies: Mapping[str, bytes | Fault | None], symbol: str | None, listed: Sequence[_Kept]
) -> list[Answer]:
    since = {file.key: moment for file, moment in zip(listed, _known_at(listed), strict=True)}
    return [
        Answer(symbol or "", body, file.key, file.fetched_at, since[file.key])
        for file in sound
        if isinstance(body := bodies[file.key], bytes)
    ]
