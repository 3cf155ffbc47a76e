"""What the tests share: the workbook's folder, the sample's bars, and parts that a machine may lack."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from stockkit.lake import ingest
from stockkit.lake.tables import Lake

ROOT = Path(__file__).resolve().parents[1]
SYMBOLS = ["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]


def require(part: str) -> str:
    """The path of a program; skip where it is missing, fail where STOCKKIT_REQUIRE names it."""
    found = shutil.which(part)
    if found is None:
        missing = f"{part} is missing"
        if part in os.environ.get("STOCKKIT_REQUIRE", "").split(","):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="session")
def sample() -> ingest.Ingested:
    """The sample, fetched and cleaned without a lake of its own."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return ingest.clean_all(ingest.fetch(Lake(Path(folder), ROOT), "sample", SYMBOLS))


@pytest.fixture(scope="session")
def prices(sample: ingest.Ingested) -> pd.DataFrame:
    return sample.prices


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", ROOT)
