from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stockkit import features
from stockkit.errors import FeatureError, LakeError, ParamError
from stockkit.files import Folder
from stockkit.lake import feature_table
from stockkit.lake.tables import Lake
from stockkit.market import schema, simulate
from tests.conftest import stockkit

SYMBOLS = ["AAA", "BBB", "NAN"]
NAMES = features.names("all")
ALONE = [name for name in NAMES if not features.CATALOGUE[name].within]


def prices_of(bars: pd.DataFrame) -> pd.DataFrame:
    more = {"close_raw": bars["close"], "split_factor": 1.0, "dividend": 0.0,
            "known_at": pd.Timestamp("2024-01-01", tz="UTC")}  # fmt: skip
    return schema.cast(bars.assign(**more), schema.PRICES)


@pytest.fixture
def bars() -> pd.DataFrame:
    return schema.cast(simulate.bars(SYMBOLS, count=320, rng=np.random.default_rng(7)), schema.BARS)


@pytest.fixture
def lake(tmp_path, bars) -> Lake:
    book = Lake(Folder(tmp_path / "lake"), tmp_path)
    put(book, bars[bars["date"] < bars["date"].unique()[300]])
    return book


def put(lake: Lake, bars: pd.DataFrame) -> None:
    lake.write("prices", prices_of(bars), symbols=sorted(set(bars["symbol"])))


def assert_true(lake: Lake, names: list[str], dtype: str = "float64") -> None:
    """What is stored is bit for bit what everything computed at once gives."""
    bars = lake.read("prices")[list(schema.BARS)]
    rows = lake.read("features")
    expected = features.compute(bars, names, dtype=dtype)
    pd.testing.assert_frame_equal(rows, expected.astype({"symbol": rows["symbol"].dtype}), check_exact=True)
    assert "features" not in set(lake.verify()["table"])


def test_everything_is_computed_the_first_time_and_nothing_the_second(lake):
    first = feature_table.update(lake, NAMES)
    assert (first.full, first.rows) == (SYMBOLS, 900)
    assert_true(lake, NAMES)
    again = feature_table.update(lake, NAMES)
    assert (again.version, again.kept, again.rows) == (first.version, SYMBOLS, 0)
    assert "3 up to date" in str(again)


@pytest.mark.parametrize("names", [ALONE, NAMES], ids=["alone", "with the others of the day"])
def test_new_sessions_are_appended_and_equal_a_computation_of_everything(lake, bars, names):
    feature_table.update(lake, names)
    before = set(lake.delta("features").file_uris())
    put(lake, bars[bars["date"] < bars["date"].unique()[302]])
    update = feature_table.update(lake, names)
    assert (update.full, update.rows, set(update.since)) == ([], 6, set(SYMBOLS))
    assert before < set(lake.delta("features").file_uris()), "stored files were written again"
    assert_true(lake, names)


def test_one_symbol_with_a_new_session_leaves_the_others_alone(lake, bars):
    feature_table.update(lake, ALONE)
    put(lake, bars[(bars["symbol"] == "BBB") & (bars["date"] < bars["date"].unique()[301])])
    update = feature_table.update(lake, ALONE)
    assert (list(update.since), update.kept, update.rows) == (["BBB"], ["AAA", "NAN"], 1)
    assert_true(lake, ALONE)


def test_a_correction_of_the_past_is_computed_from_there_on(lake, bars):
    feature_table.update(lake, NAMES)
    old = bars[bars["date"] < bars["date"].unique()[300]]
    at = old.index[old["symbol"] == "AAA"][200]
    put(lake, old.assign(volume=old["volume"].where(old.index != at, 5)))
    update = feature_table.update(lake, NAMES)
    assert set(update.since.values()) == {bars["date"].unique()[200]}
    assert_true(lake, NAMES)


def test_a_split_makes_a_symbol_whole_again(lake, bars):
    feature_table.update(lake, ALONE)
    old = bars[bars["date"] < bars["date"].unique()[300]]
    mine = old["symbol"] == "AAA"
    put(lake, old.assign(**{c: old[c].where(~mine, old[c] / 4) for c in ("open", "high", "low", "close")}))
    assert feature_table.update(lake, ALONE).full == ["AAA"]
    assert_true(lake, ALONE)


def test_a_session_that_is_withdrawn_goes(lake, bars):
    feature_table.update(lake, ALONE)
    put(lake, bars[bars["date"] < bars["date"].unique()[299]])
    update = feature_table.update(lake, ALONE)
    assert update.rows == 0
    assert set(update.since) == set(SYMBOLS)
    assert_true(lake, ALONE)


def test_other_features_or_another_dtype_are_another_definition(lake):
    feature_table.update(lake, ALONE)
    assert feature_table.update(lake, ["ret_1", "beta_60"], dtype="float32").full == SYMBOLS
    assert_true(lake, ["ret_1", "beta_60"], "float32")


def test_what_other_hands_wrote_is_not_trusted(lake):
    feature_table.update(lake, ALONE)
    table = lake.read("features")
    lake.write("features", table.assign(ret_1=0.0), symbols=SYMBOLS)
    assert feature_table.update(lake, ALONE).full == SYMBOLS
    assert_true(lake, ALONE)


def test_tidying_up_in_between_changes_nothing(lake, bars):
    feature_table.update(lake, ALONE)
    put(lake, bars[bars["date"] < bars["date"].unique()[301]])
    feature_table.update(lake, ALONE)
    lake.optimize("features")
    assert feature_table.update(lake, ALONE).rows == 0
    put(lake, bars)
    assert feature_table.update(lake, ALONE).rows == 3 * 19
    assert_true(lake, ALONE)


def test_where_the_earlier_prices_are_gone_everything_is_computed(lake, bars):
    feature_table.update(lake, ALONE)
    old = lake.delta("prices").file_uris()
    put(lake, bars)
    for uri in old:
        lake.folder.joinpath(*uri.removeprefix("file://").split(str(lake.folder))[1].strip("/").split("/")).unlink()
    assert feature_table.update(lake, ALONE).full == SYMBOLS
    assert_true(lake, ALONE)


def test_ones_own_feature_is_always_computed(lake, monkeypatch):
    monkeypatch.setattr(features, "CATALOGUE", dict(features.CATALOGUE))
    features.register("body", lambda a: a.close / a.open - 1, look_back=0)
    feature_table.update(lake, ["body"])
    features.register("body", lambda a: a.open / a.close - 1, look_back=0)
    assert feature_table.update(lake, ["body"]).full == SYMBOLS
    assert_true(lake, ["body"])


def test_some_symbols_only_leave_the_rows_of_others(lake):
    feature_table.update(lake, ALONE)
    assert feature_table.update(lake, ALONE, symbols=["NAN"], recompute=True).full == ["NAN"]
    assert_true(lake, ALONE)


def test_what_cannot_be_is_refused_before_anything_is_written(lake):
    for bad, error, says in [
        ({"symbols": ["ZZZ"]}, LakeError, "no rows of 'ZZZ'"),
        ({"names": ["rsi14"]}, ParamError, "rsi_14"),
        ({"names": ["ret_1", "ret_1"]}, ParamError, "each once"),
        ({"dtype": "int"}, ParamError, "dtype"),
    ]:
        with pytest.raises(error, match=says):
            feature_table.update(lake, **bad)
    assert lake.version("features") is None


def test_a_feature_that_fails_says_so_itself_and_leaves_the_table_as_it_was(lake, monkeypatch):
    feature_table.update(lake, ["ret_1"])
    monkeypatch.setattr(features, "CATALOGUE", dict(features.CATALOGUE))
    features.register("bad", lambda a: 1 / 0, look_back=0)
    with pytest.raises(FeatureError, match="'bad' failed on a history of 300 sessions"):
        feature_table.update(lake, ["bad"])
    assert_true(lake, ["ret_1"])


def test_two_updates_at_once_double_nothing(lake, bars):
    feature_table.update(lake, NAMES)
    put(lake, bars)
    start = threading.Barrier(2)

    def work(_: int) -> feature_table.Update:
        start.wait()
        return feature_table.update(Lake(lake.files, lake.root), NAMES)

    with ThreadPoolExecutor(2) as pool:
        updates = list(pool.map(work, range(2)))
    assert sorted(update.rows for update in updates) == [0, 60]
    assert_true(lake, NAMES)


def test_the_command_brings_the_features_up_to_date(lake, tmp_path):
    first = stockkit(tmp_path, "lake", "features", "calendar", "ret_1", "--lake", "lake")
    assert first.stdout == "features version 0: 900 rows computed; 3 symbols whole\n", first.stderr
    assert list(lake.read("features"))[2:] == [*features.names("calendar"), "ret_1"]
    again = stockkit(tmp_path, "lake", "features", "calendar", "ret_1", "--lake", "lake")
    assert "0 rows computed; 3 up to date" in again.stdout
    wrong = stockkit(tmp_path, "lake", "features", "calender", "--lake", "lake")
    assert wrong.returncode == 2
    assert "'calender' is no feature, nor a group of them. Did you mean 'calendar'?" in wrong.stderr


def test_a_definition_that_comes_back_is_computed_again(lake):
    feature_table.update(lake, ["weekday", "holiday_left", "ret_1"], calendar="XNYS")
    feature_table.update(lake, ["weekday", "holiday_left"], calendar="XHKG", dtype="float32")
    assert feature_table.update(lake, ["weekday", "holiday_left", "ret_1"], calendar="XNYS").full == SYMBOLS
    assert_true(lake, ["weekday", "holiday_left", "ret_1"])


def test_prices_made_anew_are_other_prices_whatever_their_version(lake, bars):
    feature_table.update(lake, ALONE)
    shutil.rmtree(lake.folder / "tables" / "prices")
    put(lake, bars.assign(close=bars["open"]))
    assert (lake.version("prices"), feature_table.update(lake, ALONE).full) == (0, SYMBOLS)
    assert_true(lake, ALONE)


def test_a_symbol_that_the_prices_have_no_more_goes(lake):
    feature_table.update(lake, NAMES)
    lake.write("prices", lake.read("prices", symbols=["AAA"]).iloc[:0], symbols=["NAN"])
    update = feature_table.update(lake, NAMES)
    assert (update.gone, "1 removed" in str(update)) == (["NAN"], True)
    assert_true(lake, NAMES)


def test_an_empty_table_has_the_columns_of_its_newest_definition(lake):
    feature_table.update(lake, ["ret_1"])
    lake.write("prices", lake.read("prices").iloc[:0], symbols=SYMBOLS)
    assert feature_table.update(lake, ["ret_1"]).gone == SYMBOLS
    feature_table.update(lake, ["sma_5"])
    assert_true(lake, ["sma_5"])


def test_doubles_of_one_symbol_are_not_rounded_to_the_type_of_the_others(lake):
    feature_table.update(lake, ["ret_1"], dtype="float32")
    feature_table.update(lake, ["ret_1"], symbols=["BBB"])
    expected = features.compute(lake.read("prices", symbols=["BBB"])[list(schema.BARS)], ["ret_1"])["ret_1"]
    assert lake.read("features", symbols=["BBB"])["ret_1"].equals(expected)


FEW = ["ret_1", "sma_5", "ret_1_lag_2", "holiday_left", "days_since"]
DEFINITIONS = st.tuples(
    st.sampled_from([FEW, FEW[:2], FEW[2:], [*FEW[:2], "rank_ret_5"], ["rank_ret_5", "beta_60"]]),
    st.sampled_from(["XNYS", "XHKG"]),
    st.sampled_from(["float64", "float32"]),
    st.sampled_from([None, None, ["AAA"], ["AAA", "NAN"]]),
)
NEWS = st.lists(
    st.tuples(st.sampled_from(["new", "corrected", "withdrawn", "gone", "back"]), st.sampled_from(SYMBOLS),
              st.integers(1, 79)),
    max_size=3,
)  # fmt: skip


def after(bars: pd.DataFrame, every: pd.DataFrame, what: str, symbol: str, at: int) -> pd.DataFrame:
    """The bars after one piece of news on a symbol; `at` says which of its sessions, or how many."""
    mine = bars["symbol"] == symbol
    if what in ("gone", "back"):
        restored = every[(every["symbol"] == symbol) & (what == "back")]
        return pd.concat([bars[~mine], restored]).sort_values(["symbol", "date"], ignore_index=True)
    if what == "new":
        return pd.concat([bars[~mine], every[every["symbol"] == symbol].iloc[: mine.sum() + at % 3]]).sort_values(
            ["symbol", "date"], ignore_index=True
        )
    if not mine.any():
        return bars
    place = bars.index[mine][at % mine.sum()]
    if what == "withdrawn":
        return bars.drop(index=place).reset_index(drop=True)
    return bars.assign(volume=bars["volume"].where(bars.index != place, at))


@settings(max_examples=25, derandomize=True, phases=[Phase.generate])
@given(steps=st.lists(st.tuples(DEFINITIONS, NEWS, st.booleans()), min_size=2, max_size=6))
def test_any_sequence_of_definitions_and_news_equals_computing_anew(steps, tmp_path_factory):
    every = schema.cast(simulate.bars(SYMBOLS, count=90, rng=np.random.default_rng(7)), schema.BARS)
    bars = every[every["date"] < every["date"].unique()[80]].reset_index(drop=True)
    lake = Lake(Folder(tmp_path_factory.mktemp("lake")), tmp_path_factory.getbasetemp())
    for (names, calendar, dtype, some), news, tidied in steps:
        for one in news:
            bars = after(bars, every, *one)
        lake.write("prices", prices_of(bars), symbols=SYMBOLS)
        priced = sorted(set(bars["symbol"]))
        wanted = None if some is None or not set(some) & set(priced) else sorted(set(some) & set(priced))
        feature_table.update(lake, names, symbols=wanted, dtype=dtype, calendar=calendar, threads=1)
        if tidied:
            lake.optimize("features")
        stored = lake.read("features")
        chosen = bars[bars["symbol"].isin(wanted or priced)].reset_index(drop=True)
        anew = features.compute(chosen, names, dtype=dtype, calendar=calendar)
        kept = stored[stored["symbol"].isin(wanted or priced)].reset_index(drop=True)
        if wanted is None:
            assert set(stored) == set(anew)
            assert set(stored.dtypes.astype(str)) == set(anew.dtypes.astype(str)) | {"string"} - {"object"}
            assert set(stored["symbol"]) == set(priced)
        assert len(kept) == len(anew)
        for name in names:
            pd.testing.assert_series_equal(kept[name], anew[name], check_exact=True, check_dtype=wanted is None)
