"""Executed notebooks and run manifests to HTML: a page for each notebook, one for the run, one over all runs.

A page asks for nothing when it is viewed: style and figures are inside it, there is no script, and its content
security policy stops whatever a notebook's own output would load. What comes from a manifest is escaped; what comes
from a notebook is the user's own and kept as it is. A dollar is a dollar: nothing is there to typeset TeX.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache
from html import escape, unescape
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from stockkit.files import write_atomically
from stockkit.workbook.execution import outputs
from stockkit.workbook.notebooks import library

WAY_OUT = "Free some space, make the folder writable, or name another folder with --reports."
LONGEST_LINE = 5_000  # characters of code
LARGEST_MANIFEST = 20_000_000  # bytes
_TEMPLATES = Path(__file__).with_name("templates")
_SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
_OPEN = re.compile(r'<h([1-6]) id="([^"<>]{0,2000})">|<table\b|<style scoped\b')
_ANCHOR = re.compile(r'<a class="anchor-link"[^<>]*>[^<>]*</a>$')
_CELL_OPEN = re.compile(r"<(t[hd])\b[^<>]*>")
_ROW_OPEN = re.compile(r"<tr\b")
_NOTEBOOK_LINK = re.compile(r'<a href="([\w-]+)\.ipynb(#[^"<>]*)?">')
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
    nbformat = library()
    notebook = nbformat.read(path, as_version=4)
    steps = _steps(manifest, path.parent)
    step = next((step for step in steps if step["name"] == path.stem), {"name": path.stem})
    failed, unrun = _prepare(notebook)
    title, sections, body = _body(notebook, step.get("title") or path.stem)
    there = {step["name"] for step in steps if step["page"]}
    page: Json = {"title": title, "sections": sections, "body": _link(body, there), "step": step, "steps": steps}
    page |= {"failed_cell": failed, "unrun": unrun, **_common(manifest)}
    page["status"] = "failed" if failed else step.get("status", "not in the manifest")
    return _write(path.with_suffix(".html"), "page.html.j2", run=manifest, **page)


def render_index(run_dir: Path, run: Json | None = None) -> Path:
    """Render `<run_dir>/index.html`: what the run found, then how it went.

    Args:
        run_dir: the run's folder.
        run: its manifest; None for that in `run.json`.

    Raises:
        ValueError: run.json is absent, is not JSON or is not a manifest; the message says which.
    """
    run = run or read(run_dir / "run.json")
    forecast = run["headlines"].get("forecast") or {}
    page = {"headlines": run["headlines"], "forecast": forecast, "scale": _scale(forecast.get("rows") or [])}
    page["steps"] = _steps(run, run_dir)
    return _write(run_dir / "index.html", "index.html.j2", run=run, **page, **_common(run))


def render_runs(reports_dir: Path, known: Mapping[str, Json] | None = None) -> Path:
    """Render `<reports_dir>/index.html`: every run, the newest first; one that cannot be read is listed as such.

    Args:
        reports_dir: the folder with a folder a run.
        known: manifests by the name of their folder, in place of its `run.json`.
    """
    entries = (entry for entry in reports_dir.iterdir() if entry.is_dir() and not entry.is_symlink())
    folders = sorted(entry for entry in entries if not entry.name.startswith("."))
    rows = [_row(folder, (known or {}).get(folder.name)) for folder in reversed(folders)]
    unreadable = sum(bad for _, bad in rows)
    return _write(reports_dir / "index.html", "runs.html.j2", rows=[row for row, _ in rows], unreadable=unreadable)


def _row(folder: Path, run: Json | None) -> tuple[Any, bool]:
    """The row of a run, made by itself so that a manifest of any content spoils its own row only; whether it did."""
    line = {"name": folder.name, "page": (folder / "index.html").is_file()}
    rows = _environment().get_template("row.html.j2").module
    try:
        run = run or read(folder / "run.json")
        failed = [step["name"] for step in _steps(run, folder) if step.get("status") == "failed"]
        return rows.row({**line, **_common(run), "run": run, "headlines": run["headlines"], "failed": failed}), False
    except Exception as error:  # what others left in a folder may be wrong in any way
        why = str(error) if type(error) is ValueError else f"run.json is not the manifest of a run: {error!r}"
        return rows.row({**line, "unreadable": why[:300]}), True


def read(path: Path) -> Json:
    """A manifest; a part that is absent or null is empty.

    Raises:
        ValueError: it cannot be read, is no JSON of a sane size and depth, or is no manifest; the message says which.
    """
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise ValueError(f"{path.stat().st_size:,} bytes are too many")
        run = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError(f"{path.name} cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be read: {getattr(error, 'strerror', error)}") from error
    if not isinstance(run, dict) or not isinstance(run.get("status"), str):
        raise ValueError(f"{path.name} is not the manifest of a run: it has no status")
    parts: Json = {"parameters": {}, "steps": [], "headlines": {}, "warnings": []}
    return {**run, **{key: run.get(key) or empty for key, empty in parts.items()}}


def _steps(run: Json, folder: Path) -> list[Json]:
    """The steps by name; `page` tells which has a page, or will have: pages are rendered one after the other."""
    steps = sorted(run.get("steps") or [], key=lambda step: step["name"])
    pages = [any((folder / f"{step['name']}{end}").is_file() for end in (".html", ".ipynb")) for step in steps]
    return [{**step, "page": page} for step, page in zip(steps, pages, strict=True)]


def _common(run: Json) -> Json:
    """What every page says of its run: the date it stands for, how fresh the data is, how to run it again."""
    headlines = run.get("headlines") or {}
    last = headlines.get("last_session") or {}
    newest = max(last.values(), default=None)
    return {
        "as_of": headlines.get("as_of"),
        "last_session": newest,
        "lagging": {symbol: session for symbol, session in sorted(last.items()) if session != newest},
        "age": _days(newest, run.get("started_at")),
        "command": _command(run, headlines.get("as_of")),
    }


def _days(session: object, started_at: object) -> int | None:
    try:
        return (datetime.fromisoformat(str(started_at)).date() - date.fromisoformat(str(session))).days
    except ValueError:
        return None


def _command(run: Json, as_of: str | None) -> str:
    """The command that makes the run again: every value spelt out, as the file may change; `as_of` as it was meant."""
    values = {name: value for name, value in (run.get("parameters") or {}).items() if value is not None}
    if "as_of" in values and as_of:
        values["as_of"] = as_of
    words = ["stockkit", "run", str(run.get("params_file") or "params/sample.yaml")]
    for name, value in values.items():
        bare = isinstance(value, str) and re.fullmatch(r"[\w./:^=-]+", value) and value != "null"
        words += ["-p", f"{name}={value if bare else json.dumps(value, ensure_ascii=False)}"]
    return shlex.join(words)


def _scale(rows: list[Json]) -> Json | None:
    """The shared axis of the interval strips in log return: its ends and its round ticks, zero among them."""
    ends = [row[key] for row in rows for key in ("mean", "lo80", "hi80", "lo95", "hi95") if _is_finite(row.get(key))]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    if low == high:
        return None
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return {"lo": low, "hi": high, "ticks": [place * step for place in places]}


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _prepare(notebook: Any) -> tuple[bool, int]:
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


def _body(notebook: Any, title: str) -> tuple[str, list[tuple[int, str, str]], str]:
    """The title, the sections (level, id, text) and the HTML of a notebook's cells."""
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter

    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # "$173 or $174" is two prices, not a formula: hide the dollars from nbconvert
            cell.source = re.sub(r"\\?\$", "\ue000", cell.source)
    exporter = HTMLExporter(
        template_name="basic",
        template_file="cells.html.j2",
        extra_loaders=[FileSystemLoader(_TEMPLATES)],
        extra_template_basedirs=[],  # or a folder of the working folder that happens to be called "base" takes part
    )
    return _arrange(exporter.from_notebook_node(notebook)[0].replace("\ue000", "$"), title)


def _arrange(html: str, title: str) -> tuple[str, list[tuple[int, str, str]], str]:
    """Take the title out, give each heading an id of its own, as a notebook may say "Result" twice, and each table
    a box that scrolls."""
    sections: list[tuple[int, str, str]] = []
    taken = {"failed", "top", "code", ""}
    titles: list[str] = []

    def heading(level: str, wish: str, inside: str) -> str | None:
        text, anchors = _ANCHOR.subn("", inside)
        if not anchors:
            return None
        if not titles and not sections and level == "1":
            titles.append(_plain(text))
            return ""
        anchor = next(name for turn in count(1) if (name := f"{wish}-{turn}" if turn > 1 else wish) not in taken)
        taken.add(anchor)
        sections.append((int(level), anchor, _plain(text)))
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text} {link}</h{level}>'

    def piece(opening: re.Match[str], inside: str) -> str | None:
        if opening[1]:
            return heading(opening[1], opening[2], inside)
        if opening[0].startswith("<style"):
            return ""
        label = escape(f"Table: {sections[-1][2]}" if sections else "Table")
        table = _align(f"{opening[0]}{inside}</table>")
        return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{table}</div>'

    html = _replace(html, _OPEN, piece)
    return (titles or [title])[0], [section for section in sections if section[0] in (2, 3)], html


def _replace(html: str, opening: re.Pattern[str], change: Callable[[re.Match[str], str], str | None]) -> str:
    """Replace what lies from an opening tag to its closing one, in time linear in the length; None leaves it alone.

    BeautifulSoup takes a third longer for a page and rewrites what notebooks put out; with the parser of Python 3.11.7
    it is quadratic on tags that never end.
    """
    done, parts = 0, []
    absent: set[str] = set()  # closing tags that do not come any more
    for match in opening.finditer(html):
        name = re.split(r"\W", match[0][1:], maxsplit=1)[0]
        close = f"</{name}>"
        end = -1 if close in absent or match.start() < done else html.find(close, match.end())
        if end >= 0:
            new = change(match, html[match.end() : end])
            last = end + len(close)
            parts += [html[done : match.start()], html[match.start() : last] if new is None else new]
            done = last
        elif match.start() >= done:
            absent.add(close)
    return "".join([*parts, html[done:]])


def _link(html: str, pages: set[str]) -> str:
    """Lead links between notebooks to their pages; where this run has no such page, leave the words alone."""

    def lead(link: re.Match[str], words: str) -> str:
        return f'<a href="{link[1]}.html{link[2] or ""}">{words}</a>' if link[1] in pages else words

    return _replace(html, _NOTEBOOK_LINK, lead)


def _align(table: str) -> str:
    """Mark the cells of numeric columns, which are counted from the right, where no index shifts them."""
    rows: list[list[str]] = []

    def read_row(opening: re.Match[str], row: str) -> None:
        rows.append([])
        _replace(row, _CELL_OPEN, read_cell)

    def read_cell(opening: re.Match[str], text: str) -> None:
        if opening[1] == "td":
            rows[-1].append(_plain(text))

    _replace(table, _ROW_OPEN, read_row)
    columns = [{*column} - _UNKNOWN for column in zip_longest(*(row[::-1] for row in rows), fillvalue="")]
    numeric = {place for place, texts in enumerate(columns) if texts and all(map(_NUMBER.match, texts))}

    def mark_row(opening: re.Match[str], row: str) -> str | None:
        if "colspan" in row:
            return None
        place = count(len(_CELL_OPEN.findall(row)) - 1, -1)

        def mark(cell: re.Match[str], text: str) -> str:
            return f"{cell[0][:3]}{' data-num' * (next(place) in numeric)}{cell[0][3:]}{text}</{cell[1]}>"

        return f"{opening[0]}{_replace(row, _CELL_OPEN, mark)}</tr>"

    return _replace(re.sub(r' border="\d+"', "", table, count=1), _ROW_OPEN, mark_row)


def _plain(html: str) -> str:
    return unescape(re.sub(r"<[^<>]*>", "", html)).strip()


def _write(path: Path, template: str, **page: Any) -> Path:
    """Fill a template, escaping what is put into it, and put the file in place in one move."""
    html = _environment().get_template(template).render(page) + "\n"
    write_atomically(path, html.encode("utf-8", "replace"), way_out=WAY_OUT)
    return path


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True)
    environment.tests["finite"] = _is_finite
    return environment
