"""Services in processes of their own: what a test starts, sends signals to, and kills."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
logging.getLogger("stockkit.stream.bus").setLevel(logging.INFO)
from stockkit.cli.stream import stopping
from stockkit.stream import setup
with stopping() as (stop, came):
    service = setup.open_service(setup.Parameters(**json.loads(sys.argv[1])), root=Path(sys.argv[2]), stop=stop)
    report = service.run(lambda report: print(json.dumps([report.counts, report.lag, report.trouble]), flush=True))
print(json.dumps([report.counts, report.lag, report.trouble]), flush=True)
sys.exit(130 if came else 0)
"""
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
        return tuple(json.loads(lines[-1])) if lines else ({}, 0, {})  # type: ignore[return-value]

    @property
    def said(self) -> list[str]:
        """The lines of the log."""
        return self.errors.read_text().splitlines()

    def wait(self, until: Callable[[Running], bool]) -> None:
        """Wait for a condition, as long as the process runs."""
        wait_for(lambda: until(self), lambda: f"{self.report}, {self.said}", self.process)

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
