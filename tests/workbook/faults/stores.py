"""Faults of a lake on S3: denied, throttled, slow, cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pandas as pd
import pytest

from stockkit.lake.tables import open_lake
from tests.aws import environment
from tests.workbook.faults.fault import Fault
from tests.workbook.faults.scene import STEP, Scene
from tests.workbook.faults.tables import FRAME, OPEN, WRITE


def on(day: str, *, table: bool = False) -> Callable[[Scene], AbstractContextManager[object]]:
    """The lake on a store that has such a day; with the table t1, where one is to be read."""

    @contextmanager
    def around(scene: Scene) -> Iterator[None]:
        scene.lake = f"s3://lake/{day}/lake"
        scene.choose(STEP)
        with pytest.MonkeyPatch.context() as patch:
            environment(scene.store, patch)
            if table:
                rows = pd.DataFrame({"symbol": pd.Series(["A"], dtype="string"), "value": [1.0]})
                open_lake(scene.lake).write("t1", rows, symbols=["A"])
            yield

    return around


STORES = [
    Fault("S3 denies a write", "AccessDenied", [OPEN, FRAME, WRITE], around=on("denied"), writes=["t1"]),
    Fault("S3 throttles every write", "cannot write table 't1' in s3://lake/throttled", [OPEN, FRAME, WRITE],
          around=on("throttled"), writes=["t1"], words=["-p", "retries=0"]),
    Fault("S3 answers too slowly", "cell_timeout=15 seconds", [OPEN, FRAME, WRITE], around=on("slow"), writes=["t1"],
          words=["-p", "cell_timeout=15"], evidence=False),
    Fault("S3 cuts a data file off", "t1", [OPEN, "book.read('t1')"], around=on("truncated", table=True),
          reads=["t1"]),
]  # fmt: skip
