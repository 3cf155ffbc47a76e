"""Where a result comes from: the code that made it, and the versions of tables that its run is held to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PINS_VARIABLE = "STOCKKIT_PINS"
OVERTAKEN = (
    "another writer changed the table {table!r} while this run was under way, and Athena reads no older version: "
    "run it again."
)


def version() -> str:
    """The version of the installed package, e.g. ``0.1.0``."""
    return metadata.version("stockkit")


def code_version(root: Path) -> str:
    """The package version, with the commit where `root` is a git checkout, e.g. ``0.1.0+gabc1234.dirty``."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=7", "HEAD")
        dirty = ".dirty" if commit and git("status", "--porcelain", "--untracked-files=no") else ""
    except OSError:  # no git here
        commit = dirty = ""
    return version() + (f"+g{commit}{dirty}" if commit else "")


def pins_of(lake: Any, versions: Mapping[str, int]) -> str:
    """The value of the variable: these versions of the tables of this lake."""
    return json.dumps({"lake": _place(lake), "tables": dict(versions)})


def pinned(lake: Any, table: str) -> int | None:
    """The version that this process has to read of a table; None where the newest counts."""
    given = os.environ.get(PINS_VARIABLE)
    pins = json.loads(given) if given else {}
    if pins.get("lake") != _place(lake):
        return None
    version = pins["tables"].get(table)
    return None if version is None else int(version)


def _place(lake: Any) -> str:
    return os.path.realpath(lake.path) if isinstance(lake.path, Path) else str(lake.files)
