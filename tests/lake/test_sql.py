from __future__ import annotations

from collections import Counter
from decimal import Decimal

import duckdb
import pandas as pd
import pytest
from sqlglot.parser import Parser
from sqlglot.tokens import Tokenizer

from stockkit import athena
from stockkit.errors import LakeError, QueryError
from stockkit.files import Folder
from stockkit.lake.sql import duckdb_engine, scan
from stockkit.lake.tables import Lake
from tests.conftest import ROOT, SYMBOLS


@pytest.fixture(scope="module")
def lake(tmp_path_factory, prices):
    lake = Lake(Folder(tmp_path_factory.mktemp("lake")), ROOT)
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
    ("tail", "symbols"),
    [
        ("prices WHERE symbol = 'A'", {"A"}),
        ("stock_data.prices AS p WHERE close > 1 AND (P.SYMBOL IN ('A', :b)) AND symbol IN (:both)", {"B"}),
        ("prices WHERE symbol = 'A' AND symbol = 'B'", set()),
        ("prices WHERE symbol = 'A' OR close > 1", None),
        ("prices WHERE NOT symbol = 'A'", None),
        ("prices WHERE symbol = upper('a')", None),
        ("prices AS p (a, symbol) WHERE symbol = 'A'", None),
        ("prices CROSS JOIN UNNEST(ARRAY['A']) AS u (k) WHERE symbol = 'A'", None),
        ("prices JOIN prices AS q ON q.symbol = 'A' WHERE prices.symbol = 'A'", None),
        ("(SELECT close AS symbol FROM prices) WHERE symbol = 'A'", None),
        ("prices WHERE symbol = 'A' UNION SELECT 1 FROM prices", None),
        ("prices", None),
    ],
)
def test_files_of_symbols_that_a_statement_leaves_out_are_not_opened(tail, symbols):
    statement = athena.parse(f"SELECT 1 FROM {tail}")
    assert scan.symbols_kept(statement, {"b": "B", "both": ["B", "C"]}) == symbols


def test_a_symbol_that_the_table_lacks_has_no_rows(lake):
    assert one(lake, "SELECT count(*) AS n FROM prices WHERE symbol = :symbol", symbol="NOWHERE") == 0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("7/2", 3), ("-7/2", -3), ("7.0e0/2", 3.5), ("sum(volume) / sum(volume)", 1), ("count_if(close < 0)", 0),
     ("date_diff('day', DATE '2020-01-31', DATE '2020-02-01')", 1), ("date_format(max(date), '%Y-%m')", "2023-09"),
     ("1.0/3", Decimal("0.3")), ("date_diff('month', DATE '2023-08-22', max(date))", 0)],
)  # fmt: skip
def test_the_meaning_is_athenas(lake, expression, expected):
    day = "symbol = 'AAPL' AND date = DATE '2023-09-21'"
    assert one(lake, f"SELECT {expression} AS x FROM prices WHERE {day}") == expected


@pytest.mark.parametrize(
    "text", ["SELECT checksum(close) FROM prices", "SELECT random()", "SELECT symbol ILIKE 'a' FROM prices"]
)
def test_what_is_not_translated_faithfully_is_refused_before_anything_runs(lake, text, monkeypatch):
    monkeypatch.setattr(duckdb_engine, "connection", None)
    with pytest.raises(QueryError, match=r"Athena|run to run|not translated"):
        lake.sql(text)


@pytest.mark.parametrize(("text", "tokenized"), [("SELECT :x + 1", 1), ("SELECT current_date > :x", 2)])
def test_a_statement_is_parsed_once(lake, text, tokenized, monkeypatch):
    calls = Counter()
    for made in (Parser.parse, Tokenizer.tokenize):
        monkeypatch.setattr(*_counted(made, calls))
    lake.sql(text, x=pd.Timestamp("2020-01-01") if tokenized == 2 else 1)
    assert calls == {"parse": 1, "tokenize": tokenized}  # the clock is looked for before it is parsed


def _counted(method, calls):
    owner = {"parse": Parser, "tokenize": Tokenizer}[method.__name__]

    def counted(*given):
        calls[method.__name__] += 1
        return method(*given)

    return owner, method.__name__, counted


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
        ("SELECT getenv('HOME')", "getenv is not translated"),
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


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT content FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{outside}/x.csv'",
        "ATTACH '{outside}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET memory_limit = '1GB'",
    ],
)
def test_the_engine_reaches_no_file_but_the_tables(lake, tmp_path, statement):
    files = {"prices": scan.relation(lake.location("prices"), lake.delta("prices"))}
    with duckdb_engine.connection(scan._home(files), 10**9).cursor() as connection:
        assert connection.execute(f"SELECT count(*) FROM read_parquet('{files['prices'].paths[0]}')").fetchone()[0] > 0
        with pytest.raises(duckdb.Error):
            connection.execute(statement.format(outside=tmp_path)).fetchall()


@pytest.mark.parametrize(("given", "says"), [({"s": []}, "must not be empty"), ({"s": "A", "t": 1}, "no place for")])
def test_parameters_must_fit(lake, given, says):
    with pytest.raises(QueryError, match=says):
        lake.sql("SELECT count(*) FROM prices WHERE symbol IN (:s)", **given)


def test_an_unknown_question_is_refused_with_the_nearest(lake):
    with pytest.raises(LakeError, match="Did you mean 'drawdowns'"):
        lake.ask("drawdown")
    with pytest.raises(LakeError, match="no question"):
        lake.ask("../../etc/passwd")
