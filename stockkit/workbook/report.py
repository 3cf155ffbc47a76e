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
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from stockkit.local_files import write_atomically
from stockkit.workbook.manifest import PARTIAL
from stockkit.workbook.pages import bodies
from stockkit.workbook.pages.markup import linked

WAY_OUT = "Free some space, make the folder writable, or name another folder with --reports."
LARGEST_MANIFEST = 20_000_000  # bytes
_TEMPLATES = Path(__file__).with_name("templates")

Json = dict[str, Any]


def render_notebook(path: Path, *, manifest: Json) -> Path:
    """Render an executed notebook beside itself as `<stem>.html`, and return that path.

    Args:
        path: the executed `.ipynb`; its stem is the name of its step in the manifest.
        manifest: what `run.json` holds, as far as it is known.

    A notebook that holds a failed cell is shown as failed, whatever the manifest says.
    """
    body = bodies.kept(path)
    steps = _steps(manifest, path.parent)
    step = next((step for step in steps if step["name"] == path.stem), {"name": path.stem})
    there = {step["name"] for step in steps if step["page"]}
    page: Json = {"title": body.title or step.get("title") or path.stem, "sections": body.sections}
    page |= {"body": linked(body.body, there), "step": step, "steps": steps}
    page |= {"failed_cell": body.failed, "unrun": body.unrun, **_common(manifest)}
    page["status"] = "failed" if body.failed else step.get("status", "not in the manifest")
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
    line: Json = {"name": folder.name, "page": (folder / "index.html").is_file()}
    if folder.name.endswith(PARTIAL):
        line["resumable"] = folder.name.removesuffix(PARTIAL)
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
