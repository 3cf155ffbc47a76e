"""The cells of an executed notebook to HTML, by nbconvert and a template of ours."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from stockkit.workbook.execution import outputs

TEMPLATES = Path(__file__).parents[1] / "templates"
LONGEST_LINE = 5_000  # characters of code
_SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
_ONE_AT_A_TIME = Lock()  # the exporter is one; its work is Python's, and no quicker in two threads


def prepare(notebook: Any) -> tuple[bool, int]:
    """Drop banners and hand-overs and mark failed cells, in place; whether one failed, and how many never ran."""
    notebook.cells = [
        cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    unrun = sum(cell.execution_count is None for cell in code)
    failed = [cell for cell in code if any(output.output_type == "error" for output in cell.outputs)]
    for cell in failed:
        cell.metadata["stockkit_failed"] = {"first": cell is failed[0], "unrun": unrun}
    for cell in code:
        if max(map(len, cell.source.splitlines())) > LONGEST_LINE:  # colouring it may take minutes
            cell.metadata["stockkit_plain"] = True
        outputs.cap(cell)
        cell.outputs = [output for output in cell.outputs if _is_for_readers(output)]
    return bool(failed), unrun


def markup(notebook: Any) -> str:
    """The HTML of a notebook's cells; the notebook is changed."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # "$173 or $174" is two prices, not a formula: hide the dollars from nbconvert
            cell.source = re.sub(r"\\?\$", "\ue000", cell.source)
    with _ONE_AT_A_TIME:
        return _rendered(notebook).replace("\ue000", "$")


def _rendered(notebook: Any) -> str:
    """What the template makes of a notebook; `HTMLExporter` would parse it and write it anew, which takes longer."""
    from nbconvert.exporters import TemplateExporter
    from nbconvert.filters import Highlight2HTML

    exporter = _exporter()
    lexer = notebook.metadata.get("language_info", {}).get("pygments_lexer") or "ipython3"
    exporter.register_filter("highlight_code", Highlight2HTML(pygments_lexer=lexer))
    return str(TemplateExporter.from_notebook_node(exporter, notebook)[0])


@cache
def _exporter() -> Any:
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter

    return HTMLExporter(
        template_name="basic",
        template_file="cells.html.j2",
        extra_loaders=[FileSystemLoader(TEMPLATES)],
        extra_template_basedirs=[],  # or a folder of the working folder that happens to be called "base" takes part
        default_preprocessors=["nbconvert.preprocessors.HighlightMagicsPreprocessor"],
        optimistic_validation=True,
    )


def _is_for_readers(output: Any) -> bool:
    """Keep the best form of an output; one that has none, as a hand-over from notebook to runner, is not shown."""
    if output.output_type == "stream":
        output.text = _last_states(output.text)
        return bool(output.text.strip())
    if output.output_type == "error":
        return True
    shown = next((kind for kind in _SHOWN if str(output.data.get(kind, "")).strip()), None)
    for other in set(output.data) - {shown}:
        del output.data[other]
    return shown is not None


def _last_states(text: str) -> str:
    """Of a line that was written over, as by a progress bar, its last state."""
    *ended, last = text.split("\n")
    lines = [line[line.rfind("\r", 0, -1) + 1 :] for line in ended]
    return "\n".join([*lines, last[last.rfind("\r") + 1 :]])
