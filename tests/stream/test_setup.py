"""From parameters to a stream that ran."""

from __future__ import annotations

import pandas as pd
import pytest

from stockkit.lake.contracts import TABLES
from stockkit.lake.tables import Lake
from stockkit.stream import setup
from stockkit.stream.archive import TABLE_ORDER


@pytest.fixture
def parameters() -> setup.Parameters:
    return setup.Parameters(symbols=["META"], day="2023-09-21", ticks=30, alerts=[])


def test_a_lake_that_is_open_is_the_one_that_is_written(lake, parameters):
    report = setup.run(parameters, lake=lake)
    assert report.counts["ticks"] == lake.count("ticks") == 30
    assert set(lake.writes) == set(TABLE_ORDER)


def test_tables_that_got_no_rows_are_there_with_their_columns(lake, parameters):
    setup.run(parameters, lake=lake)
    for name in TABLE_ORDER:
        rows = lake.read(name)
        assert {column: str(kind).removesuffix("[pyarrow]") for column, kind in rows.dtypes.items()} == dict(
            TABLES[name].contract
        )
    assert lake.read("dead_letters").empty


def test_the_same_stream_again_adds_no_tick_and_no_version(lake, parameters):
    setup.run(parameters, lake=lake)
    before, versions = lake.read("ticks"), dict(lake.writes)
    again = Lake(lake.files, lake.root)
    assert setup.run(parameters, lake=again).counts["duplicates"] == 30
    pd.testing.assert_frame_equal(again.read("ticks"), before)
    assert again.writes == versions


def test_the_rule_has_the_splits_that_the_prices_of_the_lake_know(lake, parameters, prices):
    lake.write("prices", prices, symbols=sorted(prices["symbol"].unique()))
    rule = setup.rule(parameters, lake)
    assert (rule.fast, rule.slow, rule.gap) == (5, 20, 14_400_000_000)
    ((split,),) = [rule.splits["NVDA"][-1:]]
    assert (pd.Timestamp(split.time, unit="us"), split.numerator, split.denominator) == (
        pd.Timestamp("2021-07-20"), 1, 4,
    )  # fmt: skip


def test_prices_without_a_split_give_none(lake, parameters, prices):
    lake.write("prices", prices[prices["symbol"] == "META"], symbols=["META"])
    assert setup.rule(parameters, lake).splits == {}
    assert setup.run(parameters, lake=lake).counts["ticks"] == 30
