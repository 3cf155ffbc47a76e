"""Whether bytes hold one of many texts, in time that does not depend on how many they are.

Every fourth place of the bytes is looked at: a text of seven bytes or more covers four bytes from such a place,
wherever it begins. These four are looked up in a table; where they may belong to a text, it is compared in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

STEP = 4  # bytes
SHORTEST = 2 * STEP - 1  # bytes of a text for which this holds
BITS = 20  # of the table
SPREAD = 2_654_435_761  # Knuth's factor, which spreads words over a table
CROWDED = 0.001  # of all places: a word that fills the bytes, as zeros do, is no help


class Sieve:
    """Finds bytes that hold a text.

    Args:
        texts: what is looked for, in small letters.
    """

    def __init__(self, texts: Iterable[bytes]) -> None:
        every = set(texts)
        self._short = {text for text in every if len(text) < SHORTEST}
        self._long = every - self._short

    def holds(self, low: bytes) -> bool:
        """Whether bytes in small letters hold one of the texts."""
        return any(text in low for text in self._short) or (bool(self._long) and self._holds_long(low))

    def _holds_long(self, low: bytes) -> bool:
        import numpy as np

        words = np.frombuffer(low, "<u4", len(low) // STEP)
        places = np.flatnonzero(self._table[_hashed(words)])
        if len(places) > 1_000 + CROWDED * len(words):
            return any(text in low for text in self._long)
        for place in places.tolist():
            for text, offset in self._by_word.get(low[place * STEP : (place + 1) * STEP], ()):
                start = place * STEP - offset
                if start >= 0 and low[start : start + len(text)] == text:
                    return True
        return False

    @cached_property
    def _by_word(self) -> dict[bytes, list[tuple[bytes, int]]]:
        """The texts, each with a place in it, by the four bytes that stand there: one for each way it can lie."""
        by_word: dict[bytes, list[tuple[bytes, int]]] = {}
        for text in self._long:
            for shift in range(STEP):
                offsets = range(shift, len(text) - STEP + 1, STEP)
                best = max(offsets, key=lambda at: len(set(text[at : at + STEP])))
                by_word.setdefault(text[best : best + STEP], []).append((text, best))
        return by_word

    @cached_property
    def _table(self) -> Any:
        import numpy as np

        table = np.zeros(1 << BITS, dtype=bool)
        table[_hashed(np.frombuffer(b"".join(self._by_word), "<u4"))] = True
        return table


def _hashed(words: Any) -> Any:
    import numpy as np

    return (words * np.uint32(SPREAD)) >> np.uint32(32 - BITS)
