"""What a schedule answered before, kept beside its log: of several that ask at once, one is told to run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd

from stockkit.errors import LakeError, RunError
from stockkit.local_files import locked, write_atomically
from stockkit.workbook.scheduling.timetable import Answer, State

WAY_OUT = "Free some space, make the folder writable, or name another log with --log FILE."


def default_log(name: str) -> Path:
    """Where a schedule's log is, unless it is given: this user's folder for what programs keep."""
    home = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return home.absolute() / "stockkit" / f"{name}.log"


def state_of(log: Path) -> Path:
    """Where what was answered is kept."""
    return Path(f"{log}.state")


def answered(log: Path, decide: Callable[[State | None], Answer]) -> Answer:
    """Ask, and keep what was answered before anything is done about it.

    Args:
        log: the schedule's; what is kept stands beside it.
        decide: from what was answered before, or None, to the answer.

    Raises:
        LakeError: it cannot be kept, so that the run would start again. RunError: what was kept cannot be read.
    """
    path = state_of(log)
    with _alone(Path(f"{log}.lock")):
        before = load(path)
        answer = decide(before)
        if answer.state != before:
            keep(path, answer.state)
    return answer


def load(path: Path) -> State | None:
    """What was answered before; None where nothing was.

    Raises:
        RunError: it cannot be read.
    """
    try:
        if not path.exists():
            return None
        values = json.loads(path.read_bytes())
        return State(pd.Timestamp(values["since"]).tz_convert("UTC"), values["session"], values["closed"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{path}, which tells the last session with a run, cannot be read ({type(error).__name__}): delete it, and "
            "the schedule starts with the next session."
        ) from error


def keep(path: Path, state: State) -> None:
    """Write down what was answered.

    Raises:
        LakeError: it cannot be written.
    """
    values = {"since": state.since.isoformat(), "session": state.session, "closed": state.closed}
    write_atomically(path, (json.dumps(values) + "\n").encode(), way_out=WAY_OUT)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time into the block."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path))
        except OSError as error:
            raise LakeError(f"cannot write {path}: {error.strerror}. {WAY_OUT}") from error
        yield
