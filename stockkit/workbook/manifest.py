"""What a run leaves in `run.json`: what it ran, how that ended, and which tables it read and wrote.

`run.schema.json` beside this file is its JSON schema; a test keeps the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

SUCCEEDED: Literal["succeeded"] = "succeeded"
FAILED: Literal["failed"] = "failed"
NOT_RUN: Literal["not run"] = "not run"
INTERRUPTED = "Interrupted"  # the name of the error where the run was stopped, and the notebook is not to blame
PARTIAL = ".partial"  # the end of the name of a folder whose run has not ended


def now() -> str:
    """This moment in UTC to the second, as manifests, claims and messages give it: ``2026-11-26T09:30:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What ended a notebook.

    Attributes:
        cell: the execution count of the cell; None where it was none of them.
        where: in words, where it was no cell.
        ename, evalue: name and message of the error.
        source: the code of the cell.
    """

    cell: int | None = None
    where: str = "outside its cells"
    ename: str = "RunError"
    evalue: str
    source: str = ""


@dataclass
class Step:
    """One notebook of a run.

    Attributes:
        name, title: of the notebook.
        seconds: that it took.
        error: what ended it, where it has failed.
        reads, writes: tables, each with the version that was read or written.
        empty: tables that rightly have no rows or no numbers, each with the reason.
        headlines: the figures that it passed on.
        warnings: what was odd, without being a failure.
        why: why it ran, or why it did not need to.
        kept_from: the run whose results were taken over; "" where it was executed.
        kernel: "warm" where its kernel was forked with its libraries imported, else "plain", with the reason.
        attempts: how often it was tried.
    """

    name: str
    title: str
    status: Literal["succeeded", "failed", "not run"] = NOT_RUN
    seconds: float = 0.0
    error: Failure | None = None
    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    empty: dict[str, str] = field(default_factory=dict)
    headlines: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    why: str = ""
    kept_from: str = ""
    kernel: str = ""
    attempts: int = 0


@dataclass
class Manifest:
    """A run, from its start on; it has failed until all of it has succeeded.

    Attributes:
        run: its id, the name of its folder.
        reason: why it is not green; None where it is.
        started_at, finished_at: in UTC, as 2026-11-21T07:01:02Z.
        params_file: as the command that repeats the run names it.
        headlines, warnings: those of all steps, in the order of the chain.
    """

    run: str
    status: Literal["succeeded", "failed"]
    reason: str | None
    started_at: str
    finished_at: str | None
    seconds: float
    code_version: str
    params_file: str
    parameters: dict[str, Any]
    steps: list[Step]
    headlines: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def written(self) -> dict[str, int]:
        """The tables that the steps so far handed over as written, each with its version."""
        return {table: version for step in self.steps for table, version in step.writes.items()}

    def gather(self) -> None:
        """Take over figures and warnings from the steps."""
        self.headlines = {name: figure for step in self.steps for name, figure in step.headlines.items()}
        self.warnings = [warning for step in self.steps for warning in step.warnings]
