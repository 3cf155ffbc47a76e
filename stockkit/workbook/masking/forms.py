"""One value in every form in which a run could show it: as text, as bytes, and in parts with blanks between them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from urllib.parse import quote

from stockkit.intake.secrets import STRUCK, any_form, encoded

LONG = 8  # characters from which a match by chance, as in a picture, is out of the question
SHORT_TEXT = 50_000  # characters up to which a text is looked through as a whole
MIXED = 500  # characters up to which a value is looked for with each of them quoted in a way of its own
WIDEST = 24  # characters that one may take, however it is quoted
BETWEEN = r"(?:\s|\x1b\[[0-9;]*m|<[^<>]{0,200}>)*"  # between the parts of a value that is shown in parts
GAPS = re.compile(r"\s+|\x1b\[[0-9;]*m|<[^<>]{0,200}>")
OPEN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\$")  # an odd number of backslashes: what follows belongs to an escape


class Forms:
    """The forms of one value."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.run = max(re.findall(r"[a-z0-9]+", value.lower()), key=len, default="")  # plain in every quoted form
        coded = {value, repr(value)[1:-1], *(encoded(value) if len(value) >= LONG else ())}
        if len(value) > MIXED:
            coded |= {quote(value, safe=""), json.dumps(value)[1:-1], html.escape(value)}
        self.coded = {form.lower() for form in coded}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest = sorted(self.coded, key=len, reverse=True)
        mixed = "".join(map(any_form, self.value)) if len(self.value) <= MIXED else "(?!)"
        return re.compile("|".join([*map(re.escape, longest), mixed]), re.IGNORECASE)

    @cached_property
    def _solid(self) -> list[str]:
        return sorted({form for form in (GAPS.sub("", form) for form in self.coded) if len(form) >= LONG}, key=len)

    @cached_property
    def _apart(self) -> re.Pattern[str]:
        return re.compile("|".join(BETWEEN.join(map(re.escape, form)) for form in self._solid[::-1]), re.IGNORECASE)

    @cached_property
    def _escaped(self) -> set[str]:
        """The beginning of the value with every character quoted, in small letters."""
        start = self.value[:3]
        return set(chain.from_iterable(map(_quoted, {start, start.upper(), start.lower()})))

    @cached_property
    def needles(self) -> set[bytes]:
        """One of these is in any bytes, made small letters, that repeat the value in one of its forms."""
        plain = self.run if len(self.run) >= 3 else self.value.lower()
        texts = {plain, self.value, *self._escaped, *self.coded}
        return self.wide | {text.encode("utf-8", "replace").lower() for text in texts}

    @cached_property
    def wide(self) -> set[bytes]:
        """The value in small letters in UTF-16."""
        kinds = ("utf-16-le", "utf-16-be") if len(self.value) >= LONG else ()
        return {self.value.lower().encode(kind, "replace").lower() for kind in kinds}

    @property
    def longest(self) -> int:
        """Characters, or bytes, that the value takes at most."""
        return WIDEST * len(self.value)

    def may_be_in(self, low: str) -> bool:
        """Whether a text in small letters is worth a closer look."""
        if self.run in low or any(form in low for form in self.coded):
            return True
        return ("%" in low or "\\" in low or "&#" in low) and any(form in low for form in self._escaped)

    def strike(self, text: str) -> str:
        """The text without the value."""
        if len(text) <= SHORT_TEXT:
            return self._pattern.sub(_struck, text)
        parts, at = list[str](), 0
        for start, end in self._windows(text):
            parts += [text[at:start], self._pattern.sub(_struck, text[start:end])]
            at = end
        return "".join([*parts, text[at:]])

    def _windows(self, text: str) -> Iterator[tuple[int, int]]:
        """The parts of a long text that the value could be in, apart from each other."""
        low = text.lower()
        if len(low) != len(text) or not self.run:  # a letter that is longer when it is small
            yield 0, len(text)
            return
        start = end = -1
        for at in sorted(chain.from_iterable(_places(low, form) for form in {self.run, *self.coded, *self._escaped})):
            if at - self.longest > end and end >= 0:
                yield start, end
                start = -1
            start = max(0, at - self.longest) if start < 0 else start
            end = min(len(text), at + 2 * self.longest)
        if start >= 0:
            yield start, end

    def spans_apart(self, text: str, solid: str) -> list[tuple[int, int]]:
        """Where a text holds the value in parts; `solid` is the text in small letters without what is between them."""
        if not any(form in solid for form in self._solid):
            return []
        return [match.span() for match in self._apart.finditer(text)]


def _struck(match: re.Match[str]) -> str:
    """What stands for a match; a backslash before it keeps what it escapes, so that JSON stays JSON."""
    begins = match[0][0]
    before = match.string[max(0, match.start() - 64) : match.start()]
    return begins + STRUCK if begins != "\\" and before.endswith("\\") and OPEN_ESCAPE.search(before) else STRUCK


def _places(low: str, form: str) -> Iterator[int]:
    at = low.find(form)
    while at >= 0:
        yield at
        at = low.find(form, at + 1)


def _quoted(text: str) -> Iterator[str]:
    """A text as URL (once or twice), JSON, Python and HTML write it where they quote every character."""
    percent = "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace"))
    yield from (percent, percent.replace("%", "%25"))
    for form in ("\\u{:04x}", "\\x{:02x}", "&#{};", "&#x{:x};"):
        yield "".join(form.format(ord(sign)) for sign in text)
