"""Execute one notebook in a fresh kernel by papermill, and keep the evidence, whatever happens.

The executed notebook carries no time stamps, durations, paths or random cell ids, so two runs on the same
inputs give the same bytes; seconds stand in the run's manifest.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stockkit.errors import LakeError
from stockkit.files import write_atomically
from stockkit.workbook.execution.limits import Clock
from stockkit.workbook.execution.processes import MARK, Guard
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.manifest import Failure
from stockkit.workbook.report import WAY_OUT

ENGINE = "stockkit"
KERNEL_FILE = re.compile(r"\S*ipykernel_\d+\S*\.py")
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
OPTIMIZED = "PYTHONOPTIMIZE"  # a kernel with it would skip every assert
OnCell = Callable[[int, int], None]


@dataclass(frozen=True)
class Conditions:
    """Under which a notebook runs: folder, time limits, guard, what to strike out, and more of its environment."""

    cwd: Path
    clock: Clock
    guard: Guard
    redaction: Redaction
    on_cell: OnCell
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Executed:
    """How it ended: None or the error, and warnings of the execution."""

    error: Failure | None
    warnings: list[str] = field(default_factory=list)


def execute(source: Path, output: Path, parameters: Mapping[str, Any], under: Conditions) -> Executed:
    """Run a notebook and write the executed copy to `output`, complete up to the failing cell if there is one.

    Args:
        source: the notebook; left untouched.
        output: where the executed copy goes.
        parameters: values for its parameters cell.
        under: the conditions.

    Raises:
        LakeError: the copy cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=under.guard.folder, ignore_cleanup_errors=True) as folder:
        job = _job(Path(folder), output, under)
        try:
            error = _run(job, source, parameters, under)
        except BaseException:
            with suppress(LakeError):  # the disk may be what stopped it
                job.save(job.notebook)
            raise
        finally:
            under.guard.sweep()
    job.save(job.notebook)
    error = error and Failure(**under.redaction.all(vars(error)))
    return Executed(error, under.redaction.all(job.warnings))


def _job(folder: Path, output: Path, under: Conditions) -> Any:
    from stockkit.workbook.execution.engine import Job

    (temporary := folder / "tmp").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != OPTIMIZED}
    if not _is_writable(Path("~").expanduser()):  # as on Lambda; IPython keeps a profile there
        environment["IPYTHONDIR"] = str(folder / "ipython")
    environment |= {**under.environment, MARK: under.guard.mark, "TMPDIR": str(temporary)}

    def save(notebook: Any) -> None:
        if notebook is not None:
            _write(output, notebook, under.redaction)

    return Job(folder, environment, under.clock, under.redaction, under.on_cell, save)


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _run(job: Any, source: Path, parameters: Mapping[str, Any], under: Conditions) -> Failure | None:
    """Run it by papermill; the error, None where every cell ran and ended well."""
    import papermill
    from papermill.engines import papermill_engines
    from papermill.execute import ERROR_MARKER_TAG

    from stockkit.workbook.execution import engine

    papermill_engines.register(ENGINE, engine.Engine)
    logging.getLogger("papermill").setLevel(logging.CRITICAL + 1)  # all that it says is in the error
    how = {"kernel_name": engine.KERNEL, "language": "python", "engine_name": ENGINE, "progress_bar": False}
    try:
        papermill.execute_notebook(str(source), None, dict(parameters), cwd=str(under.cwd), job=job, **how)
    except LakeError:
        raise
    except papermill.exceptions.PapermillExecutionError as failed:
        banners = 2 * (ERROR_MARKER_TAG in job.notebook.cells[0].metadata.get("tags", ()))
        job.at, job.failure = failed.cell_index + banners, job.failure or (failed.ename, str(failed.evalue))
        return engine.failure_of(job, failed)
    except Exception as failed:  # whatever ends a notebook, it has not succeeded
        return engine.failure_of(job, failed)
    return engine.failure_of(job) if job.failure else _unrun(job.notebook)


def _unrun(notebook: Any) -> Failure | None:
    """An error where a code cell has no result, for whatever reason."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, 1):
        if cell.execution_count is None:
            evalue = "the cell was not run, so the notebook did not do what it says."
            return Failure(cell=number, where="", evalue=evalue, source=cell.source)
    return None


def _write(path: Path, notebook: Any, redaction: Redaction) -> None:
    import nbformat

    plain = nbformat.from_dict(_without_volatile(redaction.all(notebook)))
    write_atomically(path, (nbformat.writes(plain) + "\n").encode("utf-8", "replace"), way_out=WAY_OUT)


def _without_volatile(notebook: dict[str, Any]) -> dict[str, Any]:
    given = notebook["metadata"].pop("papermill", {}).get("parameters", {})
    notebook["metadata"]["papermill"] = {"parameters": given}
    if notebook["metadata"].get("kernelspec", {}).get("name") != KERNELSPEC["name"]:
        notebook["metadata"]["kernelspec"] = KERNELSPEC  # what ran it
    notebook["metadata"].get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"cell-{number}"
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output["text"] = KERNEL_FILE.sub("cell", output["text"])
    return notebook
