"""Which code is running: the package's version and the commit that it was checked out from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import stockkit


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
    return stockkit.__version__ + (f"+g{commit}{dirty}" if commit else "")
