from __future__ import annotations

import datetime
import hashlib
import itertools
import shutil
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import LakeError, SchemaError, SymbolError
from stockkit.files import Folder
from stockkit.lake import commits, frames, upkeep
from stockkit.lake.tables import Lake, open_lake
from stockkit.market import simulate
from tests import raw_answers
from tests.conftest import ROOT, mounted
from tests.market.test_schema import ODD


def frame(symbols, value=1.0):
    return pd.DataFrame(
        {
            "symbol": pd.Series(sorted(symbols), dtype="string"),
            "date": pd.Timestamp("2023-09-21"),
            "value": value,
            "seen": pd.Timestamp("2023-09-21 20:00:00.123456", tz="UTC"),
        }
    )


def add(lake, table, rows):
    """Add rows to a table, as the ledger does."""
    return lake.commit(table, lambda now: commits.Rows(frames.to_arrow(rows), None))


def hashes(lake, table):
    """The multiset of the contents of a table's data files."""
    files = (lake.folder / "tables" / table).rglob("*.parquet")
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def test_what_is_written_is_read_back_with_the_same_values_and_dtypes(lake, prices):
    lake.write("prices", prices, symbols=sorted(set(prices["symbol"])))
    pd.testing.assert_frame_equal(lake.read("prices"), prices, check_exact=True)


@pytest.mark.parametrize("symbol", ODD)
def test_an_odd_symbol_survives_the_partition_and_sql(lake, symbol):
    lake.write("odd", frame([symbol]), symbols=[symbol])
    assert list(lake.read("odd", symbols=[symbol])["symbol"]) == [symbol]
    assert list(lake.sql("SELECT symbol FROM odd WHERE symbol = :s", s=symbol)["symbol"]) == [symbol]


def test_a_write_replaces_the_symbols_it_names_and_no_other(lake):
    lake.write("t", frame(["A", "B"], 1.0), symbols=["A", "B"])
    lake.write("t", frame(["A"], 2.0), symbols=["A"])
    assert lake.read("t")[["symbol", "value"]].values.tolist() == [["A", 2.0], ["B", 1.0]]
    lake.write("t", frame([]).astype(frame(["A"]).dtypes), symbols=["B"])
    assert list(lake.read("t")["symbol"]) == ["A"]


def test_writing_what_is_there_makes_no_new_version_nan_included(lake):
    for _ in range(3):
        assert lake.write("t", frame(["A", "B"], np.nan), symbols=["A", "B"]) == 0
    assert lake.write("t", frame(["A", "B"], [np.nan, 1.0]), symbols=["A", "B"]) == 1


def test_two_lakes_written_alike_hold_the_same_bytes(tmp_path, prices):
    lakes = [Lake(Folder(tmp_path / name), ROOT) for name in ("one", "two")]
    for lake in lakes:
        lake.write("prices", prices, symbols=sorted(set(prices["symbol"])))
    assert hashes(lakes[0], "prices") == hashes(lakes[1], "prices")
    assert len(hashes(lakes[0], "prices")) == 6


def test_a_new_column_is_added_and_is_empty_in_old_rows(lake):
    lake.write("t", frame(["A", "B"]), symbols=["A", "B"])
    lake.write("t", frame(["A"]).assign(more=5.0), symbols=["A"])
    assert lake.read("t")["more"].isna().tolist() == [False, True]


def test_the_protocol_stays_what_athena_reads(lake):
    lake.write("t", frame(["A"]), symbols=["A"])
    protocol = lake.delta("t").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_a_commit_carries_the_run_id(lake, monkeypatch):
    monkeypatch.setenv("STOCKKIT_RUN", "20260101T000000Z")
    lake.write("t", frame(["A"]), symbols=["A"])
    assert lake.delta("t").history(1)[0]["run"] == "20260101T000000Z"


def test_reads_and_writes_are_remembered_with_their_versions(lake):
    lake.write("t", frame(["A"]), symbols=["A"])
    lake.write("t", frame(["A"], 2.0), symbols=["A"])
    assert (lake.reads, lake.writes) == ({}, {"t": 1})
    other = Lake(lake.files, ROOT)
    other.sql("SELECT count(*) AS n FROM t")
    assert (other.reads, other.writes) == ({"t": 1}, {})


@pytest.mark.parametrize("name", ["../t", "T", "a b", "a'", "", "1t", "a" * 64])
def test_a_hostile_table_name_is_refused(lake, name):
    with pytest.raises(LakeError, match="no table name"):
        lake.write(name, frame(["A"]), symbols=["A"])


def test_a_missing_table_is_an_error_with_the_nearest_name(lake):
    lake.write("prices2", frame(["A"]), symbols=["A"])
    with pytest.raises(LakeError, match="Did you mean 'prices2'"):
        lake.read("prices")


def test_a_row_of_a_symbol_that_the_write_does_not_name_is_refused(lake):
    with pytest.raises(LakeError, match="'B', which the write does not name"):
        lake.write("t", frame(["A", "B"]), symbols=["A"])
    with pytest.raises(SymbolError):
        lake.write("t", frame([]), symbols=["x'; --"])
    assert lake.tables() == []


def test_prices_that_break_their_contract_are_not_written(lake, prices):
    with pytest.raises(SchemaError, match="'close' must be float64"):
        lake.write("prices", prices.astype({"close": "string"}), symbols=["AAPL"])
    with pytest.raises(SchemaError, match="not a finite price"):
        lake.write("prices", prices.assign(close=-1.0), symbols=sorted(set(prices["symbol"])))
    assert lake.tables() == []


def test_a_lake_can_be_moved(lake, tmp_path):
    lake.write("t", frame(["A"]), symbols=["A"])
    moved = lake.folder.rename(tmp_path / "elsewhere")
    assert len(Lake(Folder(moved), ROOT).read("t")) == 1


def test_a_lake_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match="is a file"):
        open_lake(str(tmp_path / "file"))


def test_a_copy_of_a_lake_is_a_lake_of_its_own(lake, tmp_path):
    lake.write("t", frame(["A"]), symbols=["A"])
    shutil.copytree(lake.folder, tmp_path / "copy")
    Lake(Folder(tmp_path / "copy"), ROOT).write("t", frame(["A"], 2.0), symbols=["A"])
    assert (lake.version("t"), Lake(Folder(tmp_path / "copy"), ROOT).version("t")) == (0, 1)


def test_the_history_tells_version_time_run_and_rows_newest_first(lake, monkeypatch):
    for number in (1, 2):
        monkeypatch.setenv("STOCKKIT_RUN", f"run-{number}")
        lake.write("t", frame(["A", "B"], float(number)), symbols=["A", "B"])
    history = lake.history("t")
    assert list(history["version"]) == [1, 0]
    assert list(history["run"]) == ["run-2", "run-1"]
    assert list(history["rows_added"]) == [2, 2]
    assert history["timestamp"].dt.tz is not None
    assert history["timestamp"].is_monotonic_decreasing


def test_the_history_numbers_commits_truly_though_others_committed_since_the_table_was_opened(lake):
    lake.write("t", frame(["A"]), symbols=["A"])
    opened = lake.delta("t")
    files = opened.history()[0]["operationMetrics"]["num_added_files"]
    for value in (2.0, 3.0):
        lake.write("t", frame(["A", "B"], value), symbols=["A", "B"])
    history = upkeep.history(commits.TableLocation("t", lake.files), opened)
    assert history[["version", "files_added"]].to_numpy().tolist() == [[0, files]]
    opened.update_incremental()
    assert upkeep.history(commits.TableLocation("t", lake.files), opened)["version"].tolist() == [2, 1, 0]


def test_vacuum_names_the_files_that_no_version_uses_and_deletes_them_only_when_told(lake, monkeypatch):
    for value in (1.0, 2.0):
        lake.write("t", frame(["A"], value), symbols=["A"])
    old = sorted(path.name for path in (lake.folder / "tables/t/symbol=A").iterdir())
    assert lake.vacuum("t") == []
    monkeypatch.setattr("stockkit.lake.upkeep.SHORTEST", 0.0)
    (doomed,) = lake.vacuum("t", keep=0)
    assert sorted(path.name for path in (lake.folder / "tables/t/symbol=A").iterdir()) == old
    assert lake.vacuum("t", keep=0, dry_run=False) == [doomed]
    assert len(list((lake.folder / "tables/t/symbol=A").iterdir())) == 1
    assert lake.read("t")["value"].tolist() == [2.0]


def test_vacuum_refuses_to_take_the_files_of_a_write_that_is_going_on(lake):
    lake.write("t", frame(["A"]), symbols=["A"])
    with pytest.raises(LakeError, match=r"at least 1 hour, found 0\.5"):
        lake.vacuum("t", keep=0.5)


def test_optimize_puts_small_files_into_one_and_changes_no_row(lake):
    for value in range(5):
        add(lake, "t", frame(["A"], float(value)))
    before = lake.read("t").sort_values("value", ignore_index=True)
    assert lake.optimize("t") == {"files_added": 1, "files_removed": 5}
    pd.testing.assert_frame_equal(lake.read("t").sort_values("value", ignore_index=True), before)
    assert lake.history("t")["operation"][0] == "OPTIMIZE"
    protocol = lake.delta("t").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


@pytest.fixture
def book(lake, prices):
    """A lake whose prices and odd symbols pass every check."""
    symbols = sorted(set(prices["symbol"]))
    for symbol in symbols:
        raw_answers.keep(lake.files, "sample", symbol, b"date,close", pd.Timestamp("2023-09-21", tz="UTC"))
    lake.write("prices", prices, symbols=symbols)
    lake.write("odd", frame(ODD), symbols=list(ODD))
    assert lake.verify().empty
    return lake


def problems(lake):
    return lake.verify()[["table", "problem"]].drop_duplicates().values.tolist()


def data_file(lake, table="prices"):
    return sorted((lake.folder / "tables" / table).rglob("*.parquet"))[0]


def test_verify_finds_a_missing_file(book):
    data_file(book).unlink()
    assert problems(book) == [["prices", "file missing"]]


def test_verify_finds_a_file_of_another_size_also_of_an_odd_symbol(book):
    data_file(book).write_bytes(b"PAR1")
    data_file(book, "odd").write_bytes(b"PAR1")
    assert problems(book) == [["odd", "wrong size"], ["prices", "wrong size"]]


def test_verify_finds_a_file_of_the_right_size_that_cannot_be_read(book):
    path = data_file(book)
    path.write_bytes(b"x" * path.stat().st_size)
    assert problems(book) == [["prices", "file unreadable"]]


def test_verify_finds_a_log_that_cannot_be_read(book):
    (book.folder / "tables/prices/_delta_log/00000000000000000000.json").write_text("{")
    assert problems(book) == [["prices", "log unreadable"]]


def test_verify_finds_broken_contracts_doubled_keys_and_prices_from_nowhere(book, prices):
    bad = prices[prices["symbol"] == "AAPL"].assign(symbol="NEW", close=-1.0).astype({"symbol": "string"})
    rows = frames.to_arrow(pd.concat([bad, bad.iloc[:1]]))
    commits.commit(book.location("prices"), lambda now: commits.Rows(rows, None))
    faults = book.verify()
    assert set(faults["problem"]) == {"contract broken", "key twice", "no raw answer"}
    assert faults["detail"].str.contains("NEW").all()


def writers(lake, *tasks):
    """Run tasks at the same moment, each on a lake object of its own; return what they raised."""
    start, failed = threading.Barrier(len(tasks)), []

    def work(task):
        writer = Lake(lake.files, ROOT)
        start.wait()
        try:
            task(writer)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


@pytest.mark.parametrize("exists", [False, True])
def test_writers_of_different_symbols_at_once_lose_no_row(lake, exists):
    names = [f"S{number}" for number in range(8)]
    if exists:
        lake.write("t", frame(names, 0.0), symbols=names)
    assert writers(lake, *[lambda writer, s=s: writer.write("t", frame([s], 1.0), symbols=[s]) for s in names]) == []
    assert lake.read("t")[["symbol", "value"]].values.tolist() == [[name, 1.0] for name in names]


def test_of_writers_of_the_same_symbol_one_wins_wholly(lake):
    rows = [pd.concat([frame(["A"], float(v))] * 50, ignore_index=True) for v in range(6)]
    assert writers(lake, *[lambda writer, r=r: writer.write("t", r, symbols=["A"]) for r in rows]) == []
    left = lake.read("t")["value"]
    assert (len(left), left.nunique()) == (50, 1)


def test_appends_at_once_lose_and_double_no_row(lake):
    rows = [frame(["A"], float(v)) for v in range(6)]
    assert writers(lake, *[lambda writer, r=r: add(writer, "t", r) for r in rows]) == []
    assert sorted(lake.read("t")["value"]) == [float(v) for v in range(6)]


def test_of_writers_that_make_a_table_at_once_one_makes_it(lake):
    together, place = threading.Barrier(4, timeout=300), commits.TableLocation("t", lake.files)

    def work_out(now):
        if now is not None:
            return None
        together.wait()
        return commits.Rows(frames.to_arrow(frame(["A"])), ["A"])

    assert writers(lake, *[lambda _: commits.commit(place, work_out)] * 4) == []
    assert (len(lake.read("t")), lake.version("t")) == (1, 0)


def test_a_conflict_is_logged_and_when_retries_run_out_the_error_says_so(lake, monkeypatch, caplog):
    lake.write("t", frame(["A"]), symbols=["A"])
    monkeypatch.setattr(commits, "ATTEMPTS", 2)
    faster = itertools.count(10)

    def slow(now):
        Lake(lake.files, ROOT).write("t", frame(["A"], float(next(faster))), symbols=["A"])
        return commits.Rows(frames.to_arrow(frame(["A"], 1.0)), ["A"])

    with pytest.raises(LakeError, match="other writers were faster 2 times; nothing of this write was stored"):
        commits.commit(lake.location("t"), slow)
    assert "event=conflict table=t version=0 attempt=1/2" in caplog.text
    assert lake.read("t")["value"].tolist() == [11.0]


WRITER = """
import sys
import pandas as pd
from pathlib import Path
from stockkit.files import Folder
from stockkit.lake import commits, frames, raw
from stockkit.lake.tables import Lake
lake = Lake(Folder(Path(sys.argv[1])), Path())
n = 0
while True:
    n += 1
    rows = pd.DataFrame({"symbol": pd.Series(["A"] * 5000 + ["B"] * 5000, dtype="string"), "value": float(n)})
    lake.write("t", rows, symbols=["A", "B"])
    print(n, flush=True)
"""


@pytest.mark.parametrize("wait", [1, 3, 6])
def test_a_writer_killed_at_any_moment_leaves_wholly_the_old_or_wholly_the_new_rows(lake, wait):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(lake.folder)], stdout=subprocess.PIPE) as writer:
        for _ in range(wait):
            writer.stdout.readline()
        threading.Event().wait(0.003 * wait)
        writer.kill()
    rows = Lake(lake.files, ROOT).read("t")
    assert len(rows) == 10_000
    assert rows["value"].nunique() == 1
    assert rows["value"][0] >= wait


@pytest.mark.parametrize(("options", "says"), [("size=600k", "[Nn]o space left"), ("ro", "[Rr]ead-only")])
def test_a_full_disk_or_a_read_only_lake_is_a_clear_error_and_leaves_the_table_as_it_was(
    tmp_path, prices, options, says
):
    with mounted(tmp_path / "mount", options) as folder:
        lake = Lake(Folder(folder), ROOT)
        if options != "ro":
            lake.write("t", frame(["A"]), symbols=["A"])
        with pytest.raises(LakeError, match=says) as caught:
            lake.write("prices", prices, symbols=sorted(set(prices["symbol"])))
        assert "name another lake" in str(caught.value)
        assert lake.tables() == ([] if options == "ro" else ["t"])


@pytest.mark.parametrize("name", ["my lake", "lä", "a#b", "a?b", "a{b}", "it's", "a*b"])
def test_a_lake_may_have_an_odd_name(tmp_path, name):
    book = open_lake(str(tmp_path / name), root=tmp_path)
    bars = simulate.bars(["AAA", "^GSPC"], count=5, rng=np.random.default_rng(1))
    book.write("t", bars, symbols=["AAA", "^GSPC"])
    assert len(book.read("t", symbols=["^GSPC"])) == 5
    assert book.sql("SELECT count(*) AS n FROM t WHERE symbol = '^GSPC'")["n"].tolist() == [5]
    assert set(book.verify()["problem"]) <= {"no raw answer"}


@pytest.mark.parametrize("name", ["a[b", "100%", "a%20b"])
def test_a_name_that_delta_lake_cannot_have_is_refused_at_the_door(tmp_path, name):
    with pytest.raises(LakeError, match="rename it"):
        open_lake(str(tmp_path / name), root=tmp_path)


A_AND_B = ["A", "B"]
OWN = {
    "objects": ({"note": ["x", None]}, "string"),
    "categories": ({"note": pd.Categorical(["x", "y"])}, "string"),
    "whole numbers": ({"n": pd.array([1, 2], dtype="Int64")}, "int64"),
    "some missing": ({"n": pd.array([1, None], dtype="Int64")}, "float64"),
    "narrow": ({"n": np.array([1, 2], "float32")}, "float32"),
    "unsigned": ({"n": np.array([1, 2], "uint8")}, "int64"),
    "truth": ({"ok": [True, False]}, "bool"),
    "days": ({"date": [datetime.date(2024, 1, 2)] * 2}, "datetime64[ns]"),
    "instants": ({"at": pd.to_datetime(["2024-01-02 10:00"] * 2, utc=True)}, "datetime64[ns, UTC]"),
    "instants as objects": ({"at": [pd.Timestamp("2024-01-02 10:00", tz="UTC")] * 2}, "datetime64[ns, UTC]"),
}


@pytest.mark.parametrize("case", OWN)
def test_a_table_of_the_users_own_holds_what_pandas_holds(lake, case):
    columns, dtype = OWN[case]
    frame = pd.DataFrame({"symbol": A_AND_B, **columns})
    assert lake.write("mine", frame, symbols=A_AND_B) == 0
    assert lake.write("mine", frame, symbols=A_AND_B) == 0  # the same rows make no new version
    read = lake.read("mine")
    assert read["symbol"].tolist() == A_AND_B
    assert read.dtypes.iloc[1] == dtype
    assert [None if pd.isna(value) else value for value in read.iloc[:, 1]] == [
        pd.Timestamp(value) if case == "days" else None if pd.isna(value) else value for value in frame.iloc[:, 1]
    ]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"x": [[1], [2]]}, "column 'x' is object and holds mixed values"),
        ({"x": ["a", 1]}, "holds mixed-integer values"),
        ({"x": pd.to_timedelta([1, 2], "D")}, "holds timedelta values"),
        ({"x": pd.to_datetime(["2024-01-02 10:00"] * 2)}, "times of day without a time zone"),
        ({0: [1, 2]}, "a column named 0: name it with a text"),
    ],
)
def test_what_no_table_can_hold_is_refused_by_column(lake, columns, says):
    with pytest.raises(SchemaError, match=says):
        lake.write("mine", pd.DataFrame({"symbol": A_AND_B, **columns}), symbols=A_AND_B)


def test_a_table_without_symbols_is_refused_with_the_way_out(lake):
    for frame in (pd.DataFrame({"x": [1]}, index=pd.Index(["A"], name="symbol")), pd.DataFrame({"x": [1]})):
        with pytest.raises(SchemaError, match="lacks the column 'symbol'"):
            lake.write("mine", frame, symbols=["A"])
