"""Notebook 03 with its parameter `engine` set to spark, run as a user runs it."""

from __future__ import annotations

import importlib.util

import nbformat
import pandas as pd

from stockkit import features
from stockkit.files import Folder
from stockkit.lake.tables import Lake
from tests.conftest import choose, lacking, make_workbook, manifest_of, stockkit_process


def test_the_chain_with_spark_stores_what_this_process_computes_and_shows_hives_answer(tmp_path):
    if importlib.util.find_spec("pyspark") is None:
        lacking("spark", "pyspark is missing: make spark")
    workbook = make_workbook(tmp_path)
    choose(workbook, "01_ingest", "03_features", "04_model")  # the last one knows the other parameters
    given = ["engine=spark", "groups=[lags, cross]", "symbols=[AAPL, META]", "dtype=float32"]
    words = (word for value in given for word in ("-p", value))
    done = stockkit_process(workbook, "run", "params/sample.yaml", "--until", "03_features", *words)
    assert done.returncode == 0, done.stderr
    lake = Lake(Folder(workbook / "data" / "lake"), workbook)
    table, names = lake.read("features"), features.names("lags", "cross")
    expected = features.compute(lake.read("prices"), names, dtype="float32")
    pd.testing.assert_frame_equal(table[expected.columns], expected, rtol=1e-6, check_dtype=False)
    assert set(table[names].dtypes.astype(str)) == {"float32"}
    page = nbformat.read(manifest_of(workbook)["folder"] / "03_features.ipynb", as_version=4)
    shown = "".join(str(cell.get("outputs", "")) for cell in page.cells)
    assert "Hive's SQL" in shown
    assert "SMA-20" in shown
    assert not [path for path in workbook.iterdir() if path.name in ("metastore_db", "derby.log", "spark-warehouse")]
