"""How a run ended, as a message: what a person needs to know, and what a program can go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stockkit.workbook.manifest import FAILED, INTERRUPTED, SUCCEEDED

TEST = "test"
LONGEST = 1_000  # characters of a cause


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        id: of the message, the same however often it is sent.
        status: "succeeded" or "failed", as run.json has it; "test" for a message that tries a channel.
        run: its id; "" where none was started.
        params_file: as the command that repeats the run names it.
        notebook, cell: what failed, the cell by its execution count; "" and None where no notebook or no cell did.
        cause: why it is not green; "" where it is.
        exit_code: of the command; None where it was killed.
        seconds: that it took.
        finished_at: in UTC, as 2026-11-21T07:01:02Z; "" where that is not known.
        report: the path or address of its front page; "" where there is none.
    """

    id: str
    status: str
    run: str = ""
    params_file: str = ""
    notebook: str = ""
    cell: int | None = None
    cause: str = ""
    exit_code: int | None = None
    seconds: float = 0.0
    finished_at: str = ""
    report: str = ""

    @property
    def group(self) -> str:
        """The parameters file: messages about one stay in order."""
        return self.params_file or "stockkit"

    @property
    def attributes(self) -> Mapping[str, str]:
        """What a receiver may filter by."""
        texts = {"id": self.id, "status": self.status, "run": self.run, "params_file": self.params_file}
        return {name: text for name, text in texts.items() if text}

    @property
    def title(self) -> str:
        """The outcome in a line."""
        what = f"stockkit: {self.params_file or 'a run'}"
        if self.status == SUCCEEDED:
            return f"{what} succeeded"
        if self.status == TEST:
            return "stockkit: TEST: notifications of runs arrive here"
        where = f" in {self.notebook}" if self.notebook else "" if self.run else " before its start"
        return f"{what} failed{where}{f', cell [{self.cell}]' if self.cell is not None else ''}"

    @property
    def text(self) -> str:
        """The outcome in a few lines."""
        took = f"run {self.run}, {self.seconds:.1f} s" if self.run else ""
        return "\n".join(part for part in (self.title, self.cause, took, self.report) if part)

    def message(self) -> dict[str, Any]:
        """All of it as an object of JSON."""
        return {"id": self.id, "title": self.title, "text": self.text, **asdict(self)}


def of_run(run: Mapping[str, Any], *, report: str, exit_code: int | None = None) -> Outcome:
    """The outcome of a run by its manifest.

    Args:
        run: what `run.json` holds. report: where its front page is. exit_code: of the command.
    """
    steps = _failed(run)
    failed: Mapping[str, Any] = steps[0] if steps else {}
    error = failed.get("error") or {}
    to_blame = error and error.get("ename") != INTERRUPTED
    cause = f"{error.get('ename')}: {error.get('evalue')}" if to_blame else str(run.get("reason") or "")
    cause = shortened(cause) + "".join(f" (also failed: {other['name']})" for other in steps[1:])
    finished_at = str(run.get("finished_at") or "")
    return Outcome(
        id=f"run:{run['run']}:{finished_at or 'killed'}",
        status=SUCCEEDED if run.get("status") == SUCCEEDED else FAILED,
        run=str(run["run"]),
        params_file=str(run.get("params_file") or ""),
        notebook=str(failed.get("name") or ""),
        cell=error.get("cell"),
        cause=cause,
        exit_code=exit_code,
        seconds=float(run.get("seconds") or 0.0),
        finished_at=finished_at,
        report=report,
    )


def shortened(cause: str) -> str:
    """A cause in one line of a length that a message can have."""
    line = " ".join(cause[: 10 * LONGEST].split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 2]} …"


def kind(outcome: Outcome) -> tuple[str, ...]:
    """What makes two outcomes the same news: status, notebook and kind of error, not the numbers in its message."""
    return outcome.status, outcome.notebook, outcome.cause.partition(":")[0]


def _failed(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps that failed; those that were only stopped, as the run had to end, come last."""
    steps = [step for step in run.get("steps") or [] if step.get("error")]
    return sorted(steps, key=lambda step: step["error"].get("ename") == INTERRUPTED)
