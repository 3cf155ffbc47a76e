"""The ledger: what is sealed stays as it was, or is found."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import threading
import uuid

import deltalake
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockkit import open_lake
from stockkit.errors import ForecastError, LakeError, SchemaError, SymbolError
from stockkit.files import Folder
from stockkit.lake import commits, frames
from stockkit.lake.contracts import MADE, SEAL
from stockkit.lake.tables import Lake
from stockkit.market import schema
from stockkit.records import ledger
from stockkit.records.ledger import chain, times
from tests.aws import environment
from tests.conftest import ROOT
from tests.lake.test_tables import writers
from tests.market.test_schema import HOSTILE, ODD
from tests.records.ledger_rows import VERSIONS, days, made


def seal(lake, *parts, **versions):
    for part in parts:
        ledger.seal(lake, part, **{**VERSIONS, **versions})
    return lake


@pytest.fixture
def three(lake):
    """Three commits of four rows: numbers 0 to 11, two symbols."""
    return seal(lake, *(made(as_of=day) for day in days(3)))


def problems(lake, head=None):
    rows = ledger.verify(lake, head)
    assert dict(rows.dtypes.astype(str)) == {"number": "Int64", "symbol": "string", "problem": "string",
                                              "detail": "string"}  # fmt: skip
    return set(rows["problem"])


def rewrite(lake, rows):
    """Put rows in place of all that the table holds, past every check of ours."""
    arrow = frames.to_arrow(rows)
    deltalake.write_deltalake(lake.delta("forecasts"), arrow, mode="overwrite", schema_mode="overwrite")


def relink(rows, start):
    """The rows with everything from row `start` on hashed anew, as a forger would."""
    before, after = rows.iloc[:start], rows.iloc[start:]
    previous = before["hash"].iloc[-1] if start else chain.GENESIS
    return schema.stack([before, chain.link(after, number=start, previous=previous)], {**MADE, **SEAL})


def test_the_canonical_text_of_a_row_is_what_the_documentation_says():
    bounds = {"lo80": -0.5, "hi80": 0.5, "lo90": -1.0, "hi90": 1.0, "lo95": -2.0, "hi95": np.nan}
    row = made(["BRK.B"], models=["drift"], mean=0.1).assign(sigma=0.25, **bounds, **VERSIONS)
    expected = (
        '{"made_at":"2023-09-18T21:00:00.123456Z","as_of":"2023-09-18","symbol":"BRK.B","model":"drift","horizon":1,'
        '"target_session":"2023-09-19","mean":"0x1.999999999999ap-4","sigma":"0x1.0000000000000p-2",'
        '"lo80":"-0x1.0000000000000p-1","hi80":"0x1.0000000000000p-1","lo90":"-0x1.0000000000000p+0",'
        '"hi90":"0x1.0000000000000p+0","lo95":"-0x1.0000000000000p+1","hi95":null,"number":7,'
        '"data_version":"features=3 prices=12","code_version":"0.1.0+gabc1234","previous":"' + "0" * 64 + '"}'
    )
    linked = chain.link(row, number=7, previous=chain.GENESIS)
    assert linked["hash"].tolist() == [hashlib.sha256(expected.encode()).hexdigest()]


def test_rows_are_numbered_over_all_symbols_and_each_names_the_one_before(three):
    rows = ledger.sealed(three)
    assert rows["number"].tolist() == list(range(12))
    assert rows["previous"].tolist() == [chain.GENESIS, *rows["hash"][:-1]]
    assert ledger.head(three) == rows["hash"].iloc[-1]
    assert problems(three, ledger.head(three)) == set()


def test_what_was_sealed_is_read_back_with_its_numbers_and_versions(lake):
    rows = ledger.sealed(seal(lake, made()))
    pd.testing.assert_frame_equal(rows[list(MADE)], made().assign(made_at=made()["made_at"].dt.floor("us")))
    assert set(rows["data_version"]) == {"features=3 prices=12"}
    assert {name: str(dtype) for name, dtype in rows.dtypes.items()} == {**MADE, **SEAL}


def test_sealing_twice_adds_nothing_whatever_the_moment_and_versions(lake):
    seal(lake, made(), made(hour=22), data_version="prices=13")
    assert (lake.count("forecasts"), lake.version("forecasts")) == (4, 0)
    seal(lake, made(mean=0.002).assign(hi95=np.nan), made(mean=0.002).assign(hi95=np.nan))
    assert lake.count("forecasts") == 8
    assert problems(lake) == set()


def test_the_order_of_rows_and_the_index_make_no_difference(lake, tmp_path):
    other = Lake(Folder(tmp_path / "other"), ROOT)
    seal(lake, made())
    seal(other, made().sample(frac=1, random_state=1))
    assert ledger.head(lake) == ledger.head(other)


def test_an_empty_frame_makes_an_empty_table_to_which_forecasts_can_be_sealed(lake):
    seal(lake, made()[:0], made()[:0])
    assert (lake.count("forecasts"), ledger.head(lake), problems(lake)) == (0, chain.GENESIS, set())
    assert problems(seal(lake, made()), chain.GENESIS) == set()


def test_a_row_without_a_mean_is_left_out_and_the_others_are_sealed(lake, caplog):
    rows = made()
    rows.loc[0, "mean"] = np.nan
    assert seal(lake, rows).count("forecasts") == 3
    assert "event=no_forecast rows=1" in caplog.text


@pytest.mark.parametrize("symbol", ODD)
def test_an_odd_symbol_is_sealed_and_verified(lake, symbol):
    assert problems(seal(lake, made([symbol]), made([symbol], mean=0.5))) == set()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda r: r.assign(mean=r["mean"].astype("float32")), SchemaError, "'mean' must be float64"),
        (lambda r: r.assign(made_at=r["made_at"].dt.tz_localize(None)), SchemaError, "'made_at' must be"),
        (lambda r: r.drop(columns="hi90"), SchemaError, "lacks the column 'hi90'"),
        (lambda r: pd.concat([r, r[:1]]), ForecastError, "AAPL by drift.*twice.*Nothing was sealed"),
        (lambda r: r.assign(sigma=0.0), ForecastError, "sigma is not above 0"),
        (lambda r: r.assign(lo80=np.inf), ForecastError, "infinite"),
        (lambda r: r.assign(lo80=1.0), ForecastError, "ends below its start"),
        (lambda r: r.assign(target_session=r["as_of"]), ForecastError, "not after the as-of session"),
        (lambda r: r.assign(as_of=r["as_of"] + pd.Timedelta("1h")), ForecastError, "time of day"),
        (lambda r: r.assign(made_at=r["made_at"].where(r.index > 0)), ForecastError, "is missing"),
        (lambda r: r.assign(horizon=253), ForecastError, "horizon 253"),
        *[(lambda r, s=s: r.assign(symbol=pd.Series(s, r.index, "string")), SymbolError, "symbol") for s in HOSTILE],
        (lambda r: r.assign(symbol=r["symbol"].where(r.index > 0)), SymbolError, "symbol"),
    ],
)
def test_what_is_no_forecast_is_refused_and_nothing_is_sealed(lake, change, error, says):
    with pytest.raises(error, match=says):
        seal(lake, change(made()))
    assert lake.tables() == []


@pytest.mark.parametrize("dtype", ["object", "string[python]", "category"])
def test_text_in_any_of_pandas_dtypes_is_sealed_as_the_same_rows(three, tmp_path, dtype):
    other = open_lake(str(tmp_path / "other"), root=ROOT)
    for day in days(3):
        seal(other, made(as_of=day).astype({"symbol": dtype, "model": dtype}))
    assert ledger.head(other) == ledger.head(three)


def test_a_missing_table_is_an_error_that_names_the_command(lake):
    for ask in (ledger.verify, ledger.head, ledger.sealed, ledger.closed, ledger.export):
        with pytest.raises(LakeError, match="stockkit run"):
            ask(lake)


def test_a_table_of_before_sealing_is_refused_with_the_way_out_and_stays_as_it_was(lake):
    rows = frames.to_arrow(made().assign(made_at=pd.Timestamp("2023-09-18 21:00", tz="UTC")))
    lake.commit("forecasts", lambda now: commits.Rows(rows, None))
    for ask in (ledger.verify, ledger.head, ledger.sealed, lambda process: seal(process, made())):
        with pytest.raises(LakeError, match=r"no column 'code_version'. Move its folder"):
            ask(lake)
    assert lake.version("forecasts") == 0


EDITS = {
    "a number": ({"mean": "mean + 0.001"}, {"edited"}),
    "the moment": ({"made_at": "made_at - interval '1 day'"}, {"edited"}),
    "an interval to none": ({"hi95": "NULL"}, {"edited"}),
    "the version of the data": ({"data_version": "'prices=99'"}, {"edited"}),
    "the number of a row": ({"number": "3 + number"}, {"edited", "added", "removed", "not linked"}),
    "the hash": ({"hash": f"'{'a' * 64}'"}, {"edited", "not linked"}),
    "a number to none": ({"number": "NULL"}, {"added", "removed"}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_row_is_found(three, edit):
    updates, expected = EDITS[edit]
    three.delta("forecasts").update(updates=updates, predicate="number = 5")
    assert problems(three) == expected


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        ({"hash": "NULL"}, {"edited", "not linked"}),
        ({"hash": "NULL", "previous": "NULL", "number": "NULL"}, {"added", "removed"}),
        ({"data_version": "NULL"}, {"edited"}),
        ({"made_at": "NULL"}, {"edited"}),
    ],
)
def test_a_row_without_its_hash_number_or_moment_is_a_problem_and_no_crash(three, updates, expected):
    three.delta("forecasts").update(updates=updates, predicate="number = 5")
    assert problems(three, ledger.head(three)) == expected
    three.delta("forecasts").update(updates=updates, predicate="number = 11")
    assert problems(three) == expected | ({"not as noted"} if "hash" in updates else set())


def test_nothing_is_sealed_after_a_last_row_without_a_hash(three):
    three.delta("forecasts").update(updates={"hash": "NULL"}, predicate="number = 11")
    with pytest.raises(LakeError, match=r"row 11 of the ledger .* has no hash"):
        seal(three, made(as_of="2023-09-15"))


@pytest.mark.parametrize("number", ["99", "2", "null", '"x"'])
def test_edited_statistics_of_the_log_change_neither_head_nor_chain(three, number):
    kept, version = ledger.head(three), three.version("forecasts")
    log = three.folder / f"tables/forecasts/_delta_log/{version:020}.json"
    log.write_text(
        re.sub(r'(\\"maxValues\\":.*?\\"number\\":)\d+', rf"\g<1>{number}".replace('"', '\\\\"'), log.read_text())
    )
    assert number.strip('"') in log.read_text()
    assert ledger.head(three) == kept
    assert problems(three, kept) <= {"statistics", "unreadable"}
    assert ledger.sealed(seal(three, made(as_of="2023-09-15")))["number"].tolist() == list(range(16))


def test_times_of_commits_are_a_chain_of_their_own(three):
    links = [seal.link for seal in times.seals(three.delta("forecasts"))]
    assert len(set(links)) == 3
    assert problems(three, links[1]) == set()
    log = three.folder / f"tables/forecasts/_delta_log/{1:020}.json"
    text = log.read_text()
    noted = re.search(r'"sealed_at":"([^"]+)"', text)[1]
    log.write_text(text.replace(noted, (pd.Timestamp(noted) - pd.Timedelta("1min")).isoformat()))
    assert ledger.verify(three)[["number", "problem"]].values.tolist() == [[7, "not linked"]]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("number = 0", {"removed"}),
        ("number = 5", {"removed"}),
        ("number = 11", {"not as noted"}),
        ("number >= 8", {"not as noted"}),
        ("number >= 6", {"not as noted"}),
        ("symbol = 'AAPL'", {"removed"}),
        ("symbol = '^GSPC'", {"removed", "not as noted"}),
        ("as_of = '2023-09-19'", {"removed", "not as noted"}),
        ("true", {"not as noted"}),
    ],
)
def test_removed_rows_are_found_also_at_the_end_and_of_a_whole_symbol(three, which, expected):
    three.delta("forecasts").delete(which)
    assert problems(three) == expected


def test_a_partition_deleted_from_the_disk_is_found(three):
    shutil.rmtree(three.folder / "tables/forecasts/symbol=AAPL")
    assert problems(three) == {"unreadable"}


def test_a_row_edited_and_hashed_anew_is_found_by_the_row_after_it(three):
    rows = ledger.sealed(three)
    rows.loc[5, "mean"] = 0.5
    forged = relink(rows.iloc[:6], 5)
    rewrite(three, schema.stack([forged, rows.iloc[6:]], {**MADE, **SEAL}))
    assert problems(three) == {"not linked"}


def test_a_chain_hashed_anew_to_its_end_is_found_by_what_the_log_noted(three):
    rows = ledger.sealed(three)
    rows.loc[11, "mean"] = 0.5
    rewrite(three, relink(rows, 11))
    assert ledger.verify(three)["number"].tolist() == [11]
    assert problems(three) == {"not as noted"}


def test_a_table_and_log_written_anew_are_found_only_by_a_head_kept_elsewhere(three, tmp_path):
    kept = ledger.head(three)
    forged = seal(Lake(Folder(tmp_path / "forged"), ROOT), *(made(as_of=day, mean=0.5) for day in days(3)))
    assert problems(forged) == set()
    assert problems(forged, kept) == {"head unknown"}


def test_a_head_of_earlier_is_still_good_after_more_was_sealed(three):
    kept = ledger.head(three)
    seal(three, made(as_of="2023-09-15"))
    assert ledger.head(three) != kept
    assert problems(three, kept) == set()


def test_a_doubled_an_invented_and_a_swapped_row_are_found(three):
    rows = ledger.sealed(three)
    rewrite(three, pd.concat([rows, rows.iloc[3:4]]))
    assert problems(three) == {"added"}
    invented = chain.link(rows.iloc[3:4], number=12, previous=rows["hash"].iloc[2])
    rewrite(three, pd.concat([rows, invented]))
    assert problems(three) == {"not linked", "not noted"}
    swapped = rows.assign(number=[0, 2, 1, *range(3, 12)])
    rewrite(three, swapped)
    assert problems(three) == {"edited", "not linked"}
    rewrite(three, rows.assign(number=rows["number"] - 1))
    assert problems(three) == {"added", "edited", "not as noted", "not linked"}
    rewrite(three, rows.assign(better=1.0))
    assert problems(three) == {"added"}
    rewrite(three, rows.sample(frac=1, random_state=1))
    assert problems(three) == set()


@pytest.fixture(scope="module")
def rows():
    fresh = pd.concat([made(as_of=day).assign(**VERSIONS) for day in days(2)], ignore_index=True)
    return chain.link(fresh, number=0, previous=chain.GENESIS)


@settings(max_examples=100)
@given(data=st.data())
def test_no_edit_of_a_single_value_goes_unseen(rows, data):
    assert list(chain.faults(rows)) == []
    at, name = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from([*MADE, *SEAL]))
    old = rows.loc[at, name]
    if isinstance(old, str):
        new = data.draw(st.one_of(st.text(max_size=5), st.just(old + "\n"), st.none()))
    elif isinstance(old, pd.Timestamp):
        new = old + pd.Timedelta(data.draw(st.integers(-(10**4), 10**4)), "D" if old.tz is None else "us")
    elif name in ("horizon", "number"):
        new = data.draw(st.integers(-(2**40), 2**40))
    else:
        new = data.draw(st.one_of(st.just(np.nextafter(old, 1)), st.floats(allow_infinity=True)))
    edited = rows.copy()
    edited.loc[at, name] = new
    same = old == new or (pd.isna(old) and pd.isna(new))
    assert (list(chain.faults(edited)) == []) == bool(same)


def test_optimize_and_vacuum_leave_a_chain_that_verifies_and_goes_on(three, monkeypatch):
    monkeypatch.setattr("stockkit.lake.upkeep.SHORTEST", 0.0)
    kept = ledger.head(three)
    three.optimize("forecasts")
    assert len(three.vacuum("forecasts", keep=0, dry_run=False)) > 0
    assert (problems(three, kept), ledger.head(three)) == (set(), kept)
    seal(three, made(as_of="2023-09-15"))
    assert ledger.sealed(three)["number"].tolist() == list(range(16))
    three.delta("forecasts").create_checkpoint()
    assert problems(seal(three, made(as_of="2023-09-14")), kept) == set()


def test_two_forecasts_of_one_moment_and_tables_of_before_the_ledger_do_not_disturb_the_check_of_the_lake(three):
    seal(three, made(as_of="2023-09-18", mean=0.002))
    assert three.verify().empty
    old = made().assign(made_at=pd.Timestamp("2023-09-18", tz="UTC"))
    three.commit("scores", lambda now: commits.Rows(frames.to_arrow(old[["symbol", "model", "horizon"]]), None))
    expected = three.verify()
    assert expected[["table", "problem"]].values.tolist() == [["scores", "contract broken"]]


def test_a_head_that_is_no_hash_is_refused(three):
    with pytest.raises(LakeError, match="'abc' is no hash"):
        ledger.verify(three, "abc")


def test_writers_at_once_end_up_in_one_unbroken_chain(lake):
    tasks = [lambda opened, d=day: seal(opened, made(as_of=d)) for day in days(6)]
    assert writers(lake, *tasks, *tasks[:2]) == []
    assert ledger.sealed(lake)["number"].tolist() == list(range(24))
    assert problems(lake) == set()


WRITER = """
import sys
from stockkit import open_lake
from stockkit.records import ledger
from tests.records.ledger_rows import VERSIONS, days, made
lake = open_lake(sys.argv[1])
for day in days(int(sys.argv[3])):
    ledger.seal(lake, made(sys.argv[2].split(","), as_of=day), **VERSIONS)
    print(day, flush=True)
"""


def writer(place, symbols, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(place), symbols, str(count)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def test_two_processes_at_once_seal_one_chain(lake):
    running = [writer(lake.folder, symbol, 5) for symbol in ("AAPL", "MSFT")]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert ledger.sealed(lake)["number"].tolist() == list(range(20))
    assert problems(lake) == set()


@pytest.mark.parametrize("wait", [1, 4])
def test_a_writer_killed_at_any_moment_leaves_a_chain_that_verifies_and_goes_on(lake, wait):
    with writer(lake.folder, "AAPL,MSFT", 1000) as process:
        for _ in range(wait):
            process.stdout.readline()
        threading.Event().wait(0.004 * wait)
        process.kill()
    assert (problems(lake), lake.count("forecasts") % 4) == (set(), 0)
    assert problems(seal(lake, made())) == set()


@pytest.fixture
def place(seaweed_address, monkeypatch):
    environment(seaweed_address, monkeypatch)
    return f"s3://lake/{uuid.uuid4().hex[:8]}/lake"


def test_on_s3_the_same_forecasts_have_the_same_head_and_two_processes_seal_one_chain(place, three):
    far = seal(open_lake(place, root=ROOT), *(made(as_of=day) for day in days(3)))
    assert ledger.head(far) == ledger.head(three)
    running = [writer(place, symbol, 3) for symbol in ("MSFT", "0005.HK")]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert (problems(far, ledger.head(three)), far.count("forecasts")) == (set(), 24)
    far.delta("forecasts").delete("number = 23")
    assert problems(far) == {"not as noted"}


def test_the_versions_that_a_lake_has_read_are_named_in_order(three):
    three.write("t", made().assign(x=1.0)[["symbol", "x"]][:1], symbols=["AAPL"])
    three.read("t")
    ledger.sealed(three)
    assert ledger.data_version(three) == "t=0"
