"""Signatures of mathematics: trigonometry, logarithms, bits and rounding to tens; read like those of `signatures`.

After the pages "Mathematical functions" and "Bitwise functions" of Trino's documentation: what is outside of a
function's domain is NaN, an integer that a result cannot hold fails.
"""

from __future__ import annotations

from stockkit.athena.signatures import NAN, refused

WIDTHS = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
_LOG = "CASE WHEN {x} < 0 THEN " + NAN + " WHEN {x} = 0 THEN CAST('-inf' AS DOUBLE) ELSE ln({x}) END"


def _fail(message: str) -> str:
    return f"CAST(CAST('!{message}' AS BIGINT) AS VARCHAR)::{{local}}"


_NEGATIVE = "WHEN {1} < 0 THEN " + refused("a shift by a negative number of bits is not translated")
_ROUND = (
    "CASE WHEN {1} >= 0 THEN {0} WHEN {1} < -18 THEN " + _fail("numerical overflow") + " ELSE CAST(sign({0}) * "
    "((abs(CAST({0} AS HUGEINT)) + {f} // 2) // {f}) * {f} AS {local}) END"
).replace("{f}", "CAST(pow(10, greatest(-{1}, 0)) AS HUGEINT)")
_BIT_COUNT = (
    "CASE WHEN {1} < 2 OR {1} > 64 THEN " + _fail("Bits specified in bit_count must be between 2 and 64")
    + " WHEN {0} >= {half} OR {0} < -{half} THEN " + _fail("Number must be representable with the bits specified")
    + " ELSE CAST(bit_count(CASE WHEN {0} < 0 THEN {0} + 2 * {half} ELSE CAST({0} AS HUGEINT) END) AS BIGINT) END"
).replace("{half}", "CAST(pow(2, {1} - 1) AS HUGEINT)")  # fmt: skip


def _shifts(kind: str, width: int) -> str:
    """The three shifts of one type: bits that leave it on the left are lost, and the sign is its first bit."""
    whole, half = 2**width, 2 ** (width - 1)
    kept = f"((CAST({{0}} AS HUGEINT) & (({whole} // {{power}}) - 1)) * {{power}})"
    left = f"CASE WHEN {kept} >= {half} THEN {kept} - {whole} ELSE {kept} END"
    unsigned = f"(CASE WHEN {{0}} < 0 THEN {{0}} + CAST({whole} AS HUGEINT) ELSE {{0}} END // {{power}})"
    lines = [
        f"bitwise_left_shift({kind};integer)->{kind} = CASE {_NEGATIVE}"
        f" WHEN {{1}} >= {width} THEN 0 ELSE CAST({left} AS {{local}}) END",
        f"bitwise_right_shift({kind};integer)->{kind} = CASE {_NEGATIVE}"
        f" WHEN {{1}} >= {width} THEN 0 WHEN {{1}} = 0 THEN {{0}} ELSE CAST({unsigned} AS {{local}}) END",
        f"bitwise_right_shift_arithmetic({kind};integer)->{kind} = CASE {_NEGATIVE}"
        f" WHEN {{1}} >= {width} THEN CASE WHEN {{0}} < 0 THEN -1 ELSE 0 END"
        " ELSE CAST({0} >> greatest({1}, 0) AS {local}) END",
    ]
    return "\n".join(lines).replace("{power}", "CAST(pow(2, greatest({1}, 0)) AS HUGEINT)")


SIGNATURES = f"""
round(W;integer)->W = {_ROUND}
asin(double)->double = CASE WHEN abs({{0}}) > 1 THEN {NAN} ELSE asin({{0}}) END
acos(double)->double = CASE WHEN abs({{0}}) > 1 THEN {NAN} ELSE acos({{0}}) END
sinh(double)->double = sinh({{0}})
cosh(double)->double = cosh({{0}})
log(double;double)->double = (({_LOG.replace("{x}", "{1}")}) / ({_LOG.replace("{x}", "{0}")}))
bitwise_and(bigint;bigint)->bigint = ({{0}} & {{1}})
bitwise_or(bigint;bigint)->bigint = ({{0}} | {{1}})
bitwise_xor(bigint;bigint)->bigint = xor({{0}}, {{1}})
bitwise_not(bigint)->bigint = (~{{0}})
bit_count(bigint;bigint)->bigint = {_BIT_COUNT}
{chr(10).join(_shifts(kind, width) for kind, width in WIDTHS.items())}
"""
