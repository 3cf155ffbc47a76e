"""The bytes of a file of kept fits: a line that tells what it is and its hash, JSON, and all numbers in one block."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stockkit.forecast.walk.kept_fits import Entry, KeptFit, KeptForecast

FORMAT = b"stockkit fits 1 "
UNUSED = 3  # runs that did not use an entry, after which it goes
MOST_BYTES = 16_000_000  # of a file; what was not used longest goes first


def pack(entries: Mapping[str, Entry], ages: Mapping[str, int]) -> bytes:
    """The bytes of a file.

    Args:
        entries: by key. ages: how many runs ago each was used; those that are not named were used by the last one.
    """
    facts, numbers, length = {}, [], 0
    for key, entry in entries.items():
        if isinstance(entry, KeptFit):
            facts[key] = [ages.get(key, 0), entry.tried, entry.chosen, entry.parameters]
        else:
            facts[key] = [ages.get(key, 0), length, len(entry.mean)]
            numbers += [entry.mean, entry.sigma]
            length += 2 * len(entry.mean)
    header = json.dumps(facts, allow_nan=False, ensure_ascii=False).encode()
    block = np.concatenate(numbers).astype("<f8").tobytes() if numbers else b""
    body = len(header).to_bytes(8, "little") + header + block
    return FORMAT + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpack(content: bytes | None) -> tuple[dict[str, Entry], dict[str, int]]:
    """The entries and their ages; none where the bytes are not whole, or not of this format."""
    head, _, body = (content or b"").partition(b"\n")
    if head != FORMAT + hashlib.sha256(body).hexdigest().encode():
        return {}, {}
    end = 8 + int.from_bytes(body[:8], "little")
    facts = json.loads(body[8:end])
    numbers = np.frombuffer(body[end:], dtype="<f8")  # read-only, as is right
    ages = {key: fact[0] for key, fact in facts.items() if fact[0]}
    return {key: _entry(fact, numbers) for key, fact in facts.items()}, ages


def _entry(fact: list[Any], numbers: np.ndarray) -> Entry:
    if len(fact) == 4:
        return KeptFit(*fact[1:])
    _, start, rows = fact
    return KeptForecast(numbers[start : start + rows], numbers[start + rows : start + 2 * rows])


def merged(
    used: Mapping[str, Entry], before: Mapping[str, Entry], ages: Mapping[str, int]
) -> tuple[dict[str, Entry], dict[str, int]]:
    """What a run used, and of what was there before what fits and was not left unused for too long; with the ages."""
    left = {key: ages.get(key, 0) + 1 for key in before if key not in used}
    order = sorted((key for key, age in left.items() if age <= UNUSED), key=lambda key: left[key])
    room = MOST_BYTES - sum(map(_bytes_of, used.values()))
    entries = dict(used)
    for key in order:
        room -= _bytes_of(before[key])
        if room < 0:
            break
        entries[key] = before[key]
    return entries, {key: left[key] for key in entries if key in left}


def _bytes_of(entry: Entry) -> int:
    return 16 * len(entry.mean) + 100 if isinstance(entry, KeptForecast) else 100 + len(json.dumps(entry.parameters))
