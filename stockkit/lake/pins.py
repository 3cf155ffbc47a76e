"""Versions that a run is held to: what its own steps wrote, whatever other writers commit meanwhile.

The run tells its kernels by an environment variable; it means the tables of one lake, so that another lake which a
notebook opens is read as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PINS_VARIABLE = "STOCKKIT_PINS"
OVERTAKEN = (
    "another writer changed the table {table!r} while this run was under way, and Athena reads no older version: "
    "run it again."
)


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
