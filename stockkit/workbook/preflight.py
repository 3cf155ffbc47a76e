"""What a run needs around it, looked at before the first kernel starts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stockkit.errors import ParamError, RunError
from stockkit.intake.sources import open_source
from stockkit.lake.tables import Lake
from stockkit.workbook import doctor
from stockkit.workbook.notebooks import Notebook
from stockkit.workbook.param_values import ENGINES

MODEL_EXTRAS = {"prophet": "prophet", "lstm": "deep"}
LEAST_FREE = {"reports": 20_000_000, "lake": 100_000_000}  # bytes; the sample run takes a tenth


def check(chain: Sequence[Notebook], values: Mapping[str, Any], lake: Lake, root: Path) -> None:
    """Refuse what would only fail inside a notebook: an absent source, key or extra, a horizon nobody forecasts.

    Raises:
        ParamError, StockkitError: what is missing, and the way out.
    """
    used = {name: values[name] for notebook in chain for name in notebook.parameters}
    for name in ("source", "check"):
        if used.get(name):
            open_source(used[name], root=root, lake=lake.folder, secrets_client=lake.secrets_client)
    engine = used.get("engine", "local")
    _check_extra(ENGINES[engine].extra, f"engine={engine}")
    for model in used.get("tried", ()):
        _check_extra(MODEL_EXTRAS.get(model, ""), f"tried=[…, {model}]")
    if used.get("user") or used.get("groups") == ["user"]:
        from stockkit.workbook import user_file

        user_file.check(used.get("user", ""), root, used)
    horizon, horizons = used.get("horizon"), used.get("horizons")
    if horizons and horizon is not None and horizon not in horizons:
        raise ParamError(
            f"horizon {horizon} is not among horizons {horizons}, so nobody would forecast it: "
            f"give -p 'horizons={sorted({*horizons, horizon})}' too, or one of them as horizon."
        )


def _check_extra(extra: str, what: str) -> None:
    for package in doctor.missing(extra):
        raise ParamError(f"{what} needs the package {package}: pip install 'stockkit[{extra}]'.")


def check_space(reports: Path, lake: Lake) -> None:
    """Refuse to start where the disk is all but full.

    Raises:
        RunError: names the folder and what is free.
    """
    for what, folder in (("reports", reports), ("lake", lake.folder)):
        if folder is None:
            continue
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
        if (free := shutil.disk_usage(there).free) < LEAST_FREE[what]:
            way_out = (
                f"Free some space, or name another folder with {'--reports' if what == 'reports' else '-p lake='}."
            )
            raise RunError(
                f"the disk of the {what} folder {folder} has {free / 1e6:.1f} MB left, and a run needs "
                f"{LEAST_FREE[what] / 1e6:.0f}: nothing was started. {way_out}"
            )
