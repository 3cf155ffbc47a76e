"""Statements by the kinds of fault that trials found: what Trino answers, where it fails, and what is refused here."""

from __future__ import annotations

from typing import Any

# an argument of the parse tree, or a word of the statement, that nothing read
ANSWERED: list[tuple[str, list[tuple[Any, ...]]]] = [
    ("SELECT x FROM (VALUES 'AA', 'B') t(x) WHERE x NOT LIKE 'A%'", [("B",)]),
    ("SELECT x NOT LIKE 'A%' FROM (VALUES 'AA', 'B', NULL) t(x) ORDER BY x", [(False,), (True,), (None,)]),
    ("SELECT x FROM (VALUES 'A%', 'AB') t(x) WHERE x NOT LIKE 'A!%' ESCAPE '!'", [("AB",)]),
    ("SELECT x FROM (VALUES 'A%', 'AB') t(x) WHERE NOT x NOT LIKE 'A!%' ESCAPE '!'", [("A%",)]),
    ("SELECT count(*) FILTER (WHERE x NOT LIKE 'A%') FROM (VALUES 'AA', 'B', 'C') t(x)", [(2,)]),
    ("SELECT a.x FROM (VALUES 'AA', 'B') a(x) JOIN (VALUES 1) b(y) ON a.x NOT LIKE 'A%'", [("B",)]),
    ("SELECT x FROM (VALUES 'AA', 'B') t(x) GROUP BY x HAVING x NOT LIKE '%A'", [("B",)]),
    ("SELECT CASE WHEN 'b' NOT LIKE 'a' THEN 1 ELSE 2 END", [(1,)]),
    ("SELECT filter(ARRAY['a', 'b'], e -> e NOT LIKE 'a')", [(["b"],)]),
    ("SELECT 'a' NOT IN ('a', 'b'), 2 NOT BETWEEN 1 AND 3, 1 IS NOT NULL, NOT 'a' LIKE 'a'",
     [(False, False, True, False)]),
    ("SELECT x FROM (VALUES 1, 2, 3) t(x) ORDER BY x OFFSET 1 LIMIT 1", [(2,)]),
    ("SELECT x FROM (VALUES 1, 2, 3) t(x) ORDER BY x OFFSET 2 ROWS", [(3,)]),
    ("SELECT x AS isnull, x offset FROM (VALUES 1) t(x)", [(1, 1)]),
    ("SELECT first_value(x) RESPECT NULLS OVER (ORDER BY x DESC) >= 2 FROM (VALUES 2) t(x)", [(True,)]),
    ("SELECT CAST(CAST('2020-01-01 00:00:00.5678 UTC' AS timestamp(3) with time zone) AS varchar)",
     [("2020-01-01 00:00:00.568 UTC",)]),
    ("SELECT CAST(CAST('2020-01-01 00:00 UTC' AS timestamp(1) with time zone) AS varchar)",
     [("2020-01-01 00:00:00.0 UTC",)]),
    ("SELECT bool FROM (VALUES 1) t(bool)", [(1,)]),
    ("SELECT x FROM (VALUES 1, 2) t(x) WHERE x IS NOT DISTINCT FROM 2", [(2,)]),
    ("SELECT extract(year FROM d), trim(BOTH '$' FROM '$v$') FROM (VALUES DATE '2020-01-02') t(d)", [(2020, "v")]),
]  # fmt: skip

# an error there: statement, what the message says
FAILING: list[tuple[str, str]] = [
    ("SELECT x FROM (VALUES 1, 2, 3) t(x) LIMIT 2 OFFSET 1", "OFFSET before LIMIT"),
    ("SELECT x FROM (VALUES 1) t(x) LIMIT 1 ORDER BY x", "wrong place"),
    ("SELECT x FROM (VALUES 1) t(x) HAVING x > 1 GROUP BY x", "wrong place"),
    ("SELECT x FROM (VALUES 1) t(x) WHERE x > 0 WHERE x > 1", "wrong place"),
    ("FROM (VALUES 1) t(x) SELECT x", "begins with SELECT"),
    ("WITH a AS (SELECT 1 AS x) FROM a", "wrong place"),
    ("SELECT x FROM (FROM (VALUES 1) t(x))", "wrong place"),
    ("SELECT x FROM (VALUES 1) t(x) ORDER BY x UNION SELECT 2", "UNION after ORDER BY"),
    ("SELECT DATE '2020-01-01' + INTERVAL 1 DAY", "INTERVAL '1' DAY"),
    ("SELECT DATE '2020-01-01' + INTERVAL '1 day'", "1 day"),
    ("SELECT 1 == 1", "write ="),
    ("SELECT 1 <=> 1", "IS NOT DISTINCT FROM"),
    ("SELECT x FROM (VALUES 1) t(x) WHERE x NOTNULL", "no Athena SQL"),
    ("SELECT x FROM (VALUES 1) t(x) WHERE x ISNULL", "no Athena SQL"),
    ("SELECT 1,", "comma with nothing after"),
    ("SELECT x, FROM (VALUES 1) t(x)", "comma with nothing after"),
    ("SELECT x FROM (VALUES 1) t(x) WHERE x IN (1, )", "comma with nothing after"),
    ("SELECT x FROM (VALUES 1,) t(x)", "comma with nothing after"),
    *[(f"SELECT CAST(1 AS {name})", "TYPE") for name in
      ("int2", "int4", "int8", "bool", "float", "float8", "string", "text", "number", "byte", "datetime", "bytea")],
    ("SELECT EXTRACT(MILLISECOND FROM TIMESTAMP '2020-01-01 00:00:00.5')", "EXTRACT takes one of"),
    ("SELECT EXTRACT(week_of_year FROM DATE '2020-01-01')", "EXTRACT takes one of"),
    ("SELECT !TRUE", "no operator"),
    ("SELECT 5 & 3", "no operator"),
    ("SELECT 'a' 'b'", "side by side"),
    ("SELECT 7 DIV 2", "no Athena SQL"),
    ("SELECT TRUE XOR FALSE", "no Athena SQL"),
    ("SELECT listagg(v, ',', 'zzz') WITHIN GROUP (ORDER BY v) FROM (VALUES 'a') t(v)", "'zzz' stands where"),
    ("SELECT listagg(v, ',', 'v') WITHIN GROUP (ORDER BY v) FROM (VALUES 'a') t(v)", "'v' stands where"),
    ("SELECT DISTINCT ON (x) x FROM (VALUES 1) t(x)", "DISTINCT ON"),
    ("SELECT a.b.c.x FROM (VALUES 1) c(x)", "CATALOG"),
    ("SELECT nowhere.t.x FROM (VALUES 1) t(x)", "cannot be resolved"),
    ("SELECT 1 BETWEEN SYMMETRIC 2 AND 0", "SYMMETRIC"),
    ("SELECT x FROM (VALUES 1) t(x) LIMIT 1, 2", "OFFSET|no Athena SQL"),
]  # fmt: skip

# answered there, refused here
REFUSED: list[tuple[str, str]] = [
    ("SELECT x FROM (VALUES 1, 1) t(x) GROUP BY DISTINCT x", "GROUP BY DISTINCT"),
    ("SELECT x, y FROM (VALUES (1, 2)) t(x, y) GROUP BY DISTINCT ROLLUP (x), CUBE (x, y)", "GROUP BY DISTINCT"),
    ("SELECT x FROM (VALUES 1) t(x) GROUP BY ALL x", "GROUP BY"),
    ("SELECT x FROM (VALUES 1) t(x) NATURAL JOIN (VALUES 1) u(x)", "USING"),
    ("SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) "
     "FROM (VALUES 1) t(x)", "EXCLUDE|no Athena SQL"),
]  # fmt: skip
