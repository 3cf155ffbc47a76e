"""Values that nothing published may hold: struck out of every text that a run keeps or shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from stockkit.intake.secrets import STRUCK, Secret, encoded

PREFIX = "STOCKKIT_SECRET_"
NAMED = re.compile(
    r"(^|_)(API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|AUTH_?KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?)$", re.I
)
SHORTEST = 4  # characters; a shorter value would strike half of every page
LONG = 8  # characters from which a match by chance, as in a picture, is out of the question


class Redaction:
    """Strikes values out, plain or as URL, JSON, HTML, `repr`, base64 or hex write them; values can be added."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: dict[str, _Forms] = {}
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """From now on strike `value` out as well; one that is as short as a word is ignored."""
        if len(value) >= SHORTEST and value not in self._forms:
            self._forms[value] = _Forms(value)

    def text(self, text: str, *, prose: bool = True) -> str:
        """`text` without the values; where it is no `prose` but a coded picture, only long ones are looked for."""
        if not self._forms:
            return text
        low = text.lower()
        for value, forms in list(self._forms.items()):  # steps side by side add to it
            if (prose or len(value) >= LONG) and forms.may_be_in(low):
                text = forms.strike(text)
        return text

    def all(self, it: Any) -> Any:
        """The same structure of dicts and lists with every text in it, keys among them, without the values."""
        if isinstance(it, str):
            return self.text(it)
        if isinstance(it, Mapping):
            return {
                self.all(key): self.text(value, prose=False) if _is_picture(key, value) else self.all(value)
                for key, value in it.items()
            }
        return [self.all(value) for value in it] if isinstance(it, list | tuple) else it


def from_environment(environment: Mapping[str, str]) -> Redaction:
    """What must not leave this environment: keys of sources, and whatever is named as a key, token or password."""
    keys = [value for name, value in environment.items() if name.startswith(PREFIX)]
    keys += [
        value for name, value in environment.items() if NAMED.search(name) and len(value) >= LONG and value[0] != "/"
    ]
    return Redaction(stripped for value in keys if (stripped := value.strip()))


class _Forms:
    """One value in every form that is looked for."""

    def __init__(self, value: str) -> None:
        self.secret = Secret(value, "secret://redacted")
        self.run = max(re.findall(r"[a-z0-9]+", value.lower()), key=len, default="")  # plain in every quoted form
        coded = {value, repr(value)[1:-1], *(encoded(value) if len(value) >= LONG else ())}
        self.coded = {form.lower() for form in coded}
        longest = sorted(coded, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest)), re.IGNORECASE)

    def may_be_in(self, low: str) -> bool:
        return self.run in low or any(form in low for form in self.coded)

    def strike(self, text: str) -> str:
        return self.secret.scrub(self.pattern.sub(STRUCK, text))


def _is_picture(key: Any, value: Any) -> bool:
    return isinstance(key, str) and key.startswith("image/") and key != "image/svg+xml" and isinstance(value, str)
