"""Where a result comes from: the code and the run that made it, and the versions of tables that the run reads."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sysconfig
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

PROGRESS_VARIABLE = "STOCKKIT_PROGRESS"  # set where a runner listens to how far a cell is
RUN_VARIABLE, STEP_VARIABLE, PINS_VARIABLE = "STOCKKIT_RUN", "STOCKKIT_STEP", "STOCKKIT_PINS"
FRESH_VARIABLE = "STOCKKIT_FRESH"  # set to 1: fits that are kept with the lake are made anew


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


def packages() -> list[str]:
    """The names and versions of everything that is installed, as the folders that say so are named, in order."""
    places = {*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    places |= {site.getusersitepackages()} if site.ENABLE_USER_SITE else set()
    names = {name for place in places if os.path.isdir(place) for name in os.listdir(place)}
    return sorted(name for name in names if name.endswith((".dist-info", ".egg-info", ".pth")))


def run_id() -> str:
    """The id of the run that this process belongs to; "interactive" where it belongs to none."""
    return os.environ.get(RUN_VARIABLE, "interactive")


def step() -> str:
    """The notebook of a run that this process works for; "" where there is none."""
    return os.environ.get(STEP_VARIABLE, "")


def pins(lake: str, versions: Mapping[str, int]) -> str:
    """The value of `PINS_VARIABLE` that makes a process read these versions of the tables of a lake, by its
    `identity`."""
    return json.dumps({"lake": lake, "tables": dict(versions)})


def pinned(lake: str, table: str) -> int | None:
    """The version that this process has to read of a table; None where the newest counts."""
    value = os.environ.get(PINS_VARIABLE)
    given = json.loads(value) if value else {}
    version = given["tables"].get(table) if given.get("lake") == lake else None
    return None if version is None else int(version)


def fresh() -> bool:
    """Whether this process is to leave kept fits aside."""
    return os.environ.get(FRESH_VARIABLE, "") not in ("", "0")
