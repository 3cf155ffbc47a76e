"""What every command shares: exit codes, options, and how an error is shown."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_STOPPED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

LakeOption = Annotated[str, typer.Option("--lake", help="The lake's folder, or s3://bucket/prefix.")]
AnswersOption = Annotated[str | None, typer.Option(help="Whose answers, where the raw zone holds several.")]
CalendarOption = Annotated[str, typer.Option(help="The exchange, as an ISO market code.")]
DatesOption = Annotated[str, typer.Option(help="DMY, MDY or YMD, where files do not tell.")]
AllowOption = Annotated[list[str] | None, typer.Option(help="A rule that is not applied; as in a run.")]


def checked(**parameters: Any) -> dict[str, Any]:
    """Parameters of a run that a command takes, too; a wrong one is refused as there."""
    from stockkit.workbook import params

    return {name: params.check(name, value) for name, value in parameters.items()}


def fail(*lines: str) -> None:
    """Say on stderr what went wrong, without a secret that is known."""
    from stockkit.workbook.execution.redactions import from_environment

    print(from_environment(os.environ).text("error: " + "\n       ".join(lines)), file=sys.stderr)
