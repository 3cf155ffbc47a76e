"""Faults of tables: absent, empty, without numbers, of another shape, not declared, deleted, damaged."""

from __future__ import annotations

import shutil

import pandas as pd

from stockkit.files import Folder
from stockkit.lake.tables import Lake
from tests.workbook.faults.cells import HANDED
from tests.workbook.faults.fault import INDEX, MANIFEST, Fault
from tests.workbook.faults.scene import Scene

OPEN = "import pandas as pd\nfrom stockkit import hand_over, open_lake\nbook = open_lake(lake)"
FRAME = "frame = pd.DataFrame({'symbol': pd.Series(['A'], dtype='string'), 'value': [1.0]})"
WRITE = "book.write('t1', frame, symbols=['A'])\nhand_over(book)"
T1 = "import shutil\nshutil.rmtree('data/lake/tables/t1')"
OTHER_SHAPE = """from deltalake import write_deltalake
write_deltalake('data/lake/tables/scores', pd.DataFrame({'symbol': ['A'], 'value': [1.0]}))
book.writes['scores'] = 0
hand_over(book)"""
FILES = "import glob, os\nfor file in glob.glob('data/lake/tables/t1/**/*.parquet', recursive=True): os.remove(file)"


def plant_table(scene: Scene) -> None:
    """The table t1 of an earlier run."""
    rows = pd.DataFrame({"symbol": pd.Series(["A"], dtype="string"), "value": [1.0]})
    Lake(Folder(scene.workbook / "data" / "lake"), scene.workbook).write("t1", rows, symbols=["A"])


def corrupt_log(scene: Scene) -> None:
    """The table t1 whose log is cut off in the middle."""
    plant_table(scene)
    (log,) = (scene.workbook / "data" / "lake" / "tables" / "t1" / "_delta_log").glob("*.json")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def lose_log(scene: Scene) -> None:
    """The table t1 without its log."""
    plant_table(scene)
    shutil.rmtree(scene.workbook / "data" / "lake" / "tables" / "t1" / "_delta_log")


TABLES = [
    Fault("a declared table is handed over and never written", "handed over 't1' version 0, the lake has None",
          [HANDED.format(payload={"writes": {"t1": 0}})], writes=["t1"]),
    Fault("a table without rows", "wrote 't1', but it has no rows", [OPEN, FRAME, WRITE.replace("frame", "frame[:0]")],
          writes=["t1"]),
    Fault("a table without a number (NaN alone)", "wrote 't1', but it has no number in any of value",
          [OPEN, FRAME.replace("1.0", "float('nan')"), WRITE], writes=["t1"]),
    Fault("a table that breaks its contract", "SchemaError: scores",
          [OPEN, FRAME, WRITE.replace("t1", "scores")], writes=["scores"]),
    Fault("a table that breaks its contract, written past the lake", "wrote 'scores' without its column 'evidence'",
          [OPEN, OTHER_SHAPE], writes=["scores"]),
    Fault("a table that is not declared", "writes 't1' but its metadata does not declare that", [OPEN, FRAME, WRITE]),
    Fault("a table that is not declared and not handed over", "writes 't1' but its metadata does not declare that",
          [OPEN, FRAME, WRITE.split("\n")[0]]),
    Fault("a table is deleted after it was handed over", "handed over 't1' version 0, the lake has None",
          [OPEN, FRAME, WRITE, T1], writes=["t1"]),
    Fault("a table of an earlier run is deleted", "table 't1' was there before 01_x and is gone after it", [T1],
          plant=plant_table),
    Fault("the files of a table are deleted after it was handed over", "1 of 1 files of table 't1' are gone",
          [OPEN, FRAME, WRITE, FILES],
          writes=["t1"]),
    Fault("the log of a table is cut off, and the notebook reads it", "table 't1' in", [OPEN, "book.read('t1')"],
          plant=corrupt_log, reads=["t1"], kept=(INDEX, MANIFEST)),
    Fault("the log of a table is cut off, and the notebook does not read it", "table 't1' in", ["1"], plant=corrupt_log,
          kept=(INDEX, MANIFEST)),
    Fault("the log of a table is cut off by a cell", "Truncated record", [
        "import glob\nopen(glob.glob('data/lake/tables/t1/_delta_log/*.json')[0], 'w').write('{')"], plant=plant_table),
    Fault("the log of a table is gone", "reads 't1', which no notebook of the chain writes", plant=lose_log,
          reads=["t1"], code=2, kept=()),
]  # fmt: skip
