from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from stockkit.cli.lake import app
from stockkit.errors import QueryError
from stockkit.files import Folder
from stockkit.lake.sql import duckdb_engine
from stockkit.lake.tables import Lake
from tests.conftest import ROOT

DAYS = "UNNEST(sequence(1, 10000))"
ENDLESS = f"SELECT count(*) AS n FROM {DAYS} AS a (x), {DAYS} AS b (x), {DAYS} AS c (x) WHERE a.x * b.x = c.x * 7"


@pytest.fixture
def lake(tmp_path):
    lake = Lake(Folder(tmp_path), ROOT)
    rows = pd.DataFrame({"symbol": ["A", "A"], "k": [1, 2], "x": [1.0, 2.0]}).astype({"symbol": "string"})
    lake.write("t", rows, symbols=["A"])
    return lake


def test_a_statement_that_takes_too_long_is_stopped_and_the_next_one_answers(lake):
    with pytest.raises(QueryError, match=r"longer than 0\.3 s .* larger time_limit"):
        lake.sql(ENDLESS, time_limit=0.3)
    assert lake.sql("SELECT sum(k) AS s FROM t")["s"][0] == 3


def test_an_answer_with_more_rows_than_the_limit_is_refused_before_it_is_built(lake):
    with pytest.raises(QueryError, match=r"more than 1,000 rows.*larger row_limit"):
        lake.sql(f"SELECT a.x FROM {DAYS} AS a (x), {DAYS} AS b (x), {DAYS} AS c (x)", row_limit=1000)
    with pytest.raises(QueryError, match="more than 10,000,000 rows"):
        lake.sql(f"SELECT true AS x FROM {DAYS} AS a (x), {DAYS} AS b (x), {DAYS} AS c (x)")
    assert len(lake.sql("SELECT k FROM t", row_limit=2)) == 2


def test_a_statement_gets_so_much_memory_and_no_more(lake):
    pairs = f"FROM {DAYS} AS a (x), UNNEST(sequence(1, 500)) AS b (x)"
    with pytest.raises(QueryError, match=r"more than the 0\.03 GB of memory .* larger memory_limit"):
        lake.sql(f"SELECT array_agg(a.x + b.x) AS l {pairs}", memory_limit=0.03)
    assert lake.sql(f"SELECT sum(a.x) AS s {pairs}", memory_limit=0.03)["s"][0] == 500 * 50_005_000
    assert duckdb_engine.Limits().memory <= 4 * 10**9


def test_a_sequence_of_a_thousand_million_is_refused_as_athena_does(lake):
    for text in ("sequence(1, 1000000000)", "sequence(k, k + 1000000000)", "sequence(9, -1000000000, -2)"):
        with pytest.raises(QueryError, match="must not have more than 10000 entries"):
            lake.sql(f"SELECT cardinality({text}) AS n FROM t")


def test_memory_that_the_engine_does_not_count_has_a_ceiling():
    if sys.platform != "linux":
        pytest.skip("the limit on a process's data is Linux's")
    with duckdb_engine.ceiling(2**26):
        with duckdb_engine.ceiling(2**26):
            assert np.empty(2**26, "int8").shape == (2**26,)
        with pytest.raises(MemoryError):
            np.empty(2**30, "int8")
    assert np.empty(2**30, "int8").shape == (2**30,)


def test_limits_must_be_above_zero(lake):
    for limit in ({"time_limit": 0}, {"memory_limit": -1}, {"row_limit": 0}, {"time_limit": "x"}):
        with pytest.raises(QueryError, match=f"{next(iter(limit))} must be above zero"):
            lake.sql("SELECT 1 AS x", **limit)


def test_ctrl_c_stops_a_statement(lake):
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        lake.sql(ENDLESS)
    ended = [thread for thread in threading.enumerate() if thread.name == "stockkit-sql"]
    for thread in ended:
        thread.join(60)
    assert not any(thread.is_alive() for thread in ended)


def test_the_command_takes_the_limits(lake):
    asked = ["sql", f"SELECT x FROM {DAYS} AS a (x)", "--lake", str(lake.folder)]
    tried = {"time_limit must": "--time-limit=0", "more than 5 rows": "--row-limit=5",
             "memory_limit must": "--memory-limit=0", "--row-limit": "-prow_limit=3"}  # fmt: skip
    for says, option in tried.items():
        done = CliRunner().invoke(app, [*asked, option])
        assert says in str(done.exception)


def test_one_connection_is_kept_and_a_table_changed_meanwhile_is_seen(lake):
    folder = str(lake.folder / "tables")
    before = duckdb_engine.connection(folder, duckdb_engine.Limits().memory)
    assert lake.sql("SELECT sum(k) AS s FROM t")["s"][0] == 3
    more = lake.read("t").assign(k=[5, 6], new=[7.0, 8.0])
    lake.write("t", more, symbols=["A"])
    assert lake.sql("SELECT sum(k) AS s, sum(new) AS n FROM t").iloc[0].tolist() == [11, 15.0]
    assert duckdb_engine.connection(folder, duckdb_engine.Limits().memory) is before


def test_threads_may_ask_at_once(lake):
    def ask(k):
        return lake.sql("SELECT sum(k) + :k AS s FROM t", k=k)["s"][0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [k + 3 for k in range(40)]


def test_every_cursor_of_the_kept_connection_is_locked_down(lake):
    cursor = duckdb_engine.connection(str(lake.folder / "tables"), 10**9).cursor()
    seen = pd.DataFrame({"x": [1]})  # noqa: F841 - what a replacement scan would find
    for text in ("SET memory_limit = '9GB'", "SELECT * FROM seen", "SELECT * FROM read_csv('/etc/passwd')",
                 "ATTACH '/tmp/x.db'", f"SELECT * FROM glob('{lake.folder.parent}/*')"):  # fmt: skip
        with pytest.raises(duckdb.Error):
            cursor.execute(text).fetchall()
    assert cursor.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
