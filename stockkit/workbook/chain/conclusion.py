"""How a run ends: its pages, its last manifest, its final name; and the pages of an earlier run, made anew."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from stockkit.errors import LakeError, RunError
from stockkit.local_files import write_atomically
from stockkit.workbook import report
from stockkit.workbook.chain.run_folder import RunFolder
from stockkit.workbook.chain.stopping import Stop
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.manifest import FAILED, INTERRUPTED, SUCCEEDED, Manifest
from stockkit.workbook.masking import scanning
from stockkit.workbook.pages import bodies

INCOMPLETE = "Incomplete: "


def conclude(folder: RunFolder, manifest: Manifest, redaction: Redaction, stop: Stop) -> None:
    """Write the pages, then "succeeded", when all of them are there; without them the run has failed.

    Raises:
        LakeError: the folder cannot be written; the run has failed, and says so as far as the disk allows.
    """
    manifest.gather()
    stop.confirm()
    _decide(manifest, _reason(manifest, stop), redaction)
    try:
        manifest.warnings += scanning.scan(folder.partial, redaction)  # before pages are made of it
        final = redaction.all(asdict(manifest))
        _render_notebooks(folder.partial, final)
        report.render_index(folder.partial, final)
        bodies.drop(folder.partial)
        manifest.warnings += scanning.scan(folder.partial, redaction)
        _check_pages(folder.partial, manifest)
        stop.confirm()
        if manifest.status == SUCCEEDED and stop.reason:
            raise RunError(f"it was {stop.reason} while its pages were made")
        save(folder.partial, manifest, redaction)
        folder.finish()
        report.render_runs(folder.reports, {manifest.run: final})
    except Exception as error:
        _decide(manifest, _reason(manifest, stop) or f"The report could not be made: {error}", redaction)
        _withdraw(folder, manifest, redaction)
        if isinstance(error, LakeError):
            raise
        return
    if manifest.status == SUCCEEDED:
        folder.make_latest()


def is_incomplete(manifest: Manifest) -> bool:
    """Whether every step ran and the pages stand, but not everything that was asked for is there."""
    return str(manifest.reason).startswith(INCOMPLETE)


def save(folder: Path, manifest: Manifest, redaction: Redaction) -> None:
    """Write ``run.json``.

    Raises:
        LakeError: that is not possible.
    """
    body = json.dumps(redaction.all(asdict(manifest)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / "run.json", body.encode("utf-8", "replace"), way_out=report.WAY_OUT)


def render_again(folder: Path) -> None:
    """Make the pages of an earlier run anew.

    Raises:
        RunError: the folder holds no readable run.json.
    """
    try:
        _render_notebooks(folder, report.read(folder / "run.json"))
        report.render_index(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{folder} is no run that can be shown: {str(error)[:300]}") from error
    report.render_runs(folder.parent)


def _decide(manifest: Manifest, reason: str | None, redaction: Redaction) -> None:
    manifest.status = FAILED if reason else SUCCEEDED
    manifest.reason = reason and redaction.text(reason)


def _reason(manifest: Manifest, stop: Stop) -> str | None:
    """Why a run that ended is not green, None where it is."""
    for step in manifest.steps:
        if (error := step.error) and error.ename != INTERRUPTED:
            where = f" cell {error.cell}" if error.cell is not None else ""
            return f"{step.name}{where}: {error.ename}: {error.evalue}"
    if stop.lost or any(step.status != SUCCEEDED for step in manifest.steps):
        return interruption(manifest, stop.reason or "the run ended early")
    missing = manifest.headlines.get("missing_symbols", {})
    return f"{INCOMPLETE}{'; '.join(missing.values())}" if missing else None


def interruption(manifest: Manifest, why: str) -> str:
    """The sentences for a run that has not come to its end."""
    under_way = [step.name for step in manifest.steps if step.status == FAILED]
    done = [step.name for step in manifest.steps if step.status == SUCCEEDED]
    where = f"in {', '.join(under_way)}" if under_way else f"after {done[-1]}" if done else "before its first notebook"
    return f"{INTERRUPTED}: {why} {where}. Go on with: stockkit run --resume {manifest.run}"


def is_interrupted(manifest: Manifest) -> bool:
    """Whether the run was stopped, and can go on."""
    return str(manifest.reason).startswith(f"{INTERRUPTED}: ")


def _check_pages(folder: Path, manifest: Manifest) -> None:
    ran = [step.name for step in manifest.steps if step.status == SUCCEEDED]
    pages = [folder / f"{name}.html" for name in (*ran, "index")]
    if lost := [page.name for page in pages if not page.is_file() or not page.stat().st_size]:
        raise RunError(f"{', '.join(lost)} is not there.")


def _withdraw(folder: RunFolder, manifest: Manifest, redaction: Redaction) -> None:
    """Say as far as the disk allows that the run failed; what says otherwise goes."""
    place = folder.place
    for name in ("index.html", "run.json"):  # nor can a full disk keep the new ones from taking their place
        with suppress(OSError):
            (place / name).unlink(missing_ok=True)
    with suppress(LakeError):
        save(place, manifest, redaction)
    with suppress(Exception):  # it may be what could not be rendered
        report.render_index(place, redaction.all(asdict(manifest)))
    if place == folder.partial and not _claims_success(place) and _is_clean(place, redaction):
        with suppress(LakeError):
            folder.finish()
    with suppress(Exception):
        report.render_runs(folder.reports)


def _is_clean(place: Path, redaction: Redaction) -> bool:
    """Whether no file holds a secret that is known; what may hold one is not published."""
    with suppress(Exception):
        scanning.scan(place, redaction)
        return True
    return False


def _claims_success(place: Path) -> bool:
    """Whether a manifest that cannot be replaced or deleted says what is not so."""
    with suppress(ValueError):
        return bool(report.read(place / "run.json")["status"] == SUCCEEDED)
    return False


def _render_notebooks(folder: Path, manifest: report.Json) -> None:
    for step in manifest["steps"]:
        if (path := folder / f"{step['name']}.ipynb").exists():
            report.render_notebook(path, manifest=manifest)
