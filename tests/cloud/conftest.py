"""One Spark session for all the tests of a process."""

from __future__ import annotations

import importlib.util
import os

import pytest

from stockkit.cloud.spark import session
from tests.conftest import lacking


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    if importlib.util.find_spec("pyspark") is None:
        lacking("spark", "Spark is missing: make spark")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)  # or the workers would have them for good
        started = session.session(hive=True, warehouse=tmp_path_factory.mktemp("hive store"))
    yield started
    started.stop()
