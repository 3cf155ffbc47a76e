"""Variables for scheduled runs, which inherit none: kept in a file that this user alone may read."""

from __future__ import annotations

import re
import shlex
import stat
from pathlib import Path

from stockkit.errors import ParamError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST = 100_000  # bytes


def read(path: Path) -> dict[str, str]:
    """The variables of a file of ``NAME=value`` lines; quotes as in a shell, `export` before a name is passed over.

    Raises:
        ParamError: it cannot be read, others may read it, or a line sets no variable; no value is told.
    """
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ParamError(f"others may read {path}, which may hold keys: chmod 600 {shlex.quote(str(path))}.")
        body = path.read_bytes()[:LARGEST].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ParamError(f"the file of variables {path} cannot be read: {why}.") from error
    values: dict[str, str] = {}
    for number, line in enumerate(body.splitlines(), 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not NAME.fullmatch(name) or "\0" in value:
            raise ParamError(f"{path} line {number} sets no variable: write NAME=value.")
        values[name] = _unquoted(value, path, number)
    return values


def _unquoted(value: str, path: Path, number: int) -> str:
    """A value without the quotes around it; without quotes it is as it stands, blanks and `#` too."""
    value = value.strip()
    if not value.startswith(("'", '"')):
        return value
    try:
        words = shlex.split(value, comments=True)
    except ValueError:
        words = []
    if len(words) != 1:
        raise ParamError(f"{path} line {number}: the quotes do not close around the value.")
    return words[0]
