"""Executed notebooks and run manifests to HTML: a page for each notebook, one for the run, one over all runs.

A page asks for nothing when it is viewed: style and figures are inside it, there is no script, and its content
security policy stops whatever a notebook's own output would load. What comes from a manifest is escaped; what comes
from a notebook is the user's own and kept as it is. TeX is shown as typed, since nothing is there to typeset it.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from datetime import date, datetime
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

HAND_OVER = "application/vnd.stockkit+json"
_TEMPLATES = Path(__file__).with_name("templates")
_SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
_PIECE = re.compile(
    r'<h([1-6]) id="([^"]*)">(.*?)<a class="anchor-link"[^>]*>[^<]*</a></h\1>|<table\b.*?</table>', re.S
)
_TITLE = re.compile(r'<h1 id="[^"]*">(.*?)<a class="anchor-link"[^>]*>[^<]*</a></h1>', re.S)
_ROW = re.compile(r"<tr\b.*?</tr>", re.S)
_CELL = re.compile(r"<(t[hd])\b[^>]*>(.*?)</\1>", re.S)
_NUMBER = re.compile(r"[-+−]?(\d[\d,_]*(\.\d*)?|\.\d+)(e[-+]?\d+)?\s?%?$", re.I)
_UNKNOWN = {"", "NaN", "nan", "None", "NaT", "inf", "-inf", "...", "…", "–", "<NA>"}

Json = dict[str, Any]


def render_notebook(path: Path, *, manifest: Json) -> Path:
    """Render an executed notebook beside itself as `<stem>.html`, and return that path.

    Args:
        path: the executed `.ipynb`; its stem is the name of its step in the manifest.
        manifest: what `run.json` holds, as far as it is known.

    A notebook that holds a failed cell is shown as failed, whatever the manifest says.
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    steps = _steps(manifest)
    step = next((step for step in steps if step["name"] == path.stem), {"name": path.stem})
    failed = _prepare(notebook, step)
    title, sections, body = _body(notebook, step.get("title") or path.stem)
    status = "failed" if failed else step.get("status", "not in the manifest")
    earlier = [other for other in steps if other["name"] < path.stem and _has_page(path.parent, other)]
    later = [other for other in steps if other["name"] > path.stem and _has_page(path.parent, other)]
    page = {"title": title, "sections": sections, "body": body, "step": step, "status": status, "failed_cell": failed}
    page |= {"previous": earlier[-1] if earlier else None, "next": later[0] if later else None}
    return _write(path.with_suffix(".html"), "page.html.j2", run=manifest, **_common(manifest), **page)


def render_index(run_dir: Path) -> Path:
    """Render `<run_dir>/index.html` from `<run_dir>/run.json`: what the run found, then how it went.

    Raises:
        ValueError: run.json is absent, is not JSON or is not a manifest; the message says which.
    """
    run = _read(run_dir / "run.json")
    found = run.get("headlines") or {}
    forecast = found.get("forecast") or {}
    page = {"headlines": found, "forecast": forecast, "scale": _scale(forecast.get("rows") or [])}
    page["steps"] = [{**step, "page": _has_page(run_dir, step)} for step in _steps(run)]
    return _write(run_dir / "index.html", "index.html.j2", run=run, **page, **_common(run))


def render_runs(reports_dir: Path) -> Path:
    """Render `<reports_dir>/index.html`: every run, the newest first; one that cannot be read is listed as such."""
    folders = sorted(entry for entry in reports_dir.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return _write(reports_dir / "index.html", "runs.html.j2", runs=[_line(folder) for folder in reversed(folders)])


def _line(folder: Path) -> Json:
    line = {"name": folder.name, "page": (folder / "index.html").is_file()}
    try:
        run = _read(folder / "run.json")
    except ValueError as error:
        return {**line, "unreadable": str(error)}
    failed = [step["name"] for step in _steps(run) if step.get("status") == "failed"]
    return {**line, "run": run, "headlines": run.get("headlines") or {}, "failed": failed, **_common(run)}


def _read(path: Path) -> Json:
    """A manifest, of which nothing but the shape of its parts is trusted."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path.name} is not there") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(run, dict) or not isinstance(run.get("status"), str):
        raise ValueError(f"{path.name} is not the manifest of a run: it has no status")
    for key, kind in {"parameters": dict, "steps": list, "headlines": dict, "warnings": list}.items():
        if not isinstance(run.get(key) or kind(), kind):
            raise ValueError(f"{path.name} is not the manifest of a run: {key} is not a {kind.__name__}")
    return run


def _steps(run: Json) -> list[Json]:
    return sorted(run.get("steps") or [], key=lambda step: step["name"])


def _has_page(folder: Path, step: Json) -> bool:
    """Whether a step has a page, or will have one: pages are rendered one after the other."""
    return any((folder / f"{step['name']}{suffix}").is_file() for suffix in (".html", ".ipynb"))


def _common(run: Json) -> Json:
    """What every page says of its run: the date it stands for, how fresh the data is, how to run it again."""
    found, parameters = run.get("headlines") or {}, run.get("parameters") or {}
    last = found.get("last_session") or {}
    newest = max(last.values(), default=None)
    lagging = {symbol: session for symbol, session in sorted(last.items()) if session != newest}
    words = ["stockkit", "run", *([str(run["params_file"])] if run.get("params_file") else [])]
    if found.get("as_of") and parameters.get("as_of") not in (None, found["as_of"]):
        words += ["-p", f"as_of={found['as_of']}"]  # a moving date, pinned to the day that it meant
    return {
        "as_of": found.get("as_of") or parameters.get("as_of"),
        "last_session": newest,
        "lagging": lagging,
        "age": _days(newest, run.get("started_at")),
        "command": run.get("command") or shlex.join(words),
    }


def _days(session: object, started_at: object) -> int | None:
    try:
        return (datetime.fromisoformat(str(started_at)).date() - date.fromisoformat(str(session))).days
    except ValueError:
        return None


def _scale(rows: list[Json]) -> Json | None:
    """The shared axis of the interval strips in log return: its ends and its round ticks, zero among them."""
    ends = [row[key] for row in rows for key in ("mean", "lo80", "hi80", "lo95", "hi95") if _is_finite(row.get(key))]
    if not ends or max(ends) == min(ends):
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return {"lo": first * step, "hi": last * step, "ticks": [place * step for place in range(first, last + 1)]}


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _prepare(notebook: Any, step: Json) -> bool:
    """Drop banners and hand-overs and mark the cells that failed, in place; whether one did."""
    notebook.cells = [
        cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failed = [place for place, cell in enumerate(code) if _has_failed(cell)]
    for place in failed:
        unrun = sum(cell.execution_count is None for cell in code[place + 1 :])
        mark = {"first": place == failed[0], "unrun": unrun, "cause": _cause(code[place], step)}
        code[place].metadata["stockkit_failed"] = mark
    for cell in code:
        cell.outputs = [output for output in cell.outputs if _is_for_readers(output)]
    return bool(failed)


def _has_failed(cell: Any) -> bool:
    """An error output, or papermill's mark on a cell that never came back (a kernel that died, a time-out)."""
    mark = cell.metadata.get("papermill", {})
    unfinished = mark.get("exception") is True or mark.get("status") in ("failed", "running")
    return unfinished or any(output.output_type == "error" for output in cell.outputs)


def _cause(cell: Any, step: Json) -> str:
    errors = [output for output in cell.outputs if output.output_type == "error"] or [step.get("error") or {}]
    words = [str(errors[0][key]) for key in ("ename", "evalue") if errors[0].get(key)]
    return ": ".join(words) or "the cell never came back; its kernel died or was stopped"


def _is_for_readers(output: Any) -> bool:
    if output.output_type == "stream":
        output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)  # a progress bar leaves its last state
        return bool(output.text.strip())
    if output.output_type == "error":
        return True
    output.data.pop(HAND_OVER, None)
    return any(str(output.data.get(kind, "")).strip() for kind in _SHOWN)


def _body(notebook: Any, title: str) -> tuple[str, list[tuple[int, str, str]], str]:
    """The title, the sections (level, id, text) and the HTML of a notebook's cells."""
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": _SHOWN}}),
        template_name="basic",
        template_file="cells.html.j2",
        extra_loaders=[FileSystemLoader(_TEMPLATES)],
        extra_template_basedirs=[],  # or a folder that happens to be called "base" would take part
    )
    html, _ = exporter.from_notebook_node(notebook)
    if first := _TITLE.search(html):
        title, html = _plain(first[1]), html.replace(first[0], "", 1)
    sections, html = _arrange(re.sub(r"<style scoped[^>]*>.*?</style>\s*", "", html, flags=re.S))
    return title, sections, html


def _arrange(html: str) -> tuple[list[tuple[int, str, str]], str]:
    """Give each heading an id of its own, as a notebook may say "Result" twice, and each table a box that scrolls."""
    from markupsafe import escape

    sections: list[tuple[int, str, str]] = []
    taken = {"failed", "top", "code", ""}

    def piece(match: re.Match[str]) -> str:
        if not match[1]:
            label = f"Table: {sections[-1][2]}" if sections else "Table"
            return (
                f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{_align(match[0])}</div>'
            )
        names = (match[2] if turn == 1 else f"{match[2]}-{turn}" for turn in count(1))
        anchor = next(name for name in names if name not in taken)
        taken.add(anchor)
        sections.append((int(match[1]), anchor, _plain(match[3])))
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{match[1]} id="{anchor}">{match[3]} {link}</h{match[1]}>'

    html = _PIECE.sub(piece, html)
    return [section for section in sections if section[0] in (2, 3)], html


def _align(table: str) -> str:
    """Mark the cells of numeric columns, which are counted from the right, where no index shifts them."""
    rows = [[_plain(text) for kind, text in _CELL.findall(row) if kind == "td"] for row in _ROW.findall(table)]
    columns = [{*column} - _UNKNOWN for column in zip_longest(*(row[::-1] for row in rows), fillvalue="")]
    numeric = {place for place, texts in enumerate(columns) if texts and all(map(_NUMBER.match, texts))}

    def mark(row: re.Match[str]) -> str:
        place = count(len(_CELL.findall(row[0])) - 1, -1)
        return _CELL.sub(lambda cell: _mark(cell[0], next(place) in numeric), row[0])

    plain = re.sub(r' border="\d+"', "", table, count=1)
    return _ROW.sub(lambda row: row[0] if "colspan" in row[0] else mark(row), plain)


def _mark(cell: str, numeric: bool) -> str:
    return cell[:3] + " data-num" + cell[3:] if numeric else cell


def _plain(html: str) -> str:
    from markupsafe import Markup

    return Markup(html).striptags()


def _write(path: Path, template: str, **page: Any) -> Path:
    """Render a template, escaping what is put into it, and put the file in place in one move."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"price": _price, "percent": _percent, "utc": _utc, "duration": _duration, "value": _value}
    environment.tests["finite"] = _is_finite
    page["body"] = Markup(page.get("body", ""))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(environment.get_template(template).render(page) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _price(value: Any) -> str:
    return f"{value:,.{2 if abs(value) >= 10 else 4}f}" if _is_finite(value) else "–"


def _percent(value: Any) -> str:
    return f"{100 * value:+.2f}".replace("-", "−") if _is_finite(value) else "–"


def _utc(moment: object) -> str:
    return re.sub(r"(\d)T(\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|\+00:00)$", r"\1 \2 UTC", str(moment))


def _duration(seconds: Any) -> str:
    if not _is_finite(seconds):
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _value(value: Any) -> str:
    """A parameter as one would type it: bare words for strings, JSON for the rest."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
