"""What `stockkit doctor` tells: is everything here that the workbook can use?"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from stockkit.intake.sources import SOURCES
from stockkit.stream.bus import BUSES

CORE = ("pandas", "numpy", "pyarrow", "deltalake", "duckdb", "sqlglot", "TA-Lib", "scikit-learn", "papermill",
        "jupyterlab", "awswrangler", "statsforecast", "arch", "skops")  # fmt: skip
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE")  # beside those of sources


def findings(root: Path) -> list[tuple[str, str, bool]]:
    """One (what, found, needed-and-absent) row a thing looked at; values of keys are never shown."""
    rows = [("Python", platform.python_version(), False)]
    for name in CORE:
        rows.append((name, version(name) or "missing: make setup", version(name) is None))
    for extra, names in extras().items():
        versions = ", ".join(f"{name} {version(name)}" for name in names)
        rows.append((f"extra {extra}", "not installed (optional)" if missing(extra) else versions, False))
    rows.append(("Java (for Spark)", _first_line("java", "-version") or "not found", False))
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    rows.append(("Chromium (for page tests)", _first_line(chromium, "--version") if chromium else "not found", False))
    keys = dict.fromkeys([*(entry.key for entry in SOURCES.values() if entry.key), *KEYS])
    rows += [(f"key {key}", "present" if os.environ.get(key) else "not set", False) for key in keys]
    rows.append(
        ("key ~/.aws/credentials", "present" if Path("~/.aws/credentials").expanduser().exists() else "absent", False)
    )
    for variable in filter(None, (entry.variable for entry in BUSES.values())):
        rows.append((f"bus {variable}", "present" if os.environ.get(variable) else "not set", False))
    sample = len(list((root / "data" / "sample").glob("*.csv")))
    rows.append(
        ("sample data", f"{sample} files" if sample else "missing: run inside the workbook's folder", not sample)
    )
    free = shutil.disk_usage(root).free / 1e9
    rows.append(("free disk", f"{free:.1f} GB", free < 0.5))
    return rows


def version(package: str) -> str | None:
    """The version of an installed package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def extras() -> dict[str, list[str]]:
    """The extras of stockkit, as `pyproject.toml` declares them, each with the packages that it brings."""
    packages: dict[str, list[str]] = {}
    for line in metadata.requires("stockkit") or ():
        if match := re.fullmatch(r"([\w.-]+).*extra == ['\"](\w+)['\"]", line):
            packages.setdefault(match[2], []).append(match[1])
    packages.pop("dev", None)
    return packages


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed; of none ("") there are none."""
    return [package for package in extras()[extra] if version(package) is None] if extra else []


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0]
