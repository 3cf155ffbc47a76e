"""More statements with the answers that Trino's documentation says they have, by hand; of the same form as `corpus`.

Where the documentation is silent, the answer follows from the engine's source (named beside the group), worked
out by hand.
"""

from __future__ import annotations

import math
from typing import Any

from tests.lake.corpus import INF, NAN, D, day

S = "(VALUES (1, 'a', 10), (2, 'b', NULL), (3, 'a', 30), (4, NULL, 20)) AS t(n, k, x)"

# expression → value
VALUES: dict[str, list[tuple[str, Any]]] = {
    # functions/conversion.html; since release 369 a double is spelled by the SQL standard: 0.0###E0, zero as 0E0
    "casts of real and double": [
        ("CAST(1e10 AS varchar)", "1.0E10"),
        ("CAST(1e0 AS varchar)", "1.0E0"),
        ("CAST(0.1e0 AS varchar)", "1.0E-1"),
        ("CAST(1e-5 AS varchar)", "1.0E-5"),
        ("CAST(-123456.789e0 AS varchar)", "-1.23456789E5"),
        ("CAST(37.7e0 AS varchar)", "3.77E1"),
        ("CAST(100e0 AS varchar)", "1.0E2"),
        ("CAST(1.7976931348623157e308 AS varchar)", "1.7976931348623157E308"),
        ("CAST(0e0 AS varchar)", "0E0"),
        ("CAST(-0e0 AS varchar)", "-0E0"),
        ("CAST(nan() AS varchar)", "NaN"),
        ("CAST(infinity() AS varchar)", "Infinity"),
        ("CAST(-infinity() AS varchar)", "-Infinity"),
        ("CAST(CAST(NULL AS double) AS varchar)", None),
        ("CAST(1e0 / 3 AS varchar)", "3.333333333333333E-1"),
        ("CAST(sum(x) AS varchar) FROM (VALUES 1e0, 2.5e0) t(x)", "3.5E0"),
        ("CAST(ARRAY[1e0, NULL, nan()] AS array(varchar))", ["1.0E0", None, "NaN"]),
        ("CAST(1e0 AS varchar) || '!'", "1.0E0!"),
        # a real keeps seven digits, rounded half to even
        ("CAST(CAST(0.1 AS real) AS varchar)", "1.0E-1"),
        ("CAST(CAST(123456.789 AS real) AS varchar)", "1.234568E5"),
        ("CAST(CAST(16777216 AS real) AS varchar)", "1.677722E7"),
        ("CAST(CAST(1234567.5 AS real) AS varchar)", "1.234568E6"),
        ("CAST(CAST(1234566.5 AS real) AS varchar)", "1.234566E6"),
        ("CAST(CAST(-2.5 AS real) AS varchar)", "-2.5E0"),
        # BigDecimal.valueOf(double), half up
        ("CAST(1.005e0 AS decimal(5,2))", D("1.01")),
        ("CAST(-1.005e0 AS decimal(5,2))", D("-1.01")),
        ("CAST(0.125e0 AS decimal(10,2))", D("0.13")),
        ("CAST(1e37 AS decimal(38,0))", D("10000000000000000000000000000000000000")),
        ("CAST(1e-7 AS decimal(8,7))", D("1E-7")),
        ("CAST(CAST(0.1 AS real) AS decimal(10,9))", D("0.100000000")),
        ("CAST(CAST(NULL AS double) AS decimal(5,2))", None),
        ("TRY_CAST(nan() AS decimal(5,2))", None),
        ("TRY_CAST(1e3 AS decimal(5,2))", None),
        ("TRY(CAST(infinity() AS decimal(5,2)))", None),
        ("CAST(0e0 AS boolean)", False),
        ("CAST(-0.5e0 AS boolean)", True),
        ("CAST(nan() AS boolean)", True),
        # varchar(n) cuts a text; what is spelled out of another type must fit
        ("CAST('abc' AS varchar(2))", "ab"),
        ("CAST('äöü' AS varchar(2))", "äö"),
        ("CAST(12 AS varchar(2))", "12"),
        ("CAST(-1.5 AS varchar(4))", "-1.5"),
        ("CAST(TRUE AS varchar(4))", "true"),
        ("CAST(DATE '2020-01-01' AS varchar(10))", "2020-01-01"),
        ("CAST(1e0 AS varchar(5))", "1.0E0"),
        ("TRY_CAST(123 AS varchar(2))", None),
        ("CAST(NULL AS varchar(2))", None),
    ],
    # functions/math.html
    "functions/math, more": [
        ("asin(1)", math.pi / 2),
        ("asin(2)", NAN),
        ("acos(-1)", math.pi),
        ("acos(-1.5e0)", NAN),
        ("atan(1)", math.pi / 4),
        ("atan2(-1, -1)", -3 * math.pi / 4),
        ("sinh(1)", math.sinh(1)),
        ("cosh(1)", math.cosh(1)),
        ("cosh(1000)", INF),
        ("sin(infinity())", NAN),
        ("tan(nan())", NAN),
        ("acos(NULL)", None),
        ("log(2, 8)", 3.0),
        ("log(10, 0.01)", -2.0),
        ("log(2, 0)", -INF),
        ("log(2, -1)", NAN),
        ("log(1, 5)", INF),
        ("log(0.5e0, 0)", INF),
        ("log(NULL, 2)", None),
        # MathFunctions.round of whole numbers: LongMath.divide half up, that is, away from zero
        ("round(155, -1)", 160),
        ("round(-155, -1)", -160),
        ("round(154, -1)", 150),
        ("round(5, -1)", 10),
        ("round(4, -1)", 0),
        ("round(123, -3)", 0),
        ("round(BIGINT '9223372036854775807', -18)", 9000000000000000000),
        ("TRY(round(155, -1))", 160),
        ("TRY(round(2147483647, -1))", None),
        ("round(CAST(NULL AS integer), -1)", None),
        ("round(1234.56, -1)", D("1230.00")),
        ("round(-1254.56, -2)", D("-1300.00")),
        ("round(1.25, 5)", D("1.25")),
        ("truncate(2.75)", D("2")),
        ("truncate(-2.75)", D("-2")),
        ("truncate(-2.7e0)", -2.0),
        ("truncate(nan())", NAN),
        ("truncate(12.3456, 2)", D("12.3400")),
        ("truncate(-12.3456, 2)", D("-12.3400")),
        ("truncate(1234.5, -2)", D("1200.0")),
        ("truncate(1.2, 5)", D("1.2")),
        ("sign(-0.25)", D("-1")),
        ("sign(0.0)", D("0")),
        ("mod(5.5e0, 2)", 1.5),
        ("mod(-5e0, 3)", -2.0),
        ("mod(5, 2e0)", 1.0),
        ("mod(5, 0e0)", NAN),
        ("mod(1.5, 2e0)", 1.5),
        ("mod(CAST(5 AS real), 2)", 1.0),
    ],
    # functions/bitwise.html: the examples of the page; BitwiseFunctions for the sign and for wide shifts
    "functions/bitwise": [
        ("bit_count(9, 64)", 2),
        ("bit_count(9, 8)", 2),
        ("bit_count(-7, 64)", 62),
        ("bit_count(-7, 8)", 6),
        ("bitwise_and(19, 25)", 17),
        ("bitwise_not(-12)", 11),
        ("bitwise_not(19)", -20),
        ("bitwise_not(25)", -26),
        ("bitwise_or(19, 25)", 27),
        ("bitwise_xor(19, 25)", 10),
        ("bitwise_xor(-1, BIGINT '1')", -2),
        ("bitwise_and(NULL, 1)", None),
        ("bitwise_left_shift(1, 2)", 4),
        ("bitwise_left_shift(5, 2)", 20),
        ("bitwise_left_shift(20, 0)", 20),
        ("bitwise_left_shift(7, 31)", -2147483648),
        ("bitwise_left_shift(1, 32)", 0),
        ("bitwise_left_shift(BIGINT '1', 63)", -9223372036854775808),
        ("bitwise_left_shift(BIGINT '-1', 1)", -2),
        ("bitwise_left_shift(TINYINT '-1', 7)", -128),
        ("bitwise_right_shift(8, 3)", 1),
        ("bitwise_right_shift(9, 1)", 4),
        ("bitwise_right_shift(20, 0)", 20),
        ("bitwise_right_shift(12, 64)", 0),
        ("bitwise_right_shift(-45, 64)", 0),
        ("bitwise_right_shift(-1, 1)", 2147483647),
        ("bitwise_right_shift(BIGINT '-1', 1)", 9223372036854775807),
        ("bitwise_right_shift_arithmetic(12, 64)", 0),
        ("bitwise_right_shift_arithmetic(-45, 64)", -1),
        ("bitwise_right_shift_arithmetic(-5, 1)", -3),
    ],
    # functions/conversion.html: typeof
    "typeof": [
        ("typeof(123)", "integer"),
        ("typeof(BIGINT '1')", "bigint"),
        ("typeof(1.5)", "decimal(2,1)"),
        ("typeof(cos(2) + 1.5)", "double"),
        ("typeof(CAST('cat' AS varchar))", "varchar"),
        ("typeof(NULL)", "unknown"),
        ("typeof(ARRAY[1.5])", "array(decimal(2,1))"),
        ("typeof(map(ARRAY[1], ARRAY[2e0]))", "map(integer, double)"),
        ("typeof(DATE '2020-01-01')", "date"),
        ("typeof(TIMESTAMP '2020-01-01 00:00:00.123')", "timestamp(3)"),
        ("typeof(TIMESTAMP '2020-01-01 00:00:00 UTC')", "timestamp(0) with time zone"),
        ("typeof(ROW(1, TRUE))", "row(integer, boolean)"),
    ],
    # functions/regexp.html
    "functions/regexp, more": [
        ("regexp_split('1a 2b 14m', '\\s*[a-z]+\\s*')", ["1", "2", "14", ""]),
        ("regexp_split(',a,,b', ',')", ["", "a", "", "b"]),
        ("regexp_split('abc', 'x')", ["abc"]),
        ("regexp_split('', 'x')", [""]),
        ("regexp_split(NULL, 'x')", None),
        ("regexp_split('äaöaü', 'a')", ["ä", "ö", "ü"]),
        ("regexp_count('1a 2b 14m', '\\s*[a-z]+\\s*')", 3),
        ("regexp_count('', 'a')", 0),
        ("regexp_count(NULL, 'a')", None),
        ("regexp_position('I have 23 apples, 5 pears and 13 oranges', '\\d+')", 8),
        ("regexp_position('I have 23 apples, 5 pears and 13 oranges', '\\d+', 12)", 19),
        ("regexp_position('I have 23 apples, 5 pears and 13 oranges', '\\d+', 12, 2)", 31),
        ("regexp_position('I have 23 apples, 5 pears and 13 oranges', '\\d+', 12, 3)", -1),
        ("regexp_position('abc', 'c', 4)", -1),
        ("regexp_position('', 'a')", -1),
        ("regexp_position('äöa', 'a')", 3),
        ("regexp_position(NULL, 'a')", None),
    ],
    # functions/aggregate.html: "null for no input rows or when all values are null"
    "functions/aggregate, more": [
        (f"{expression} FROM {S}", expected)
        for expression, expected in [
            ("max(x, 2)", [30, 20]),
            ("min(x, 2)", [10, 20]),
            ("max(x, 10)", [30, 20, 10]),
            ("min(k, 2)", ["a", "a"]),
            ("max(x, 1) FILTER (WHERE x > 99)", None),
            ("max(x, 2) FILTER (WHERE x IS NULL)", None),
            ("max_by(n, x, 2)", [3, 4]),
            ("min_by(n, x, 2)", [1, 4]),
            ("listagg(DISTINCT k, ',') WITHIN GROUP (ORDER BY k DESC)", "b,a"),
            ("listagg(k, ',') WITHIN GROUP (ORDER BY n) FILTER (WHERE n > 1)", "b,a"),
            ("listagg(k, ',') WITHIN GROUP (ORDER BY n) FILTER (WHERE n > 9)", None),
            ("listagg(DISTINCT k) WITHIN GROUP (ORDER BY k) FILTER (WHERE n <> 2)", "a"),
            ("bitwise_and_agg(n)", 0),
            ("bitwise_or_agg(n)", 7),
            ("bitwise_xor_agg(n)", 4),
            ("bitwise_and_agg(x) FILTER (WHERE x IS NULL)", None),
            # CentralMomentsAggregation: of 1, 2, 3, 4 the kurtosis is 4·5/(3·2·1)·... = -1.2
            ("skewness(n)", 0.0),
            ("kurtosis(n)", -1.2),
            ("skewness(n) FILTER (WHERE n < 3)", None),
            ("kurtosis(n) FILTER (WHERE n < 4)", None),
            ("TRY(skewness(n))", 0.0),
        ]
    ]
    + [
        ("skewness(x) FROM (VALUES 1, 1, 4) t(x)", 1 / math.sqrt(2)),
        ("skewness(x) FROM (VALUES 1e0, 1e0, 1e0) t(x)", NAN),
        ("kurtosis(x) FROM (VALUES 1, 1, 1, 1) t(x)", NAN),
        ("skewness(x) FROM (VALUES 1e0, 2e0, nan()) t(x)", NAN),
        ("skewness(x + 1000000) FROM (VALUES 1e0, 1e0, 4e0) t(x)", 1 / math.sqrt(2)),
        (
            "max(x, 2) FROM (VALUES DATE '2020-01-02', NULL, DATE '2020-01-03') t(x)",
            [day("2020-01-03").date(), day("2020-01-02").date()],
        ),
    ],
}

QUERIES: list[tuple[str, list[tuple[Any, ...]]]] = [
    # release 468: DISTINCT and listagg in windows
    (f"SELECT n, count(DISTINCT k) OVER (ORDER BY n) FROM {S} ORDER BY 1", [(1, 1), (2, 2), (3, 2), (4, 2)]),
    (
        "SELECT n, sum(DISTINCT x) OVER (PARTITION BY k)"
        " FROM (VALUES (1, 'a', 5), (2, 'a', 5), (3, 'b', NULL)) t(n, k, x) ORDER BY 1",
        [(1, 5), (2, 5), (3, None)],
    ),
    (
        f"SELECT n, listagg(k, '-') WITHIN GROUP (ORDER BY n DESC) OVER (ORDER BY n) FROM {S} ORDER BY 1",
        [(1, "a"), (2, "b-a"), (3, "a-b-a"), (4, "a-b-a")],
    ),
    (
        f"SELECT n, max(x, 2) OVER (ORDER BY n) FROM {S} ORDER BY 1",
        [(1, [10]), (2, [10]), (3, [30, 10]), (4, [30, 20])],
    ),
    (
        "SELECT n, skewness(x) OVER (ORDER BY n ROWS 2 PRECEDING)"
        " FROM (VALUES (1, 1), (2, 1), (3, 4)) t(n, x) ORDER BY 1",
        [(1, None), (2, None), (3, 1 / math.sqrt(2))],
    ),
]

FAILING: list[tuple[str, str]] = [
    ("SELECT CAST(123 AS varchar(2))", "cannot be represented as varchar"),
    ("SELECT CAST(1e5 AS varchar(4))", "cannot be represented as varchar"),
    ("SELECT CAST(DATE '2020-01-01' AS varchar(4))", "cannot be represented as varchar"),
    ("SELECT CAST(1e5 AS decimal(5,2))", "Cannot cast double to decimal"),
    ("SELECT CAST(nan() AS decimal(5,2))", "Cannot cast double to decimal"),
    ("SELECT round(2147483647, -1)", "out of range"),
    ("SELECT round(5, -19)", "overflow"),
    ("SELECT bit_count(200, 8)", "representable with the bits"),
    ("SELECT bit_count(0, 1)", "between 2 and 64"),
    ("SELECT bitwise_and(1.5, 1)", "Unexpected parameters"),
    ("SELECT max(x, 0) FROM (VALUES 1) t(x)", "whole number from 1"),
    ("SELECT sum(x) FILTER (WHERE x > 1) OVER () FROM (VALUES 1) t(x)", "CASE WHEN"),
    ("SELECT array_agg(x ORDER BY x) OVER () FROM (VALUES 1) t(x)", "ORDER BY"),
    ("SELECT listagg(DISTINCT k, ',') WITHIN GROUP (ORDER BY n) FROM (VALUES (1, 'a')) t(n, k)", "must appear in arg"),
    ("SELECT regexp_position('a', 'a', 0)", "from 1"),
]

REFUSED: list[tuple[str, str]] = [
    ("SELECT typeof('a')", "length of a varchar"),
    ("SELECT round(99.95, -2)", "not translated"),
    ("SELECT bitwise_left_shift(1, -1)", "negative number of bits"),
    ("SELECT regexp_count('abc', 'x*')", "matches an empty text"),
    ("SELECT max(x, 2) FROM (VALUES nan(), 1e0) t(x)", "NaN"),
]
