from __future__ import annotations

import pandas as pd
import pytest

from stockkit.errors import LakeError, QueryError
from stockkit.lake.tables import Lake
from tests.conftest import ROOT, SYMBOLS


@pytest.fixture(scope="module")
def lake(tmp_path_factory, prices):
    lake = Lake(tmp_path_factory.mktemp("lake"), ROOT)
    lake.write("prices", prices, symbols=SYMBOLS)
    return lake


def one(lake, text, **parameters):
    answer = lake.sql(text, **parameters)
    assert answer.shape == (1, 1)
    return answer.iloc[0, 0]


def test_a_question_in_athenas_words_is_answered(lake):
    text = 'SELECT max_by(date, high) AS day FROM "AwsDataCatalog"."stock_data"."prices" WHERE symbol = :symbol'
    assert one(lake, text, symbol="META") == pd.Timestamp("2021-09-01")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("7/2", 3), ("-7/2", -3), ("7.0e0/2", 3.5), ("sum(volume) / sum(volume)", 1), ("count_if(close < 0)", 0),
     ("date_diff('day', DATE '2020-01-31', DATE '2020-02-01')", 1), ("date_format(max(date), '%Y-%m')", "2023-09")],
)  # fmt: skip
def test_the_meaning_is_athenas(lake, expression, expected):
    day = "symbol = 'AAPL' AND date = DATE '2023-09-21'"
    assert one(lake, f"SELECT {expression} AS x FROM prices WHERE {day}") == expected


@pytest.mark.parametrize("text", ["SELECT 1.0/3", "SELECT date_diff('month', date, date) FROM prices"])
def test_what_the_local_engine_would_answer_otherwise_is_refused(lake, text):
    with pytest.raises(QueryError, match="Athena"):
        lake.sql(text)


HOSTILE = "A'; DROP TABLE prices; --"


def test_a_hostile_parameter_is_data(lake):
    assert one(lake, "SELECT count(*) FROM prices WHERE symbol = :s", s=HOSTILE) == 0
    assert one(lake, "SELECT count(*) FROM prices WHERE symbol IN (:s)", s=[HOSTILE, "AAPL"]) == 2699
    assert one(lake, "SELECT count(*) FROM prices") == 16_194


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("DROP TABLE prices", "expected one SELECT"),
        ("INSERT INTO prices SELECT * FROM prices", "expected one SELECT"),
        ("SELECT 1; SELECT 2", "2 statement"),
        ("", "empty text"),
        ("SELECT FROM WHERE", "no Athena SQL"),
        ("SELECT * FROM read_csv('/etc/passwd')", "no table of the lake"),
        ("SELECT * FROM read_parquet('x')", "no table of the lake"),
        ("SELECT nope FROM prices", "nope"),
        ("SELECT symbol FROM prices WHERE symbol = :s", "needs a value for :s"),
        ("SELECT getenv('HOME')", "failed"),
        ("SELECT CAST('x' AS bigint)", "failed"),
    ],
)
def test_anything_but_one_select_over_tables_is_refused(lake, text, says):
    with pytest.raises(QueryError, match=says):
        lake.sql(text)


@pytest.mark.parametrize(
    "text", ["SELECT * FROM '/etc/passwd'", 'SELECT * FROM "data/sample/AAPL.csv"', "SELECT * FROM x"]
)
def test_a_file_is_no_table(lake, text):
    with pytest.raises(LakeError, match="no table"):
        lake.sql(text)


@pytest.mark.parametrize(("given", "says"), [({"s": []}, "must not be empty"), ({"s": "A", "t": 1}, "no place for")])
def test_parameters_must_fit(lake, given, says):
    with pytest.raises(QueryError, match=says):
        lake.sql("SELECT count(*) FROM prices WHERE symbol IN (:s)", **given)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "sql").glob("*.sql")))
def test_every_kept_question_states_its_grain_and_has_an_answer(lake, name):
    assert "-- Grain: one row a symbol" in lake.question(name).text
    assert len(lake.ask(name, symbols=SYMBOLS)) >= 6


def test_the_deepest_fall_in_sql_equals_the_one_in_pandas(lake, prices):
    fall = (prices["close"] / prices.groupby("symbol")["close"].cummax() - 1).groupby(prices["symbol"]).min() * 100
    asked = lake.ask("drawdowns", symbols=SYMBOLS).set_index("symbol")["worst_pct"]
    pd.testing.assert_series_equal(asked.sort_index(), fall, check_names=False, check_index_type=False)


def test_an_unknown_question_is_refused_with_the_nearest(lake):
    with pytest.raises(LakeError, match="Did you mean 'drawdowns'"):
        lake.ask("drawdown")
    with pytest.raises(LakeError, match="no question"):
        lake.ask("../../etc/passwd")
