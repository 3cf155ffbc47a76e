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
from pathlib import Path
from typing import Any

from stockkit.errors import LakeError
from stockkit.lake.raw import write_atomically
from stockkit.workbook.report import WAY_OUT

ENGINE = "stockkit"
KERNEL_FILE = re.compile(r"\S*ipykernel_\d+\S*\.py")
OnCell = Callable[[int, int], None]


def execute(
    source: Path, output: Path, parameters: Mapping[str, Any], *, cwd: Path, on_cell: OnCell
) -> dict[str, Any] | None:
    """Run a notebook and write the executed copy to `output`.

    Args:
        source: the notebook; left untouched.
        output: where the executed copy goes, complete up to the failing cell if there is one.
        parameters: values for its parameters cell.
        cwd: the kernel's working folder.
        on_cell: called with (cell, of) before each cell.

    Returns:
        None, or the error: cell (its execution count), ename, evalue, source.

    Raises:
        LakeError: the copy cannot be written.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    _register_engine()
    logging.getLogger("papermill").setLevel(logging.WARNING)
    error = None
    try:
        papermill.execute_notebook(
            str(source),
            str(output),
            parameters=dict(parameters),
            engine_name=ENGINE,
            progress_bar=False,
            cwd=str(cwd),
            on_cell=on_cell,
        )
    except PapermillExecutionError as failed:
        error = {
            "cell": failed.exec_count,
            "ename": failed.ename,
            "evalue": str(failed.evalue),
            "source": failed.source,
        }
    except DeadKernelError as failed:
        evalue = f"{failed} (killed, or out of memory)"
        error = {"cell": None, "ename": "DeadKernelError", "evalue": evalue, "source": ""}
    except OSError as failed:
        raise LakeError(f"cannot write {output}: {failed.strerror or failed}. {WAY_OUT}") from failed
    if output.exists():
        _strip_volatile(output)
    return error


def _register_engine() -> None:
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):  # type: ignore[misc]
        """papermill's own engine, telling which cell it is at and talking to the kernel in private."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, on_cell: OnCell, **options: Any) -> Any:
            start = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> Any:
                on_cell((cell_index or 0) + 1, len(nb_man.nb.cells))
                return start(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            with tempfile.TemporaryDirectory(prefix="stockkit-") as folder:
                return super().execute_managed_notebook(nb_man, kernel_name, config=_settings(folder), **options)

    papermill_engines.register(ENGINE, Engine)


def _settings(folder: str) -> Any:
    """Let kernel and client meet at sockets in `folder`, which is this user's alone, not at open TCP ports.

    The kernel's own log says nothing: one that is told to end is interrupted first and may log that as an error.
    """
    from traitlets.config import Config

    quiet = {"extra_arguments": ["--IPKernelApp.log_level=CRITICAL"]}
    if os.name != "posix":
        return Config(NotebookClient=quiet)
    meeting = {"transport": "ipc", "ip": os.path.join(folder, "kernel")}
    return Config(NotebookClient=quiet, ConnectionFileMixin=meeting)


def _strip_volatile(path: Path) -> None:
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    given = notebook.metadata.pop("papermill", {}).get("parameters", {})
    notebook.metadata["papermill"] = {"parameters": given}
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output["text"] = KERNEL_FILE.sub("cell", output["text"])
    write_atomically(path, (nbformat.writes(notebook) + "\n").encode(), way_out=WAY_OUT)
