"""Parameters that decide which rows count: the calendar, a file that overrules its days, and rules not applied."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from stockkit.errors import ParamError
from stockkit.market import clean, sessions

WORDS = {"open": "+", "closed": "-"}


def resolve(value: str) -> str:
    """The calendar that a parameter names, its file of overruled days read: XNYS@days.csv becomes XNYS +2023-09-16.

    Raises:
        ParamError: no such calendar or file, or a line of it that overrules nothing.
    """
    name, at, file = value.partition("@")
    found = f"{name} {_days(Path(file).expanduser())}".strip() if at else value
    sessions.zone(found)
    return found


def _days(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamError(f"the calendar's file {path} cannot be read: {error}.") from error
    words = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.partition("#")[0].replace(",", " ").replace(";", " ").lower().split()
        if not fields or fields[:1] in (["date"], ["day"]):
            continue
        if len(fields) != 2 or fields[1] not in WORDS:
            raise ParamError(
                f"{path} line {number}: {line[:60]!r} overrules no day. Write one a line, as in 2023-09-16,open or "
                "2023-09-18,closed."
            )
        words.append(WORDS[fields[1]] + fields[0])
    return " ".join(words)


def allowed(value: Sequence[str]) -> list[str]:
    """The rules that are not applied.

    Raises:
        ParamError: one that is none, or that cannot be left out.
    """
    for rule in value:
        if rule not in clean.ALLOWABLE:
            near = get_close_matches(rule, clean.ALLOWABLE, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ParamError(f"allow: {rule!r} is none of {', '.join(clean.ALLOWABLE)}.{hint}")
    return list(value)
