"""`stockkit stream`: ticks onto a bus, through the pipeline, and what came of them."""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import stockkit
from stockkit.cli.shared import EXIT_FAILED, EXIT_INTERRUPTED, CalendarOption, LakeOption, fail, seconds
from stockkit.errors import ParamError, StreamError
from stockkit.market.symbols import check_symbols

if TYPE_CHECKING:
    from stockkit.stream.bus.protocol import Bus
    from stockkit.stream.producers import Batch

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Ticks while they come.")

PRODUCE_EXAMPLE = """Examples: stockkit stream produce simulator --bus kafka:ticks --symbols AAPL,META --day 2023-09-21
--speed 60 --seed 7 --ticks 5000 --rate corrupt=0.01 --rate late=0 --for 60s --calendar XNYS;
stockkit stream produce yfinance --bus kinesis:ticks --symbols AAPL,META --interval 30"""
RUN_EXAMPLE = "Example: stockkit stream run params/stream.yaml -p bus=kafka:ticks -p 'producer=\"\"' --for 60s"
PROVE_EXAMPLE = "Example: stockkit stream prove --seeds 200 --schedules 10000"
WATCH_EXAMPLE = """Examples: stockkit stream watch --lake data/lake --symbols AAPL,META --port 0;
stockkit stream watch --state /tmp/stream.sqlite --host 0.0.0.0 --others"""
ALERT_EXAMPLE = """Examples: stockkit stream alert --test --to console --to webhook:https://example.org/secret://hook;
stockkit stream alert --again --to file:data/alerts.jsonl --lake data/lake"""


@contextmanager
def stopping(duration: str | None = None) -> Iterator[tuple[threading.Event, list[int]]]:
    """An event that SIGTERM, Ctrl-C or the end of a duration sets, and the signals that came.

    A second signal does what it does elsewhere: it ends the process.
    """
    stop, came = threading.Event(), list[int]()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: object) -> None:
        came.append(number)
        stop.set()
        for known, handler in before.items():
            signal.signal(known, handler)

    timer = threading.Timer(seconds("--for", duration), stop.set) if duration else None
    for number in before:
        signal.signal(number, note)
    try:
        if timer:
            timer.start()
        yield stop, came
    finally:
        if timer:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command(epilog=PRODUCE_EXAMPLE)
def produce(
    producer: Annotated[
        str, typer.Argument(metavar="PRODUCER", help="simulator, replay:PATH, replay:lake, yfinance or alphavantage.")
    ],
    bus: Annotated[str, typer.Option(help="Where to: kafka:TOPIC or kinesis:STREAM.")],
    symbols: Annotated[str, typer.Option(help="Whose, as in AAPL,META; all that there are by default.")] = "",
    day: Annotated[str, typer.Option(help="A day, a range A..B, or newest.")] = "newest",
    speed: Annotated[float, typer.Option(help="1 is real time, 60 an hour a minute, 0 as fast as possible.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the simulator.")] = 7,
    ticks: Annotated[int, typer.Option(help="Of the simulator, a symbol and day.")] = 2_000,
    rate: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SHARE", help="Of the simulator: a flaw, as in corrupt=0.01.")
    ] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="Between two rounds of live quotes.")] = 60.0,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Stop after 90s, 5m or 1h.")] = None,
    calendar: CalendarOption = "XNYS",
    lake: LakeOption = "data/lake",
) -> None:
    """Put ticks on a bus at their pace; the last line says how many. Ctrl-C or SIGTERM stops it between two batches."""
    from stockkit.stream import producers
    from stockkit.stream.bus import open_bus

    if bus.partition(":")[0] == "memory":
        raise ParamError(
            "the memory bus ends with its process, and nobody else reads it: name kafka:TOPIC or kinesis:STREAM."
        )
    with stopping(for_) as (stop, came):
        settings = producers.Settings(
            symbols=[name for name in re.split(r"[,\s]+", symbols) if name], day=day, ticks=ticks, seed=seed,
            interval=interval, calendar=calendar, lake=stockkit.open_lake(lake), stop=stop, **_rates(rate or []),
        )  # fmt: skip
        batches = producers.open_producer(producer, settings)
        _send(batches, open_bus(bus), speed, stop, f"{producer} to {bus}:")
    if came:
        fail("interrupted. Run it again for the rest: what arrived already counts once.")
        raise typer.Exit(EXIT_INTERRUPTED)


def _rates(given: list[str]) -> dict[str, Any]:
    """The shares of flaws, by name.

    Raises:
        ParamError: no such flaw, or no number.
    """
    from stockkit.stream.producers.intraday import Rates

    names = [rate.name for rate in fields(Rates)]
    rates: dict[str, Any] = {}
    for name, _, share in (pair.partition("=") for pair in given):
        if name not in names or not re.fullmatch(r"\d*\.?\d+", share):
            raise ParamError(f"--rate {name}={share}: write a share of one of {', '.join(names)}, as in corrupt=0.01.")
        rates[name] = float(share)
    return rates


def _send(batches: Iterable[Batch], bus: Bus, speed: float, stop: threading.Event, what: str) -> None:
    """Send all batches and say how many messages and seconds it were; an error from here on is exit code 1."""
    from stockkit.stream.producers import sending
    from stockkit.workbook import progress

    sender = bus.producer()
    try:
        with progress.bar(what) as bar:

            def show(sent: sending.Sent) -> None:
                bar(str(sent), sent.taken, None)

            sent = sending.send(batches, sender, speed=speed, clock=sending.Clock(stop), on_progress=show)
    except StreamError as error:
        fail(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    finally:
        sender.close()
    print(f"{what} {sent} in {sent.seconds:.1f} s")


@app.command(epilog=RUN_EXAMPLE)
def run(
    params_file: Annotated[Path, typer.Argument(metavar="PARAMS", help="A YAML file of parameters.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Set one parameter; may be repeated.")
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Stop after 90s, 5m or 1h.")] = None,
) -> None:
    """From producer and bus to lake, quotes, signals and alerts in one process; the last line counts what came in.

    Ctrl-C or SIGTERM stops it after what was read is stored and in the lake.
    """
    from stockkit.cli.live import showing
    from stockkit.stream import setup
    from stockkit.workbook.chain import plan

    root, _, values = plan.resolve(params_file, parameter or [])
    parameters = setup.Parameters.among(values)
    began = time.monotonic()
    with stopping(for_) as (stop, came), showing(parameters) as show:
        report = setup.open_service(parameters, root=root, stop=stop).run(show)
    counts = report.counts
    parts = [f"{counts[name]:,} {name}" for name in ("ticks", "bars", "signals")]
    parts += [f"{report.sent:,} alerts", *(f"{counts[name]:,} {name}" for name in ("rejects", "duplicates", "late"))]
    print(f"{', '.join(parts)} in {time.monotonic() - began:.1f} s")
    if report.trouble:
        fail(*(f"{where}: {problem}" for where, problem in report.trouble.items()))
        raise typer.Exit(EXIT_FAILED)
    if came:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command("package-lambda", epilog="Example: stockkit stream package-lambda --out functions.zip")
def package_lambda(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.zip", help="The zip to write.")],
) -> None:
    """Write the zip of the Lambda functions transform and trend; the last line is its size."""
    from stockkit.cloud.lambdas import package

    print(f"{out}: {package.write(out):,} bytes")


@app.command(epilog=PROVE_EXAMPLE)
def prove(
    seeds: Annotated[int, typer.Option(min=1, help="Of records; each with an end at every storage call.")] = 20,
    schedules: Annotated[int, typer.Option(min=0, help="Of Lambda's mapping, with a crash at storage calls.")] = 200,
) -> None:
    """Prove that nothing is lost and nothing comes twice, whenever a process ends; four naive versions have to fail."""
    from stockkit.stream.proof.event_source import Violation

    try:
        _prove_pipeline(seeds)
        _prove_lambda(schedules)
    except Violation as violation:
        fail(str(violation))
        raise typer.Exit(EXIT_FAILED) from violation


def _prove_pipeline(seeds: int) -> None:
    from stockkit.stream.proof import failpoints, naive
    from stockkit.stream.proof.event_source import Violation
    from stockkit.workbook import progress

    count = 0
    with progress.bar("pipeline:") as bar:
        for seed in range(seeds):
            count += failpoints.prove(seed)
            bar(f"{count:,} schedules", seed + 1, seeds)
    print(f"pipeline: {count:,} schedules of {seeds} seeds: nothing lost, nothing twice, signals as in batch")
    count = failpoints.prove_on_disk(0, one_in=5)
    print(f"pipeline with Delta tables on the disk: {count} schedules, the same")
    for name, change in naive.NAIVE.items():
        try:
            failpoints.prove(0, change)
        except Violation as violation:
            print(f"naive version {name!r} fails, as it has to: {violation}")
        else:
            raise Violation(f"the naive version {name!r} passed: the proof proves nothing.")


def _prove_lambda(count: int) -> None:
    from stockkit.cloud.lambdas.proof import schedules
    from stockkit.workbook import progress

    if count:
        with progress.bar("Lambda:") as bar:
            counts = schedules.run(count, lambda done: bar(f"{done:,} schedules", done, count))
        parts = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items()))
        print(f"Lambda: {count:,} schedules of each function ({parts}): nothing lost, nothing twice")


@app.command(epilog=WATCH_EXAMPLE)
def watch(
    lake: LakeOption = "data/lake",
    state: Annotated[str, typer.Option(help="The stream's file; stream.sqlite in the lake's folder by default.")] = "",
    symbols: Annotated[str, typer.Option(help="Whose, as in AAPL,META; all that there are by default.")] = "",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8090,
    others: Annotated[bool, typer.Option("--others", help="Let other machines in, where HOST does.")] = False,
) -> None:
    """Show in a browser what `stockkit stream run` is doing; Ctrl-C or SIGTERM ends it."""
    from stockkit.workbook import doctor

    if missing := doctor.missing("serve"):
        raise ParamError(f"stockkit stream watch needs {', '.join(missing)}: pip install 'stockkit[serve]'.")
    from stockkit.stream.setup import store_path
    from stockkit.stream.watch import feed, server

    names = check_symbols(re.findall(r"[^,\s]+", symbols)) if symbols else []
    if not server.is_loopback(host):
        if not others:
            raise ParamError(f"--host {host} lets other machines in: say so with --others, or leave --host out.")
        print(f"warning: everyone who reaches {host} can see this page; there is no password.", file=sys.stderr)
    path = store_path(stockkit.open_lake(lake), state)

    def ready(address: str) -> None:
        print(f"{path} on {address} (Ctrl-C ends it)", flush=True)

    server.serve(feed.Reader(path, names), host=host, port=port, ready=ready)


@app.command(epilog=ALERT_EXAMPLE)
def alert(
    to: Annotated[list[str] | None, typer.Option(metavar="CHANNEL", help="A channel; may be repeated.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Send a test alert now to each CHANNEL.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Try anew what was given up.")] = False,
    lake: LakeOption = "data/lake",
    state: Annotated[str, typer.Option(help="The stream's file; stream.sqlite in the lake's folder by default.")] = "",
) -> None:
    """List the alerts that wait, were sent and were given up, with reasons; or send some."""
    from stockkit.cli import outbox
    from stockkit.stream.setup import existing_store

    opened = stockkit.open_lake(lake)
    if test and again:
        raise ParamError("--test sends a new alert, --again old ones: give one of them.")
    if test:
        failed = outbox.send_test(to or [], opened.root)
    elif again:
        failed = outbox.send_again(existing_store(opened, state), to, opened.root)
    else:
        failed = outbox.show(existing_store(opened, state), to)
    if failed:
        raise typer.Exit(EXIT_FAILED)
