"""The `stockkit` command: run the chain, show reports, look into the lake.

Exit codes: 0 all green; 1 a step failed; 2 the command or its parameters are wrong, nothing was started;
3 the chain ran but is incomplete (a symbol is missing); 4 stopped at its deadline; 130 interrupted.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Annotated, TextIO

import typer

from stockkit import provenance
from stockkit.cli import audit, forecasts, lake, models, quotes, serving, stream
from stockkit.cli.shared import EXIT_INTERRUPTED, EXIT_USAGE, fail, say_in_json
from stockkit.cli.workbook import new, notify, report, run, schedule
from stockkit.errors import StockkitError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes take longer to import than all else that a help needs
    help="Stock-market notebooks that can be trusted.",
)
app.command(epilog=run.EXAMPLE)(run.run)
app.command()(report.report)
app.command(epilog=notify.EXAMPLE)(notify.notify)
app.command(epilog=schedule.EXAMPLE)(schedule.schedule)
app.add_typer(new.app, name="new")
app.add_typer(lake.app, name="lake")
app.add_typer(forecasts.app, name="forecasts")
serving.register(app)
app.add_typer(models.app, name="models")
app.add_typer(stream.app, name="stream")


def main() -> None:
    """Run the command and leave; an expected error is one paragraph and an exit code, never a traceback."""
    say_in_json(yes=False)
    try:
        app(run.with_names(sys.argv[1:]))
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except StockkitError as error:
        fail(str(error))
        code = EXIT_USAGE
    except KeyboardInterrupt:
        fail("interrupted; the run is marked as failed.")
        code = EXIT_INTERRUPTED
    _leave(code)


def _leave(code: int) -> None:
    """End the process with this exit code and no other: as Python does, but for two cases.

    Where a table was read through `deltalake.fs`, Arrow's threads may still be closing its files, which are Python
    objects. A thread that does so while the interpreter is taken down aborts the process: on a busy machine 2 of 120
    commands ended so, with all their work done. And where nobody reads the output any more, Python changes the code.
    """
    streams = (sys.stdout, sys.stderr)
    if all([*map(_is_flushed, streams)]) and "deltalake.fs" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    list(map(_is_flushed, streams))
    os._exit(code)


def _is_flushed(stream: TextIO) -> bool:
    """Flush a stream; false where it is closed, or a pipe that nobody reads any more."""
    try:
        stream.flush()
        return True
    except (OSError, ValueError):
        return False


@app.callback(invoke_without_command=True)
def root_options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Stock-market notebooks that can be trusted."""
    if version:
        print(f"stockkit {provenance.version()}")
        raise typer.Exit


@app.command()
def doctor() -> None:
    """Tell what is installed, which keys are present (never their values) and how much disk is left."""
    from rich.console import Console
    from rich.table import Table

    from stockkit.lake.tables import workbook_root
    from stockkit.workbook.doctor import findings

    rows = findings(workbook_root())
    table = Table(box=None, show_header=False)
    for what, finding, bad in rows:
        table.add_row(what, f"[bold red]{finding}[/]" if bad else finding)
    Console().print(table, highlight=False)
    raise typer.Exit(1 if any(bad for _, _, bad in rows) else 0)


app.command(epilog="Example: stockkit audit rsi_14 --bars data/lake")(audit.audit)
app.command(epilog=quotes.EXAMPLE)(quotes.quotes)
