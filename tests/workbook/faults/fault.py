"""What a fault is: how it is planted, and what a run has to say, to return and to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.workbook.faults.scene import Scene

NOTEBOOK, PAGE, INDEX, MANIFEST = "notebook", "page", "index", "run.json"
ALL = (NOTEBOOK, PAGE, INDEX, MANIFEST)
ABSENT = "nothing was started"

Around = Callable[["Scene"], AbstractContextManager[object]]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: what goes wrong, as the page names it.
        says: a part of the reason in run.json, or of the error where nothing was started.
        cells: of the notebook 02_x, behind one that leaves evidence; `{name}` of the scene's places is filled in.
        plant: what else is to be planted before the run.
        around: what surrounds the run: a mount, a patch, a server.
        code: the exit code.
        kept: what is left to look at.
        writes, reads: what 02_x declares.
        words, env: more of the command, and of its environment.
        tags: of the first of the cells.
        params: the parameters file.
        parameters: more lines of the notebook's parameters cell.
        in_step: whether the step is what fails; a run can also fail once its steps have succeeded.
        evidence: whether the first cell was run, so that the notebook kept shows what it put out.
        stale: whether run.json may be that of a moment before, as its disk takes no more; then the command says why.
        killed: whether nobody is left who could notify, or give the folder of the run its name.
        run: how the command is run, where it is not in this process.
    """

    name: str
    says: str
    cells: Sequence[str] = ()
    plant: Callable[[Scene], object] = lambda scene: None
    around: Around = lambda scene: nullcontext()
    code: int = 1
    kept: Sequence[str] = ALL
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    words: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    params: str = "params/own.yaml"
    parameters: str = ""
    in_step: bool = True
    evidence: bool = True
    stale: bool = False
    killed: bool = False
    run: Callable[[Scene, Sequence[str]], tuple[int, str, str]] | None = None

    @property
    def slug(self) -> str:
        """The name as pytest shows it."""
        return self.name.replace("`", "").replace(" ", "-")
