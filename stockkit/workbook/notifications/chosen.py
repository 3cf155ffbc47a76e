"""Who is told the outcome of a run: as the command says or, where it says nothing, the parameters file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stockkit.errors import ParamError
from stockkit.workbook import param_values, params
from stockkit.workbook.manifest import PARTIAL
from stockkit.workbook.notifications import notes
from stockkit.workbook.notifications.announcing import Announcer

ADDRESS = "STOCKKIT_REPORTS_URL"


def announcer(
    params_file: Path,
    overrides: Sequence[str],
    reports: Path,
    *,
    channels: Sequence[str] | None = None,
    when: str | None = None,
) -> Announcer:
    """What tells the outcome of a run, with its channels opened.

    Args:
        params_file: may be wrong in any way: that, too, is an outcome to be told over `channels`.
        overrides: ``name=value`` words, stronger than the file. reports: where the folders of runs are.
        channels, when: stronger than `notify` and `notify_on` of the file; None where the command does not say.

    Raises:
        ParamError: there is no such channel, what it needs is missing, or there is no such `when`.
    """
    values: dict[str, Any] = {}
    with suppress(ParamError):  # the plan says what is wrong
        values |= params.load(params_file).values
    with suppress(ParamError):
        values |= params.parse_overrides(overrides)
    given = {"notify": channels or None, "notify_on": when}
    for name, default in params.NOTIFYING.items():
        if given[name] is None:
            given[name] = params.convert(values[name], default, name) if name in values else default
    when = param_values.check("notify_on", given["notify_on"])
    opened: Mapping[str, Any] = {}
    if given["notify"]:
        from stockkit.workbook.notifications.channels import open_channels  # many imports, which most runs do without

        opened = open_channels(given["notify"], root_of(params_file))
    return Announcer(opened, str(when), reports, f"params/{params_file.name}", os.environ.get(ADDRESS, ""))


def params_file_of(reports: Path, run: str) -> Path:
    """The parameters file of an earlier run."""
    name = Path(run).name.removesuffix(PARTIAL)
    manifest = next(filter(None, (notes.manifest_of(reports / f"{name}{ending}") for ending in (PARTIAL, ""))), {})
    return root_of(reports) / str(manifest.get("params_file") or "params")


def root_of(params_file: Path) -> Path:
    """The workbook's folder, where there is one; commands start in it."""
    return next((folder for folder in params_file.resolve().parents if (folder / "notebooks").is_dir()), Path.cwd())
