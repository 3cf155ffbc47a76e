"""The simple functions: one entry a way to call one, with Athena's types and the SQL that means the same.

A single letter stands for a type: T, U, K, V any, W whole numbers, F real and double, M dates and timestamps. The
further lines of an entry are indented.
Written after the pages "Mathematical", "Bitwise", "String", "Array", "Map" and "Date and time functions and
operators" of Trino's documentation. What is outside of a mathematical function's domain is NaN, an integer that a
result cannot hold fails; what can fail does so by a cast that cannot succeed, see `values.fail`.
"""

from __future__ import annotations

# the results that cannot be NaN unless an argument is
STAYS = {"abs", "sign", "round", "truncate", "floor", "ceil", "ceiling", "nullif", "element_at", "array_sort", "slice",
         "array_distinct", "flatten", "map", "map_values", "map_keys", "reverse", "array_remove", "repeat"}  # fmt: skip
WHITE = "' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(28) || chr(29) || chr(30) || chr(31) || " + (
    " || ".join(f"chr({code})" for code in (0x1680, *range(0x2000, 0x2007), *range(0x2008, 0x200B), 0x2028, 0x2029,
                                            0x205F, 0x3000))
)  # fmt: skip


def _fail(message: str) -> str:
    return f"CAST(CAST('!{message}' AS BIGINT) AS VARCHAR)::{{local}}"


def _unanswered(message: str) -> str:
    """The failure of `values.unanswered`, for an entry of the table."""
    return f"CAST(timezone('!{message}', TIMESTAMP '2000-01-01') AS VARCHAR)::{{local}}"


NAN, MINUS = "CAST('nan' AS DOUBLE)", "CAST('-inf' AS DOUBLE)"
_LN = f"CASE WHEN {{0}} < 0 THEN {NAN} WHEN {{0}} = 0 THEN {MINUS} ELSE {{f}} END"
_SUBSTR = "CASE WHEN {0} IS NOT NULL AND ({1} = 0 OR {1} < -length({0}){more}) THEN '' ELSE substr({0}, {1}{rest}) END"
_BUCKET = (
    "CASE WHEN {3} <= 0 THEN " + _fail("bucketCount must be greater than 0") + " WHEN {1} = {2} OR isnan({0}) OR NOT "
    "isfinite({1}) OR NOT isfinite({2}) THEN " + _fail("bounds must be finite and not equal") + " WHEN {1} < {2} THEN "
    "CASE WHEN {0} < {1} THEN 0 WHEN {0} >= {2} THEN {3} + 1 ELSE "
    "CAST(floor({3} * ({0} - {1}) / ({2} - {1})) AS BIGINT) + 1 END ELSE "
    "CASE WHEN {0} > {1} THEN 0 WHEN {0} <= {2} THEN {3} + 1 ELSE "
    "CAST(floor({3} * ({1} - {0}) / ({1} - {2})) AS BIGINT) + 1 END END"
)
_SLICE = (
    "CASE WHEN {1} = 0 THEN " + _fail("SQL array indices start at 1") + " WHEN {2} < 0 THEN "
    + _fail("length must be greater than or equal to 0") + " WHEN {1} < -len({0}) OR {1} > len({0}) OR {2} = 0 THEN "
    "({0})[1:0] WHEN {1} < 0 THEN ({0})[len({0}) + {1} + 1 : len({0}) + {1} + {2}] ELSE ({0})[{1} : {1} + {2} - 1] END"
)  # fmt: skip
_ELEMENT = "CASE WHEN {1} = 0 THEN " + _fail("SQL array indices start at 1") + " ELSE ({0})[{1}] END"
_SERIES = (
    "CASE WHEN abs(CAST({1} AS HUGEINT) - {0}) // abs({step}) >= 10000 THEN "
    + _fail("result of sequence function must not have more than 10000 entries")
    # the end is bounded too: of constants the local engine works out every branch beforehand
    + " ELSE generate_series({0}, CASE WHEN abs(CAST({1} AS HUGEINT) - {0}) // abs({step}) < 10000 THEN {1} ELSE {0}"
    " END, {step}) END"
)  # fmt: skip
_HAS_NULL = "list_count({0}) < len({0})"
_PART = (
    "CASE WHEN {2} <= 0 THEN " + _fail("Index must be greater than zero") + " WHEN {1} = '' THEN "
    + _fail("The delimiter may not be the empty string") + " ELSE string_split({0}, {1})[{2}] END"
)  # fmt: skip
_PAD = (
    "CASE WHEN {1} < 0 OR {2} = '' THEN " + _fail("Target length must be positive and padding not empty")
    + " ELSE {f}({0}, CAST({1} AS INTEGER), {2}) END"
)  # fmt: skip
_SPLIT = (
    "CASE WHEN {1} = '' THEN " + _fail("The delimiter may not be the empty string") + " ELSE string_split({0}, {1}) END"
)
_REPLACE = (
    "CASE WHEN {1} = '' THEN {2} || array_to_string(list_transform(regexp_extract_all({0}, '(?s).'), "
    "lambda letter: letter || {2}), '') ELSE replace({0}, {1}, {2}) END"
)
# the local engine makes ß an ẞ, Athena leaves it
_UPPER = (
    "CASE WHEN contains({0}, 'ß') THEN "
    "array_to_string(list_transform(string_split({0}, 'ß'), lambda part: upper(part)), 'ß')"
    " ELSE upper({0}) END"
)
_ROUND = "CASE WHEN {1} < 0 THEN round({0} * pow(10, {1})) / pow(10, {1}) ELSE round({0}, {1}) END"
_JOIN = "CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN coalesce(array_to_string({given}, {1}), '') END"
_REPEAT = (
    "CASE WHEN {1} < 0 THEN " + _fail("count argument of repeat function must be greater than or equal to 0")
    + " WHEN {1} > 10000 THEN "
    + _fail("count argument of repeat function must be less than or equal to 10000")
    + " ELSE list_transform(range({1}), lambda item: {0}) END"
)  # fmt: skip
# the local engine counts bytes: each letter is replaced by one that has a single byte
_LETTERS = "regexp_extract_all({0}, '(?s).')"
_CODED = (
    "array_to_string(list_transform("
    + _LETTERS
    + ", lambda letter: chr(CAST(list_position(known, letter) AS INTEGER))), '')"
)
_LEVENSHTEIN = (
    "CASE WHEN {0} IS NULL OR {1} IS NULL THEN NULL WHEN strlen({0} || {1}) = length({0} || {1}) THEN "
    "CAST(levenshtein({0}, {1}) AS BIGINT) ELSE list_transform([list_distinct("
    + _LETTERS.replace("{0}", "{0} || {1}") + ")], lambda known: CASE WHEN len(known) > 127 THEN "
    + _unanswered("levenshtein_distance of more than 127 different letters is not translated")
    + " ELSE CAST(levenshtein(" + _CODED + ", " + _CODED.replace("{0}", "{1}") + ") AS BIGINT) END)[1] END"
)  # fmt: skip
_BINS = (
    "CASE WHEN len({1}) = 0 THEN " + _fail("Bins cannot be an empty array") + " WHEN isnan({0}) THEN "
    + _fail("Operand cannot be NaN")
    + " WHEN list_count({1}) < len({1}) OR list_sort({1}) <> {1}"
    + " OR list_bool_or(list_transform({1}, lambda edge: NOT isfinite(edge)))"
    + " THEN " + _unanswered("bins must be finite and sorted in ascending order")
    + " ELSE CAST(len(list_filter({1}, lambda edge: edge <= {0})) AS BIGINT) END"
)  # fmt: skip
_STRPOS = "CAST(strpos({0}, {1}) AS BIGINT)"


def _with(template: str, **parts: str) -> str:
    for name, part in parts.items():
        template = template.replace("{" + name + "}", part)
    return template


WIDTHS = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
_LOG = _with(_LN, f="ln({0})")
_NEGATIVE = "WHEN {1} < 0 THEN " + _unanswered("a shift by a negative number of bits is not translated")
_ROUND_WHOLE = (
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
    modulus, half = 2**width, 2 ** (width - 1)
    kept = f"((CAST({{0}} AS HUGEINT) & (({modulus} // {{power}}) - 1)) * {{power}})"
    left = f"CASE WHEN {kept} >= {half} THEN {kept} - {modulus} ELSE {kept} END"
    unsigned = f"(CASE WHEN {{0}} < 0 THEN {{0}} + CAST({modulus} AS HUGEINT) ELSE {{0}} END // {{power}})"
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
round(W;integer)->W = {_ROUND_WHOLE}
asin(double)->double = CASE WHEN abs({{0}}) > 1 THEN {NAN} ELSE asin({{0}}) END
acos(double)->double = CASE WHEN abs({{0}}) > 1 THEN {NAN} ELSE acos({{0}}) END
sinh(double)->double = sinh({{0}})
cosh(double)->double = cosh({{0}})
log(double;double)->double = (({_LOG.replace("{0}", "{1}")}) / ({_LOG}))
bitwise_and(bigint;bigint)->bigint = ({{0}} & {{1}})
bitwise_or(bigint;bigint)->bigint = ({{0}} | {{1}})
bitwise_xor(bigint;bigint)->bigint = xor({{0}}, {{1}})
bitwise_not(bigint)->bigint = (~{{0}})
bit_count(bigint;bigint)->bigint = {_BIT_COUNT}
{chr(10).join(_shifts(kind, width) for kind, width in WIDTHS.items())}
abs(W)->W = abs({{0}})
abs(F)->F = abs({{0}})
sign(W)->W = CAST(sign({{0}}) AS {{local}})
sign(F)->F = CASE WHEN isnan({{0}}) THEN {{0}} ELSE CAST(sign({{0}}) AS {{local}}) END
round(W)->W = {{0}}
round(F)->F = round({{0}})
round(real;integer)->real = CAST({_ROUND.replace("{0}", "CAST({0} AS DOUBLE)")} AS FLOAT)
round(double;integer)->double = {_ROUND}
floor(W)->W = {{0}}
floor(F)->F = floor({{0}})
ceil,ceiling(W)->W = {{0}}
ceil,ceiling(F)->F = ceil({{0}})
truncate(F)->F = trunc({{0}})
mod(W;W)->W = ({{0}} % {{1}})
mod(F;F)->F = ({{0}} % {{1}})
power,pow(double;double)->double = pow({{0}}, {{1}})
sqrt(double)->double = CASE WHEN {{0}} < 0 THEN {NAN} ELSE sqrt({{0}}) END
cbrt(double)->double = cbrt({{0}})
exp(double)->double = exp({{0}})
ln(double)->double = {_LOG}
log2(double)->double = {_with(_LN, f="log2({0})")}
log10(double)->double = {_with(_LN, f="log10({0})")}
sin(double)->double = sin({{0}})
cos(double)->double = cos({{0}})
tan(double)->double = tan({{0}})
atan(double)->double = atan({{0}})
atan2(double;double)->double = atan2({{0}}, {{1}})
tanh(double)->double = tanh({{0}})
degrees(double)->double = degrees({{0}})
radians(double)->double = radians({{0}})
pi()->double = pi()
e()->double = exp(CAST(1 AS DOUBLE))
nan()->double = CAST('nan' AS DOUBLE)
infinity()->double = CAST('inf' AS DOUBLE)
is_nan(double)->boolean = isnan({{0}})
is_finite(double)->boolean = isfinite({{0}})
is_infinite(double)->boolean = isinf({{0}})
width_bucket(double;double;double;bigint)->bigint = {_BUCKET}
width_bucket(double;array<double>)->bigint = {_BINS}
length(varchar)->bigint = length({{0}})
lower(varchar)->varchar = lower({{0}})
upper(varchar)->varchar = {_UPPER}
trim(varchar)->varchar = trim({{0}}, {WHITE})
ltrim(varchar)->varchar = ltrim({{0}}, {WHITE})
rtrim(varchar)->varchar = rtrim({{0}}, {WHITE})
trim(varchar;varchar)->varchar = trim({{0}}, {{1}})
ltrim(varchar;varchar)->varchar = ltrim({{0}}, {{1}})
rtrim(varchar;varchar)->varchar = rtrim({{0}}, {{1}})
reverse(varchar)->varchar = array_to_string(list_reverse(regexp_extract_all({{0}}, '(?s).')), '')
reverse(array<T>)->array<T> = list_reverse({{0}})
substr,substring(varchar;bigint)->varchar = {_with(_SUBSTR, more="", rest="")}
substr,substring(varchar;bigint;bigint)->varchar = {_with(_SUBSTR, more=" OR {2} <= 0", rest=", {2}")}
strpos(varchar;varchar)->bigint = {_STRPOS}
starts_with(varchar;varchar)->boolean = starts_with({{0}}, {{1}})
replace(varchar;varchar)->varchar = {_REPLACE.replace("{2}", "''")}
replace(varchar;varchar;varchar)->varchar = {_REPLACE}
lpad(varchar;bigint;varchar)->varchar = {_with(_PAD, f="lpad")}
rpad(varchar;bigint;varchar)->varchar = {_with(_PAD, f="rpad")}
split(varchar;varchar)->array<varchar> = {_SPLIT}
split_part(varchar;varchar;bigint)->varchar = {_PART}
chr(bigint)->varchar = chr(CAST({{0}} AS INTEGER))
levenshtein_distance(varchar;varchar)->bigint = {_LEVENSHTEIN}
cardinality(array<T>)->bigint = CAST(len({{0}}) AS BIGINT)
cardinality(map<K,V>)->bigint = CAST(cardinality({{0}}) AS BIGINT)
element_at(array<T>;bigint)->T = {_ELEMENT}
element_at(map<K,V>;K)->V = map_extract_value({{0}}, {{1}})
array_distinct(array<T>)->array<T> = list_filter({{0}}, lambda item, place: list_position({{0}}, item) = place)
array_sort(array<T>)->array<T> = list_sort({{0}}, 'ASC', 'NULLS LAST')
array_max(array<F>)->F = CASE WHEN list_contains({{0}}, {NAN}) AND NOT {_HAS_NULL} THEN {NAN}
    WHEN {_HAS_NULL} THEN NULL ELSE list_max({{0}}) END
array_min(array<F>)->F = CASE WHEN list_contains({{0}}, {NAN}) THEN {_unanswered("array_min of NaN is not translated")}
    WHEN {_HAS_NULL} THEN NULL ELSE list_min({{0}}) END
array_max(array<T>)->T = CASE WHEN {_HAS_NULL} THEN NULL ELSE list_max({{0}}) END
array_min(array<T>)->T = CASE WHEN {_HAS_NULL} THEN NULL ELSE list_min({{0}}) END
array_position(array<T>;T)->bigint = CASE WHEN {{0}} IS NULL OR {{1}} IS NULL THEN NULL
    ELSE CAST(coalesce(list_position({{0}}, {{1}}), 0) AS BIGINT) END
array_remove(array<T>;T)->array<T> =
    CASE WHEN {{1}} IS NOT NULL THEN list_filter({{0}}, lambda item: item IS DISTINCT FROM {{1}}) END
array_join(array<varchar>;varchar)->varchar = {_with(_JOIN, given="{0}")}
array_join(array<varchar>;varchar;varchar)->varchar = CASE WHEN {{2}} IS NOT NULL
    THEN {_with(_JOIN, given="list_transform({0}, lambda item: coalesce(item, {2}))")} END
array_join(array<bigint>;varchar)->varchar = {_with(_JOIN, given="CAST({0} AS VARCHAR[])")}
array_join(array<bigint>;varchar;varchar)->varchar = CASE WHEN {{2}} IS NOT NULL
    THEN {_with(_JOIN, given="list_transform(CAST({0} AS VARCHAR[]), lambda item: coalesce(item, {2}))")} END
contains(array<T>;T)->boolean = CASE WHEN list_contains({{0}}, {{1}}) THEN TRUE WHEN {_HAS_NULL} THEN NULL
    ELSE list_contains({{0}}, {{1}}) END
slice(array<T>;bigint;bigint)->array<T> = {_SLICE}
flatten(array<array<T>>)->array<T> = flatten({{0}})
repeat(T;bigint)->array<T> = {_REPEAT}
sequence(bigint;bigint)->array<bigint> = {_with(_SERIES, step="(CASE WHEN {0} <= {1} THEN 1 ELSE -1 END)")}
sequence(bigint;bigint;bigint)->array<bigint> = CASE WHEN {{2}} = 0 OR ({{1}} - {{0}}) * {{2}} < 0
    THEN {_fail("sequence stop value should lie in the direction of the step")} ELSE {_with(_SERIES, step="{2}")} END
map(array<K>;array<V>)->map<K,V> = map({{0}}, {{1}})
map_keys(map<K,V>)->array<K> = map_keys({{0}})
map_values(map<K,V>)->array<V> = map_values({{0}})
date(date)->date = {{0}}
to_unixtime(timestamp)->double = (epoch_us({{0}}) / CAST(1000000 AS DOUBLE))
to_unixtime(zoned)->double = (epoch_us({{0}}) / CAST(1000000 AS DOUBLE))
last_day_of_month(date)->date = last_day({{0}})
last_day_of_month(timestamp)->date = last_day({{0}})
to_iso8601(date)->varchar = strftime({{0}}, '%Y-%m-%d')
"""
