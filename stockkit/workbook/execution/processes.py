"""No process outlives a run: a guard ends what a kernel started, also where the run itself was killed.

The guard is this file, run alone (standard library only) in a session of its own. It waits at a pipe from the run;
once nobody holds the other end, it ends every process that carries the run's mark and removes the run's temporary
folder. A mark is inherited by whatever a kernel starts, so workers and daemons are known by it; one that emptied its
environment is known as a child of a kernel that still runs (see alarms.py), and is lost where the kernel died first.
Each step of a run has the run's mark with its number behind, so that steps side by side are ended one by one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

MARK = "STOCKKIT_MARK"
TRACKER = b"resource_tracker"  # clears up semaphores and folders once the workers are gone: let it
PATIENCE = 4.0  # seconds for trackers to end by themselves


@dataclass(frozen=True)
class Guard:
    """The mark that a run's processes carry in their environment, and its temporary folder, this user's alone."""

    mark: str
    folder: Path

    def for_step(self, number: int) -> Guard:
        """The guard of one step, whose mark is the run's and the step's number; 0 is for helpers of the run itself.

        Raises:
            ValueError: a number beyond 9999.
        """
        if not 0 <= number <= 9999:
            raise ValueError(f"step {number}: a run has at most 9999 steps.")
        return replace(self, mark=f"{self.mark}.{number:04}")

    def sweep(self) -> None:
        """End every process whose mark begins with this one: of a step, its own, of a run, those of all steps."""
        sweep(self.mark)


@contextmanager
def guarded(handle: int | None = None) -> Iterator[Guard]:
    """Guard what runs in this block; at its end, however it comes, no marked process and no folder is left.

    An open file is kept open until then, also where this process is killed: with it a lock that it may have.
    """
    folder = Path(tempfile.mkdtemp(prefix="stockkit-"))
    mark = uuid.uuid4().hex
    watch = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=() if handle is None else (handle,),
    )
    try:
        yield Guard(mark, folder)
    finally:
        if watch.stdin:
            watch.stdin.close()
        watch.wait()


def sweep(mark: str) -> None:
    """End every process with this mark or one that begins with it, those that clear up after others last."""
    end = time.monotonic() + PATIENCE
    while pids := marked(mark):
        late = time.monotonic() > end
        for pid in pids:
            if late or not _is_tracker(pid):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
        if time.monotonic() > end + PATIENCE:
            return  # one that even SIGKILL does not reach, as it waits for a disk


def marked(mark: str) -> list[int]:
    """The running processes whose mark begins with this one, and what descends from them; none without /proc."""
    with_mark, others = _family(mark)
    return with_mark + others


def end_unmarked(mark: str) -> None:
    """End what descends from a process with this mark and has it not: once its parents are gone, nobody knows it."""
    for pid in _family(mark)[1]:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _family(mark: str) -> tuple[list[int], list[int]]:
    """The running processes with this mark, and those without it that descend from them."""
    needle = f"{MARK}={mark}".encode()
    carriers, others, children = list[int](), list[int](), dict[int, list[int]]()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state not in (b"Z", b"X"):
                children.setdefault(int(parent), []).append(int(entry.name))
                if int(entry.name) != os.getpid() and needle in (entry / "environ").read_bytes():
                    carriers.append(int(entry.name))
    line = [*carriers]
    for pid in line:  # which grows while it is gone through
        below = [child for child in children.get(pid, ()) if child not in line]
        line += below
        others += below
    return carriers, others


def _is_tracker(pid: int) -> bool:
    with suppress(OSError):
        return TRACKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _watch(mark: str, folder: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(mark)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch(*sys.argv[1:])
