"""The page docs/faults.md, made of the faults that the tests inject: ``python -m tests.workbook.faults.page``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from tests.conftest import ROOT
from tests.workbook.faults.cells import CELLS
from tests.workbook.faults.disks import DISKS
from tests.workbook.faults.fault import ALL, Fault
from tests.workbook.faults.inputs import INPUTS
from tests.workbook.faults.kernels import KERNELS
from tests.workbook.faults.signals import SIGNALS
from tests.workbook.faults.sources import SOURCES
from tests.workbook.faults.stores import STORES
from tests.workbook.faults.tables import TABLES

PAGE = ROOT / "docs" / "faults.md"
PARTS = {
    "Cells": CELLS, "Tables": TABLES, "Kernels, signals, and what surrounds a run": [*KERNELS, *SIGNALS],
    "Disks": DISKS,
    "S3 and sources": [*STORES, *SOURCES], "Before anything starts": INPUTS,
}  # fmt: skip
HEAD = """# What a run does when something goes wrong

<!-- Made by `python -m tests.workbook.faults.page`; a test compares it with the faults that are injected. -->

The tests inject {count} faults into runs of the real command, one after the other, and one judge looks at each: the
exit code, a status "failed" whose reason names the cause, one notification, what is kept, no process and no temporary
folder left, no traceback, `latest` left alone, and "succeeded" said nowhere. *Kept* is the executed notebook (N) up
to the cell that failed, its page (P), the report (R), and `run.json` (J). A disk that is full may keep the run's
temporary name. A run that is killed notifies nobody; the next one of its parameters file does.
"""
LIMITS = """
## Limits

- A process that a cell starts is found by a mark in its environment, or as a descendant of a kernel that still runs.
  A daemon that emptied its environment outlives the run where its kernel dies before it.
- An error of a task of asyncio that a cell asks for later counts as asked for; a thread that is still at work when
  the last cell ends is ended with the kernel, without a word.
- Before the command has read its parameters, a signal ends it as it would any program: nothing has been started.
- A clock that is set back gives a run an earlier name; `latest` stays with the later one until the clock has caught
  up.
"""


def write() -> str:
    """The page."""
    count = sum(len(faults) for faults in PARTS.values())
    lines = [_wide(HEAD.format(count=count)) + "\n"]
    for part, faults in PARTS.items():
        lines += [f"## {part}\n", "| fault | it says | exit | kept |", "|---|---|---|---|", *_rows(faults), ""]
    return "\n".join(lines).rstrip("\n") + "\n\n" + _wide(LIMITS) + "\n"


def _wide(text: str) -> str:
    """Paragraphs and items of a list, as wide as the other pages."""
    parts = [part for block in text.strip().split("\n\n") for part in ("", *re.split(r"\n(?=- )", block))]
    wide = [
        textwrap.fill(" ".join(part.split()), 148, subsequent_indent="  " * part.startswith("- ")) for part in parts
    ]
    return "\n".join(wide).strip()


def _rows(faults: Sequence[Fault]) -> Iterator[str]:
    for fault in faults:
        kept = "".join(letter for part, letter in zip(ALL, "NPRJ", strict=True) if part in fault.kept) or "–"
        says = fault.says.replace("|", "\\|")
        yield f"| {fault.name} | {says} | {fault.code if fault.code >= 0 else f'signal {-fault.code}'} | {kept} |"


if __name__ == "__main__":
    PAGE.write_text(write())
