"""One Spark session for all the tests of a process."""

from __future__ import annotations

import importlib.util

import pytest

from stockkit.cloud.spark import session
from tests.conftest import lacking


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    if importlib.util.find_spec("pyspark") is None:
        lacking("spark", "Spark is missing: make spark")
    started = session.session(hive=True, warehouse=tmp_path_factory.mktemp("hive store"))
    yield started
    started.stop()
