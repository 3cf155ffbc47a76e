"""The folder of a run: made under a temporary name, and under its final one only when the run has ended.

``reports/<run>.partial`` is a run that is under way, or that was killed; ``reports/<run>`` is one that has ended, with
its pages and its manifest. The change of the name is the last act of a run. ``reports/latest`` leads to the newest run
that succeeded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stockkit.errors import LakeError, RunError
from stockkit.local_files import locked
from stockkit.workbook.manifest import PARTIAL

LATEST = "latest"
LOCK = ".lock"  # in the folder of a run, while a process works on it
MOST = 100  # runs that start within one second


@dataclass(frozen=True)
class RunFolder:
    """A run's folder while it is under way.

    Attributes:
        reports: where the folders of runs are.
        run: the run's id.
    """

    reports: Path
    run: str

    @property
    def partial(self) -> Path:
        """Where the run is made."""
        return self.reports / f"{self.run}{PARTIAL}"

    @property
    def final(self) -> Path:
        """Where it is once it has ended."""
        return self.reports / self.run

    @property
    def place(self) -> Path:
        """Where it is now."""
        return self.final if self.final.is_dir() else self.partial

    def finish(self) -> None:
        """Give it its final name.

        Raises:
            LakeError: that is not possible.
        """
        try:
            (self.partial / LOCK).unlink(missing_ok=True)
            self.partial.rename(self.final)
        except OSError as error:
            raise LakeError(f"cannot rename {self.partial} to {self.final.name}: {error.strerror}.") from error

    def abandon(self) -> None:
        """Leave nothing of a run that has not started."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def make_latest(self) -> None:
        """Let ``latest`` lead here, unless it leads to a newer run; where there are no links there is no ``latest``."""
        link, fresh = self.reports / LATEST, self.reports / f".{LATEST}.{self.run}"
        with suppress(OSError):
            if link.is_symlink() and link.exists() and os.readlink(link) > self.run:
                return
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.run)
            os.replace(fresh, link)


def make(reports: Path) -> RunFolder:
    """Make the folder of a new run, ``<UTC time>`` with a suffix where another run started in the same second.

    Raises:
        LakeError: the reports folder cannot be written.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    with _writing(reports):
        reports.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{k}" for k in range(2, MOST))):
            folder = RunFolder(reports, stamp + suffix)
            if folder.final.exists():
                continue
            with suppress(FileExistsError):
                folder.partial.mkdir()
                return folder
    raise RunError(f"a hundred runs started at {stamp} in {reports}.")


def reopen(reports: Path, run: str) -> RunFolder:
    """Take up the folder of a run that was killed or has failed, under its temporary name again.

    Raises:
        LakeError: the reports folder cannot be written.
    """
    folder = RunFolder(reports, run)
    with _writing(reports):
        if not folder.partial.is_dir():
            folder.final.rename(folder.partial)
    return folder


@contextmanager
def working(folder: RunFolder) -> Iterator[None]:
    """Keep other processes from the folder while the block runs.

    Raises:
        RunError: another process works on it.
    """
    with locked(folder.partial / LOCK, wait=False) as mine:
        if not mine:
            raise RunError(f"run {folder.run} is under way: another process works on {folder.partial}.")
        yield


@contextmanager
def _writing(reports: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LakeError(
            f"cannot write reports to {reports}: {error.strerror}. Name another folder: --reports."
        ) from error
