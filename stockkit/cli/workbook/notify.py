"""`stockkit notify`: whether a channel can be used, and takes a message."""

from __future__ import annotations

from typing import Annotated

import typer

from stockkit.cli.shared import EXIT_FAILED

EXAMPLE = "Example: stockkit notify --test --to smtp:me@example.org --to 'command:./notify.sh --loud'"


def notify(
    to: Annotated[list[str], typer.Option(metavar="CHANNEL", help="A channel; may be repeated.")],
    test: Annotated[bool, typer.Option("--test", help="Send a test message now.")] = False,
) -> None:
    """Check each CHANNEL that a run could notify, and with --test send a message over it."""
    from stockkit.lake.tables import workbook_root
    from stockkit.workbook.notifications import channels, sending

    opened = channels.open_channels(to, workbook_root())
    problems = sending.test(opened) if test else {}
    for channel in opened:
        answer = f"not taken: {problems[channel]}" if channel in problems else "taken" if test else "can be used"
        print(f"{sending.shown(channel)}: {answer}")
    if problems:
        raise typer.Exit(EXIT_FAILED)
