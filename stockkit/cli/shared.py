"""What every command shares: exit codes, options, and how an error is shown."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from stockkit.errors import ParamError

EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_STOPPED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

LakeOption = Annotated[str, typer.Option("--lake", help="The lake's folder, or s3://bucket/prefix.")]
AnswersOption = Annotated[str | None, typer.Option(help="Whose answers, where the raw zone holds several.")]
CalendarOption = Annotated[str, typer.Option(help="The exchange, as an ISO market code.")]
DatesOption = Annotated[str, typer.Option(help="DMY, MDY or YMD, where files do not tell.")]
AllowOption = Annotated[list[str] | None, typer.Option(help="A rule that is not applied; as in a run.")]
UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600}


def checked(**parameters: Any) -> dict[str, Any]:
    """Parameters of a run that a command takes, too; a wrong one is refused as there."""
    from stockkit.workbook import param_values

    return {name: param_values.check(name, value) for name, value in parameters.items()}


def seconds(option: str, text: str) -> float:
    """The span of time that an option gives, in seconds, from ``90``, ``90s``, ``14m`` or ``1.5h``.

    Raises:
        ParamError: it is none.
    """
    written = re.fullmatch(r"(\d{1,7}(?:\.\d{1,3})?)([smh]?)", text.strip())
    if written is None:
        raise ParamError(f"{option} {text[:60]!a} is no span of time: write 840, 840s, 14m or 1.5h.")
    return float(written[1]) * UNITS[written[2]]


def fail(*lines: str) -> None:
    """Say on stderr what went wrong, without a secret that is known; in JSON where the command tells all so."""
    with suppress(OSError, ValueError):  # nobody may read it any more
        _say("error", lines)


def warn(text: str) -> None:
    """Say on stderr what is odd, in the same way."""
    with suppress(OSError, ValueError):
        _say("warning", [text])


def _say(kind: str, lines: Sequence[str]) -> None:
    from stockkit.workbook.execution.redactions import from_environment

    redaction = from_environment(os.environ)
    if _SAYING["json"]:
        from stockkit.workbook.progress.events import line

        print(line(kind, text=redaction.text(" ".join(lines))), end="", file=sys.stderr, flush=True)
    else:
        indented = ("\n" + " " * (len(kind) + 2)).join(lines)
        print(redaction.text(f"{kind}: {indented}"), file=sys.stderr, flush=True)


_SAYING = {"json": False}


def say_in_json(*, yes: bool) -> None:
    """Let `fail` write JSON, or plain lines."""
    _SAYING["json"] = yes


def shown_path(page: str | Path) -> str:
    """A page's address as it is; a path as a user would type it: relative where it lies below the current folder."""
    if "://" in str(page):
        return str(page)
    here, path = Path.cwd(), Path(page)
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
