"""The translator answers the corpus as Trino does, fails where Trino fails, and refuses the rest by name."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pandas as pd
import pytest

from stockkit import athena
from stockkit.athena import reads, values
from stockkit.errors import QueryError
from stockkit.lake.sql import scan
from tests.athena import corpus_functions as functions
from tests.athena import corpus_kinds
from tests.athena.corpus import CORPUS, FAILING, HOSTILE, QUERIES, REFUSED, D, day

# read by none, because they change nothing: how a name was quoted, that a type has others inside, FIRST for NEXT, ROWS
UNREAD = {("Identifier", "quoted"), ("DataType", "nested"), ("Fetch", "direction"), ("LimitOptions", "rows")}


class Recorded(dict):
    """The arguments of a node, which remember those that were asked for."""

    def __init__(self, given: dict) -> None:
        super().__init__(given)
        self.read: set[str] = set()

    def get(self, name, default=None):
        self.read.add(name)
        return super().get(name, default)

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)


def ask(text: str, **parameters: Any) -> pd.DataFrame:
    return scan.run(text, {}, parameters)


def unread(statement: athena.Statement) -> set[tuple[str, str]]:
    """The arguments of a translated statement, whose nodes are `Recorded`, that no handler read."""
    carried = {(type(node).__name__, name) for node in statement.tree.walk()
               for name in reads.carried(node) if name not in node.args.read}  # fmt: skip
    return carried - UNREAD


def plain(value: Any) -> Any:
    """A cell as plain Python, so that 1 and Decimal(1), or None and NaN, are not taken for each other."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    return value.item() if hasattr(value, "item") else value


def single_value(text: str) -> Any:
    ((value,),) = rows(text)
    return value


def rows(text: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The cells of the answer; a NULL is None, whatever its column's dtype would make of it.

    Each statement is parsed, translated and run once: this looks also at that nothing of it was passed over.
    """
    statement = athena.parse(text)
    for node in statement.tree.walk():
        node.args = Recorded(node.args)
    answer, translation = scan.rows(statement, {}, parameters)
    assert not unread(statement), f"{text!r} carries what no handler read"
    nulls = [column.is_null().to_pylist() for column in answer.columns]
    frame = scan.as_frame(answer, translation)
    columns = [
        [None if null else plain(value) for value, null in zip(frame.iloc[:, k], nulls[k], strict=True)]
        for k in range(frame.shape[1])
    ]
    return list(zip(*columns, strict=True))


CASES = [
    pytest.param(text, expected, id=f"{group}: {text}")
    for group, pairs in (CORPUS | functions.VALUES | corpus_kinds.CORPUS).items()
    for text, expected in pairs
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_an_expression_has_the_value_that_trino_documents(text, expected):
    value = single_value(f"SELECT {text}")
    if isinstance(expected, float) and math.isnan(expected):
        assert isinstance(value, float)
        assert math.isnan(value)
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-12)
    else:
        assert value == expected
        assert str(value) == str(expected) or not isinstance(expected, D)


@pytest.mark.parametrize(("text", "expected"), [*QUERIES, *corpus_kinds.ANSWERED, *functions.QUERIES])
def test_a_query_gives_the_rows_that_trino_documents(text, expected):
    assert rows(text) == [pytest.approx(row) if any(isinstance(x, float) for x in row) else row for row in expected]


@pytest.mark.parametrize(("text", "reason"), [*FAILING, *corpus_kinds.FAILING, *functions.FAILING])
def test_what_trino_fails_is_an_error_that_says_why(text, reason):
    with pytest.raises(QueryError, match=reason):
        ask(text)


@pytest.mark.parametrize(("text", "reason"), [*REFUSED, *corpus_kinds.REFUSED, *functions.REFUSED])
def test_what_is_not_translated_is_refused_with_a_named_reason(text, reason):
    with pytest.raises(QueryError, match=reason):
        ask(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_but_translated_functions_and_tables_can_be_reached(text):
    with pytest.raises(QueryError):
        scan.run(text, {}, {})


@pytest.mark.parametrize(
    "name", ["A'; DROP TABLE prices; --", "$p_s", ":s", "' || getenv('HOME') || '", "\\", "'", '"', "é🙂"]
)
def test_a_parameter_is_data_whatever_it_holds(name):
    frame = ask("SELECT :s AS s, :s || '!' AS t, :s IN (:names) AS u", s=name, names=[name, "b"])
    assert frame.iloc[0].tolist() == [name, name + "!", True]


@pytest.mark.parametrize("text", ["a'b", "a''b", "$x", "a\\nb", "'); DROP TABLE x; --", "%_"])
def test_a_text_in_the_statement_stays_as_it_is(text):
    assert single_value("SELECT '" + text.replace("'", "''") + "'") == text


def test_unnamed_columns_are_called_as_athena_calls_them():
    frame = ask("SELECT 1, n, n + 1, n AS Again FROM (VALUES 5) AS t(n)")
    assert list(frame.columns) == ["_col0", "n", "_col2", "again"]


def test_the_answer_has_the_dtypes_of_athenas_types():
    text = (
        "SELECT 1 AS i, BIGINT '1' AS b, 1e0 AS d, CAST(1 AS real) AS r, 'a' AS s, TRUE AS t, DATE '2020-01-01' AS a, "
        "TIMESTAMP '2020-01-01 00:00:00 UTC' AS z, 1.5 AS x, ARRAY[1] AS l, CAST(NULL AS bigint) AS n, count(*) AS c"
    )
    assert [str(dtype) for dtype in ask(text).dtypes] == [
        "int32", "int64", "float64", "float32", "string", "bool", "datetime64[ns]", "datetime64[ns, UTC]", "object",
        "object", "Int64", "int64",
    ]  # fmt: skip


def test_whole_numbers_beside_nulls_stay_exact():
    assert rows("SELECT x FROM (VALUES 9007199254740993, NULL) t(x) ORDER BY x") == [(9007199254740993,), (None,)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (2.5, 2.5), ("a", "a"), (True, True), (None, None), (dt.date(2020, 1, 2), day("2020-01-02")),
     (D("1.50"), D("1.50")),
     (dt.datetime(2020, 1, 2, 3), day("2020-01-02 03:00")), (pd.Timestamp("2020-01-02"), day("2020-01-02"))],
)  # fmt: skip
def test_a_parameter_keeps_its_value_and_type(value, expected):
    assert rows("SELECT :v", v=value) == [(expected,)]


def test_a_parameter_that_cannot_be_bound_is_refused():
    with pytest.raises(QueryError, match=r"cannot be .*\(dict\)"):
        ask("SELECT :v", v={})


def test_the_corpus_is_large_enough_to_mean_something():
    assert len(CASES) + len(QUERIES) + len(FAILING) >= 150


NESTED = {"upper({})": "s", "substr({}, 2)": "s", "replace({}, 'a', 'b')": "s", "greatest({}, 1e0)": "x",
          "least({}, 5e0)": "x", "nullif({}, 1e0)": "x", "round({}, 2)": "x", "truncate({}, 1)": "m", "ln({})": "x",
          "log(2, {})": "x", "sign({})": "x", "slice({}, 1, 2)": "a", "array_distinct({})": "a",
          "CAST(CAST({} AS varchar) AS double)": "x"}  # fmt: skip
ROW = "(VALUES ('abc', 2e0, 2.55, ARRAY[1, 2, 1])) AS t(s, x, m, a)"


@pytest.mark.parametrize(("call", "innermost"), NESTED.items())
def test_nesting_a_function_adds_to_the_sql_and_does_not_multiply_it(call, innermost):
    lengths, nested = [], innermost
    for _ in range(12):
        nested = call.format(nested)
        lengths.append(len(athena.translate(f"SELECT {nested} FROM {ROW}", {}, {}, {}).sql))
    assert lengths[11] - lengths[7] < 1.5 * (lengths[7] - lengths[3])


T = "(VALUES ('a', 1e0, 1), ('b', nan(), 2), (NULL, 3e0, NULL), ('ß', -0.5e0, 1)) AS t(s, x, n)"


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT upper(upper(s)), nullif(nullif(x, 1), 2), round(round(x, 1), n) FROM {T} ORDER BY n, s",
        f"SELECT upper(replace(s, 'a', 'b')) AS u, count(*), greatest(sum(n), max(n)) FROM {T} GROUP BY 1 ORDER BY 1",
        f"SELECT upper(replace(s, 'a', 'b')), max(n) FROM {T} GROUP BY upper(replace(s, 'a', 'b')) ORDER BY 1",
        f"SELECT s, n, greatest(n, count(*)) FROM {T} GROUP BY s, n ORDER BY s, n",
        f"SELECT greatest(n, max(n) OVER (), (SELECT max(n) FROM {T})) FROM {T} ORDER BY n, 1",
        f"SELECT (SELECT max(greatest(u.n, t.n)) FROM {T.replace('AS t', 'AS u')} WHERE u.s = t.s) FROM {T} ORDER BY 1",
        f"SELECT transform(ARRAY[n, 2], v -> greatest(nullif(v, 1), n)) FROM {T} ORDER BY n, s",
        f"SELECT TRY(greatest(1 / (n - 1), n)) FROM {T} ORDER BY n, 1",
        f"SELECT upper(:p), nullif(:q, 1), greatest(:q, n) FROM {T} WHERE upper(s) <> :p ORDER BY n, s",
        f"SELECT count(*) FILTER (WHERE nullif(n, 1) IS NULL), sum(least(n, 1)) FROM {T} GROUP BY s ORDER BY s",
        f"SELECT max(upper(s)) OVER (PARTITION BY nullif(n, 1) ORDER BY upper(s)) FROM {T} GROUP BY s, n ORDER BY 1",
        f"SELECT TRY(CAST(upper(s) AS double)), if(n > 1, greatest(10 / (n - 1), n)) FROM {T} ORDER BY n, s",
        f"SELECT * FROM {T} JOIN (VALUES 'A', 'SS') AS r(k) ON upper(t.s) = r.k AND nullif(n, 2) = 1 ORDER BY upper(k)",
    ],
)  # fmt: skip
def test_an_argument_that_is_bound_to_a_name_gives_the_same_answer(text, monkeypatch):
    given = {name: value for name, value in (("p", "b"), ("q", 3)) if f":{name}" in text}
    written = ask(text, **given)
    monkeypatch.setattr(values, "LONG", 0)
    assert "lambda bound" in athena.translate(text, {}, given, {}).sql
    pd.testing.assert_frame_equal(ask(text, **given), written)


def test_sixty_nested_calls_are_answered():
    assert single_value("SELECT " + "upper(" * 60 + "'a'" + ")" * 60) == "A"
