"""The cells of notebooks run one after the other in this process: what a kernel would show, without starting one."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from stockkit import causality, features
from stockkit.plots import figure
from stockkit.provenance import RUN_VARIABLE
from stockkit.workbook.execution.outputs import HANDOVER
from stockkit.workbook.notebooks import load
from tests.conftest import ROOT

CHAIN = ("01_ingest", "02_query", "03_features", "04_model", "05_visualise", "00_overview")


class Page:
    """What a notebook shows: its prose and, cell by cell, the texts of its outputs; and what it hands over."""

    def __init__(self) -> None:
        self.prose: list[str] = []
        self.shown: list[str] = []
        self.headlines: dict[str, Any] = {}
        self.names: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """Prose and outputs, one below the other."""
        return "\n".join([*self.prose, *self.shown])


def run(workbook: Path, name: str, **parameters: Any) -> Page:
    """Run one notebook of the workbook with these parameters (others are ignored); an error in a cell is raised."""
    values = {key: value for key, value in parameters.items() if key in load(ROOT / "notebooks", name).parameters}
    document, page = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4), Page()
    shell = InteractiveShell.instance()
    shell.reset()  # names do not go from notebook to notebook
    with _at(workbook), _quiet():
        for cell in document.cells:
            if cell.cell_type == "markdown":
                page.prose.append(cell.source)
                continue
            with capture_output() as caught:
                result = shell.run_cell(cell.source)
            result.raise_error()
            shown = [output.data or {} for output in caught.outputs]
            for data in [*shown, shell.display_formatter.format(result.result)[0]]:
                _keep(page, data)
            if "parameters" in cell.metadata.get("tags", []):
                shell.push(values)
    page.names = dict(shell.user_ns)
    return page


def chain(workbook: Path, names: Sequence[str] = CHAIN, **parameters: Any) -> dict[str, Page]:
    """Run several notebooks, in order."""
    return {name: run(workbook, name, **parameters) for name in names}


def _keep(page: Page, data: Mapping[str, Any]) -> None:
    page.headlines |= data.get(HANDOVER, {}).get("headlines", {})
    page.shown.append(str(data.get("text/markdown", data.get("text/html", data.get("text/plain", "")))))


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv(RUN_VARIABLE, "test")
        # to draw the figures takes longer than all else; their titles and alt texts are made anyway
        patch.setattr(figure.Plot, "_repr_mimebundle_", lambda plot, **_: ({"text/plain": plot.alt}, {}))
        patch.setattr(causality, "audit", _audit)
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")  # no processes: to start them takes longer than the fits
        yield


audit = causality.audit


def _audit(what: Any, *more: Any, **options: Any) -> causality.Audit:
    """The audit; what it says of the catalogue hangs on no data and is found out once for all notebooks."""
    recomputes = more or options or not isinstance(what, list) or set(what) & set(features.names("user"))
    return audit(what, *more, **options) if recomputes else _of_the_catalogue(*what)


@functools.cache
def _of_the_catalogue(*names: str) -> causality.Audit:
    return audit(list(names))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield
