"""What `stockkit doctor` tells: is everything here that the workbook can use?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

CORE = ("pandas", "numpy", "pyarrow", "deltalake", "duckdb", "sqlglot", "TA-Lib", "scikit-learn", "papermill",
        "jupyterlab", "awswrangler", "statsforecast", "arch", "skops")  # fmt: skip
EXTRAS = {"spark": "pyspark", "kafka": "confluent-kafka", "prophet": "prophet", "deep": "torch",
          "yfinance": "yfinance", "serve": "starlette"}  # fmt: skip
KEYS = ("STOCKKIT_SECRET_ALPHAVANTAGE", "AWS_ACCESS_KEY_ID", "AWS_PROFILE")


def findings(root: Path) -> list[tuple[str, str, bool]]:
    """One (what, found, needed-and-absent) row a thing looked at; values of keys are never shown."""
    rows = [("Python", platform.python_version(), False)]
    rows += [(name, version or "missing: make setup", version is None) for name in CORE for version in [_version(name)]]
    rows += [(f"extra {extra}", _version(name) or "not installed (optional)", False)
             for extra, name in EXTRAS.items()]  # fmt: skip
    rows.append(("Java (for Spark)", _first_line("java", "-version") or "not found", False))
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    rows.append(("Chromium (for page tests)", _first_line(chromium, "--version") if chromium else "not found", False))
    rows += [(f"key {key}", "present" if os.environ.get(key) else "not set", False) for key in KEYS]
    rows.append(
        ("key ~/.aws/credentials", "present" if Path("~/.aws/credentials").expanduser().exists() else "absent", False)
    )
    sample = len(list((root / "data" / "sample").glob("*.csv")))
    rows.append(
        ("sample data", f"{sample} files" if sample else "missing: run inside the workbook's folder", not sample)
    )
    free = shutil.disk_usage(root).free / 1e9
    rows.append(("free disk", f"{free:.1f} GB", free < 0.5))
    return rows


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0]
