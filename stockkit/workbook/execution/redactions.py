"""Values that nothing published may hold: struck out of every text that a run keeps or shows.

They are those of the environment and those that this process, or any process of a notebook, has looked up so far.
"""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockkit.intake import secrets
from stockkit.intake.secrets import STRUCK
from stockkit.workbook.masking import pictures
from stockkit.workbook.masking.forms import GAPS, LONG, Forms
from stockkit.workbook.masking.sieve import Sieve

PREFIX = "STOCKKIT_SECRET_"
NAMED = re.compile(
    r"(?:^|_)(API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|AUTH_?KEY|SECRET|TOKEN|PASSPHRASE|CREDENTIALS?)$"
    r"|PASSWORD$|PASSWD$|_PASS$|_PWD$",
    re.I,
)
KEY = re.compile(r"_KEY$", re.I)  # what is named so may be a column's name as well
RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/=_.-]{16,}")
IN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:([^/\s@]{8,})@", re.I)  # scheme://user:password@host
SHORTEST = 4  # characters; a shorter value would strike half of every page
LINE = 16  # characters from which a line of a value of several lines, as a private key, is a value of its own
PIPE, PIPE_SIZE = "looked-up", 1 << 20  # bytes that wait in it at most
SET_PIPE_SIZE = 1031  # of fcntl, on Linux
SPOKEN = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml", "application/json")


@dataclass
class _Pipe:
    """A pipe, and the beginning of a line that was read from it."""

    handle: int
    left: bytes = b""


class Redaction:
    """Strikes values out, plain or as URL, JSON, HTML, `repr`, base64 or hex write them; values can be added.

    Args:
        values: that are known. looked_up: a list that grows while values are looked up.
    """

    def __init__(self, values: Iterable[str] = (), looked_up: Sequence[str] = ()) -> None:
        self._forms: dict[str, Forms] = {}
        self._looked_up, self._seen = looked_up, 0
        self._pipes: dict[Path, _Pipe] = {}
        self._lock = threading.RLock()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """From now on strike `value` out as well; one that is as short as a word is ignored."""
        for part in {value, *(line.strip() for line in value.splitlines() if "\n" in value)}:
            banner = part.startswith("-----")  # as -----BEGIN PRIVATE KEY-----
            if len(part) >= (SHORTEST if part == value else LINE) and part not in self._forms and not banner:
                self._forms = {**self._forms, part: Forms(part)}

    def listen(self, folder: Path) -> dict[str, str]:
        """Take in what processes look up from now on; the environment by which they know where to tell it.

        Args:
            folder: where the pipe is made; this user's alone.
        """
        place = folder / PIPE
        with self._lock:
            if place not in self._pipes:
                with suppress(OSError, AttributeError):  # AttributeError: there are no named pipes
                    os.mkfifo(place, 0o600)
                    pipe = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
                    weakref.finalize(self, os.close, pipe)
                    _widen(pipe)
                    self._pipes[place] = _Pipe(pipe)
            return {secrets.TOLD_AT: str(place)} if place in self._pipes else {}

    def text(self, text: str, *, prose: bool = True) -> str:
        """`text` without the values; where it is no `prose` but a coded picture, only long ones are looked for."""
        forms = self._known()
        low = text.lower() if forms else ""
        for form in forms:
            if (prose or len(form.value) >= LONG) and form.may_be_in(low):
                text = form.strike(text)
        return text

    def all(self, it: Any) -> Any:
        """The same structure of dicts and lists with every text in it, keys among them, without the values.

        A number that is one of the values is struck out as well.
        """
        if isinstance(it, str):
            return self.text(it)
        if isinstance(it, Mapping):
            return {
                self.all(key): self._picture(key, value) if _is_picture(key, value) else self.all(value)
                for key, value in it.items()
            }
        if isinstance(it, list | tuple):
            return [self.all(value) for value in it]
        if isinstance(it, int | float) and not isinstance(it, bool) and str(it) in self._forms:
            return STRUCK
        return it

    def is_in(self, body: bytes, *, prose: bool = True) -> bool:
        """Whether bytes of any kind hold one of the values; where they are no `prose`, a long one."""
        forms = self._known()
        if not forms or not self._sieve(forms).holds(low := body.lower()):
            return False
        text = body.decode("utf-8", "surrogateescape")
        return self.text(text, prose=prose) != text or any(wide in low for form in forms for wide in form.wide)

    def outputs(self, outputs: Iterable[MutableMapping[str, Any]]) -> bool:
        """Strike out, in place, what the outputs of cells hold of a value in parts; whether there was any."""
        parts = [part for output in outputs for part in _parts(output)]
        kinds = dict.fromkeys(kind for kind, _, _ in parts)
        views = [[(it, key) for kind, it, key in parts if kind == wanted] for wanted in kinds]
        views += [[(it, key) for kind, it, key in parts if kind in ("stdout", "stderr", "text/plain", "error")]]
        return sum(map(self._apart, views)) > 0

    def knows_any(self) -> bool:
        """Whether there is a value to look for."""
        return bool(self._known())

    def longest(self) -> int:
        """Bytes that a value takes at most, in any form."""
        return max((form.longest for form in self._known()), default=0)

    def _picture(self, kind: str, value: str) -> str:
        if kind == "image/png":
            value = pictures.cleaned_base64(value, self.is_in)
        return self.text(value, prose=False)

    def _apart(self, view: list[tuple[Any, Any]]) -> bool:
        """Strike out what a view, texts in the order in which they are shown, holds in parts."""
        texts = [as_text(it[key]) for it, key in view]
        text = "".join(texts)
        forms = [form for form in self._known() if len(form.value) >= LONG and not form.value.isdecimal()]
        solid = GAPS.sub("", text).lower() if forms else ""
        spans = sorted({span for form in forms for span in form.spans_apart(text, solid)})
        if not spans:
            return False
        for (it, key), clean in zip(view, _without(texts, spans), strict=True):
            it[key] = clean
        return True

    def _known(self) -> list[Forms]:
        """All values, with those that were looked up until now."""
        with self._lock:
            for pipe in self._pipes.values():
                self._drain(pipe)
            while self._seen < len(self._looked_up):
                self.add(self._looked_up[self._seen])
                self._seen += 1
            return list(self._forms.values())

    def _drain(self, pipe: _Pipe) -> None:
        with suppress(BlockingIOError):
            while body := os.read(pipe.handle, PIPE_SIZE):
                *lines, pipe.left = (pipe.left + body).split(b"\n")
                for line in lines:
                    with suppress(ValueError):
                        self.add(value := str(json.loads(line)))
                        secrets.tell(value)

    def _sieve(self, forms: list[Forms]) -> Sieve:
        if getattr(self, "_sieve_of", None) != len(forms):
            self._sieve_of, self._sieve_kept = len(forms), Sieve(set[bytes]().union(*(f.needles for f in forms)))
        return self._sieve_kept


def from_environment(environment: Mapping[str, str]) -> Redaction:
    """What must not leave this environment: keys of sources, and whatever is named as a key, token or password.

    So are passwords in addresses, and what was looked up by this process or is, later on.
    """
    keys = [value for name, value in environment.items() if name.startswith(PREFIX)]
    keys += [value for name, value in environment.items() if NAMED.search(name) and _may_be_secret(value)]
    keys += [value for name, value in environment.items() if KEY.search(name) and RANDOM.fullmatch(value)]
    keys += [match for value in environment.values() for match in IN_ADDRESS.findall(value)]
    return Redaction((stripped for value in keys if (stripped := value.strip())), secrets.LOOKED_UP)


def _may_be_secret(value: str) -> bool:
    return len(value) >= LONG and not (value.startswith("/") and (" " in value or os.path.exists(value)))


def _is_picture(key: Any, value: Any) -> bool:
    return isinstance(key, str) and key.startswith("image/") and key != "image/svg+xml" and isinstance(value, str)


def _widen(pipe: int) -> None:
    """Let much wait in a pipe, so that nobody has to wait who tells something."""
    import fcntl

    with suppress(OSError):
        fcntl.fcntl(pipe, SET_PIPE_SIZE, PIPE_SIZE)


def _parts(output: MutableMapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The texts of an output: their kind, and where they are."""
    if "text" in output:
        return [(str(output.get("name")), output, "text")]
    if "ename" in output:
        lines = output.get("traceback") or []
        return [("error", output, "evalue"), *(("error", lines, at) for at in range(len(lines)))]
    data = output.get("data") or {}
    return [(kind, data, kind) for kind in SPOKEN if kind in data and isinstance(as_text(data[kind]), str)]


def as_text(value: Any) -> Any:
    """A notebook on disk may keep a text as a list of lines."""
    return "".join(value) if isinstance(value, list) and all(isinstance(line, str) for line in value) else value


def _without(texts: list[str], spans: list[tuple[int, int]]) -> list[str]:
    """Texts without these spans of all of them together, each replaced where it begins."""
    done, begin = list[str](), 0
    for text in texts:
        end, at, parts = begin + len(text), begin, list[str]()
        for start, stop in spans:
            if start < end and stop > at:
                parts += [text[at - begin : max(at, start) - begin], STRUCK if start >= at else ""]
                at = max(at, min(stop, end))
        done.append("".join([*parts, text[at - begin :]]))
        begin = end
    return done
