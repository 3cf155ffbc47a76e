"""What every command shares: exit codes, options, and how an error is shown."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 1, 2, 3, 130

LakeOption = Annotated[str, typer.Option("--lake", help="The lake's folder, or s3://bucket/prefix.")]


def fail(*lines: str) -> None:
    """Say on stderr what went wrong."""
    print("error: " + "\n       ".join(lines), file=sys.stderr)
