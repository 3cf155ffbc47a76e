"""The whole path for tests: what is sent, services in processes of their own, and whether all of it came out exact."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from stockkit.forecast.trading import batch_crossings
from stockkit.lake.tables import Lake
from stockkit.market.signals import Rule
from stockkit.market.ticks import Reject, Tick, transform
from stockkit.stream import producers
from stockkit.stream.bus.protocol import Message
from stockkit.stream.store import Store
from tests.conftest import ROOT, SYMBOLS

SCRIPT = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
logging.getLogger("stockkit.stream.bus").setLevel(logging.INFO)
from stockkit.cli.stream import stopping
from stockkit.stream import setup
with stopping() as (stop, came):
    stop.set = (lambda set=stop.set: (print("stopping", flush=True), set()))
    service = setup.open_service(setup.Parameters(**json.loads(sys.argv[1])), root=Path(sys.argv[2]), stop=stop)
    report = service.run(lambda report: print(json.dumps([report.counts, report.lag, report.trouble]), flush=True))
print(json.dumps([report.counts, report.lag, report.trouble]), flush=True)
sys.exit(130 if came else 0)
"""
LATEST = 2**62
LINE = ["symbol", "number", "side", "price", "fast", "slow", "event_time"]
PATIENCE = 90.0  # seconds; a busy machine makes a test slow, not wrong


class Running:
    """A service in a process, its lines in files of `folder`."""

    def __init__(self, folder: Path, number: int, parameters: dict[str, Any]) -> None:
        self.out, self.errors = folder / f"out-{number}.txt", folder / f"errors-{number}.txt"
        with self.out.open("wb") as out, self.errors.open("wb") as errors:
            command = [sys.executable, "-c", SCRIPT, json.dumps(parameters), str(folder)]
            self.process = subprocess.Popen(command, stdout=out, stderr=errors)

    @property
    def report(self) -> tuple[dict[str, int], int, dict[str, str]]:
        """The newest report: counts, lag, trouble."""
        text = self.out.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        lines = [line for line in lines if line != "stopping"]
        return tuple(json.loads(lines[-1])) if lines else ({}, 0, {})  # type: ignore[return-value]

    @property
    def log_lines(self) -> list[str]:
        """The lines of the log."""
        return self.errors.read_text().splitlines()

    def wait(self, until: Callable[[Running], bool]) -> None:
        """Wait for a condition, as long as the process runs."""
        wait_for(lambda: until(self), lambda: f"{self.report}, {self.log_lines}", self.process)

    def end(self, signal: int = 15) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(signal)
        return self.process.wait(PATIENCE)


def wait_for(
    until: Callable[[], bool], detail: Callable[[], str], process: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait for a condition with a generous limit."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert process is None or process.poll() is None, f"it ended with {process.returncode}: {detail()}"
        assert time.monotonic() < deadline, detail()
        time.sleep(0.02)


@contextmanager
def services(folder: Path) -> Iterator[Callable[..., Running]]:
    """Starts services, given parameters; those that still run at the end are killed."""
    started: list[Running] = []

    def start(**parameters: Any) -> Running:
        started.append(Running(folder, len(started), parameters))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.process.kill()
            one.process.wait()


def simulated(
    ticks: int = 300, symbols: Sequence[str] = tuple(SYMBOLS), *, duplicate: float = 0.01, corrupt: float = 0.01
) -> list[Message]:
    """What the simulator sends of one day: ticks, some twice, late or out of order, and records that are none."""
    settings = producers.Settings(
        symbols=symbols, day="2023-09-21", ticks=ticks, duplicate=duplicate, corrupt=corrupt, root=ROOT
    )
    batches = producers.open_producer("simulator", settings)
    return [message for batch in batches for message in batch.messages]


def identities(messages: Sequence[Message]) -> tuple[set[tuple[str, str, int]], int]:
    """The ticks among messages, by source, symbol and sequence; and how many are none."""
    read = transform([body for _, body in messages], now=LATEST)
    ticks = {(one.source, one.symbol, one.sequence) for one in read if isinstance(one, Tick)}
    return ticks, sum(isinstance(one, Reject) for one in read)


def assert_exact(lake: Lake, store: Store, messages: Sequence[Message]) -> None:
    """Each tick and each dead letter is in the lake once; signals are those of all ticks at once; one alert each."""
    assert_ticks_once(lake, messages)
    assert_signals_of_ticks(lake)
    with closing(sqlite3.connect(store.path)) as file:
        alerts = file.execute("SELECT id, state FROM alerts").fetchall()
    assert sorted(alerts) == sorted((name, "sent") for name in lake.read("signals")["id"])
    assert store.spooled(1) == []


def assert_ticks_once(lake: Lake, messages: Sequence[Message]) -> None:
    """Each tick is in the lake once, numbered without a hole in the order of its place."""
    ticks = lake.read("ticks")
    expected, none = identities(messages)
    assert len(ticks) == len(expected)
    assert {*zip(ticks["source"], ticks["symbol"], ticks["sequence"], strict=True)} == expected
    for _, part in ticks.groupby("symbol"):
        assert sorted(part["number"]) == list(range(1, len(part) + 1))
    letters = lake.read("dead_letters")
    assert len(letters) == len(letters.drop_duplicates(["partition", "offset"])) >= none


def assert_signals_of_ticks(lake: Lake) -> None:
    """The signals are those of all ticks of the lake at once, to the last bit."""
    signals, ticks = lake.read("signals"), lake.read("ticks")
    assert len(signals) > 10
    rows = signals[LINE].sort_values(["symbol", "number"], ignore_index=True)
    again = batch_crossings.of_ticks(ticks, Rule())[LINE].sort_values(["symbol", "number"], ignore_index=True)
    assert rows.astype(again.dtypes).equals(again)
