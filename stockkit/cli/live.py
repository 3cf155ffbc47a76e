"""A stream while it runs: a table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stockkit.market.ticks import SCALE, as_datetime
from stockkit.stream.reports import Report
from stockkit.stream.setup import Parameters

SYMBOLS = 20  # rows of the table
QUIET = 5.0  # seconds between two lines where there is no terminal


@contextmanager
def showing(parameters: Parameters) -> Iterator[Callable[[Report], None]]:
    """A function that shows a report; on the error stream, so that a pipe gets the last line alone."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda report: live.update(_table(report, parameters), refresh=True)
    else:
        yield _lines(console)


def _lines(console: Console) -> Callable[[Report], None]:
    shown = time.monotonic()

    def show(report: Report) -> None:
        nonlocal shown
        if time.monotonic() - shown >= QUIET:
            shown = time.monotonic()
            console.print(_line(report), highlight=False, soft_wrap=True)

    return show


def _line(report: Report) -> str:
    counts = report.counts
    trouble = "".join(f"; {where}: {problem}" for where, problem in report.trouble.items())
    return (
        f"{counts['ticks']:,} ticks, {report.rate:,.0f} a second, {report.lag:,} waiting in the bus, "
        f"{1_000 * report.delay:,.0f} ms behind, {counts['signals']:,} signals, {report.sent:,} alerts{trouble}"
    )


def _table(report: Report, parameters: Parameters) -> Group:
    """Prices and counts of one moment."""
    averages = f"SMA-{parameters.fast} / SMA-{parameters.slow}"
    table = Table(title=f"{parameters.producer or 'others'} to {parameters.bus}, {averages} by {parameters.interval}")
    table.add_column("symbol")
    for name in ("price", "size", "time (UTC)", "ticks"):
        table.add_column(name, justify="right")
    for quote in report.quotes[:SYMBOLS]:
        moment = as_datetime(quote.event_time)
        cells = f"{quote.price / SCALE:,.2f}", f"{quote.size:,}", f"{moment:%Y-%m-%d %H:%M:%S}", f"{quote.number:,}"
        table.add_row(quote.symbol, *cells)
    more = len(report.quotes) - SYMBOLS
    caption = f"and {more:,} more symbols\n" if more > 0 else ""
    return Group(table, Text(caption + _line(report)))
