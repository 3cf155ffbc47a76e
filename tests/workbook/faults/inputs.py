"""Faults of what a run is given: nothing is started, and the command says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.workbook.faults.fault import Fault
from tests.workbook.faults.scene import STEP, Scene


def refused(name: str, says: str, words: Sequence[str] = (), **more: Any) -> Fault:
    """A fault that is found before anything starts."""
    return Fault(name, says, ["1"], words=words, code=2, kept=(), **more)


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Scene], None]:
    """Change the notebook as it lies on the disk."""

    def plant(scene: Scene) -> None:
        path = scene.workbook / "notebooks" / f"{STEP}.ipynb"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return plant


def two_writers(scene: Scene) -> None:
    scene.add("02_y", ["1"], writes=["t1"])
    scene.choose(STEP, "02_y")


def cut_off(scene: Scene) -> None:
    path = scene.workbook / "notebooks" / f"{STEP}.ipynb"
    path.write_text(path.read_text()[:200])


INPUTS = [
    refused("a parameter with a typo", "Did you mean 'lake'", ["-p", "lke=data/lake"]),
    refused("a parameter of a wrong type", "cell_timeout", ["-p", "cell_timeout=soon"]),
    refused("a secret that is missing", "STOCKKIT_SECRET_ALPHAVANTAGE",
            parameters='source = "alphavantage"\nsymbols = ["IBM"]'),
    refused("a source that is not there", "source folder /nowhere does not exist",
            parameters='source = "folder:/nowhere"\nsymbols = ["IBM"]'),
    refused("a parameters file that is not there", "No such file", params="params/none.yaml"),
    refused("a notebook that is not there", "there is no notebook '09_none'", plant=lambda s: s.choose("09_none")),
    refused("a notebook file that is cut off", "is not a notebook that can be run", plant=cut_off),
    refused("a kernel that this environment has not (`language: R`)", "is written in 'R'",
            plant=changed(lambda it: it["metadata"].update(kernelspec={"language": "R", "name": "ir"}))),
    refused("a cell tagged `skip-execution`", "a cell tagged `skip-execution`",
            plant=changed(lambda it: it["cells"][-1]["metadata"].update(tags=["skip-execution"]))),
    refused("two notebooks that write one table", "write 't1': let one do it", plant=two_writers, writes=["t1"]),
    refused("a table that nobody writes", "which no notebook of the chain writes", reads=["t9"]),
    refused("a lake that is a file", "is a file", ["-p", "lake=params/own.yaml"]),
]  # fmt: skip
