"""From what a source answered to bars that can be trusted, and a list of what could not.

Every rule has a name. A row that breaks one goes to `rejects` with the rule, the reason, the file and the
line; nothing is repaired, invented or silently dropped.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockkit.errors import SourceError
from stockkit.market import actions as corporate
from stockkit.market import schema, sessions

COLUMNS = ("open", "high", "low", "close", "volume")
PRICE_COLUMNS = COLUMNS[:4]
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
MAX_JUMP = 0.5
SPIKE = 5

RULES: dict[str, str] = {
    "short_row": "the row has fewer fields than the header: it was cut off",
    "bad_date": "the date is not a day written as YYYY-MM-DD",
    "missing_value": "a price or the volume is empty or NaN",
    "not_a_number": "a price or the volume is not a finite number, or the volume is not whole",
    "non_positive_price": "a price is zero or negative",
    "negative_volume": "the volume is below zero",
    "high_below_low": "the high is below the low",
    "outside_range": "the open or the close lies outside low to high",
    "closed_day": "the exchange was closed on that day",
    "session_not_closed": "the session had not closed when the source answered",
    "repeated_row": "the same row stands earlier in the file",
    "conflicting_rows": "several rows of the file disagree about that day, so none is used",
    "unexplained_jump": (
        f"the close moves by more than {MAX_JUMP} in log terms (a fall of 39 % or a rise of 65 %) from the row "
        "before and no split explains it: add the split to actions.csv, or a split of 1.0 on that day if "
        "the move is real"
    ),
    "after_jump": "the row comes after an unexplained jump, so its scale is not known",
}


@dataclass(frozen=True)
class Answer:
    """What a source said about one symbol: the bytes, where they are kept, and when they were fetched (UTC)."""

    symbol: str
    body: bytes
    file: str
    fetched_at: pd.Timestamp


@dataclass(frozen=True)
class Cleaned:
    """One symbol's trusted `prices` (schema.PRICES) and its `rejects` (schema.REJECTS)."""

    prices: pd.DataFrame
    rejects: pd.DataFrame


def clean(
    answer: Answer,
    actions: pd.DataFrame,
    *,
    start: pd.Timestamp,
    as_of: pd.Timestamp,
    calendar: str = sessions.DEFAULT,
) -> Cleaned:
    """Turn one answer into split-adjusted bars from `start` to `as_of`, both included.

    Rows and actions dated after `as_of` are as if not yet known. Jumps are judged from the first row on.

    Raises:
        SourceError: the bytes are no CSV of daily bars at all (empty, JSON, HTML, a column missing).
    """
    rows = parse(answer)
    known = rows[~(rows["day"] > as_of)]
    known = known.assign(rule=_first_broken_rule(known, answer, calendar))
    own = actions[(actions["symbol"] == answer.symbol) & (actions["ex_date"] <= as_of)]
    good = known[known["rule"] == ""].sort_values("day")
    bars = good[["day", *COLUMNS]].rename(columns={"day": "date"}).astype({"volume": "int64"})
    prices = corporate.adjust(bars, own)
    explained = own.loc[(own["kind"] == "split") & (own["value"] == 1.0), "ex_date"]
    jump = _jumps(prices["close"].to_numpy(), prices["date"].isin(explained).to_numpy())
    known.loc[prices.index, "rule"] = jump
    keep = prices.loc[(jump == "") & (prices["date"] >= start).to_numpy()]
    keep = keep.assign(symbol=answer.symbol, known_at=answer.fetched_at)
    prices = keep[list(schema.PRICES)].astype(dict(schema.PRICES)).reset_index(drop=True)
    return Cleaned(prices=prices, rejects=_rejects(known, answer))


def parse(answer: Answer) -> pd.DataFrame:
    """Read an answer into one row a line: line (in the file), row (verbatim), date (text), day, the numbers.

    What cannot be read as a day or number is NaT or NaN here and is judged by the rules of `clean`.

    Raises:
        SourceError: as for `clean`.
    """
    text = _text(answer)
    reader = csv.reader(io.StringIO(text))
    header = [name.strip().lower() for name in next(reader)]
    header = ["date" if name == "timestamp" else name for name in header]
    _check_header(header, answer)
    lines = [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    if not lines:
        raise SourceError(f"{_who(answer)}: the CSV has a header but no rows.")
    width = max(header.index(name) for name in ("date", *COLUMNS)) + 1
    frame = pd.DataFrame(
        {
            "line": [number for number, _ in lines],
            "row": [",".join(fields)[:200] for _, fields in lines],
            "short": [len(fields) < width for _, fields in lines],
            **{
                name: [fields[at].strip() if at < len(fields) else "" for _, fields in lines]
                for name, at in ((name, header.index(name)) for name in ("date", *COLUMNS))
            },
        }
    )
    return _typed(frame, answer)


def _typed(frame: pd.DataFrame, answer: Answer) -> pd.DataFrame:
    iso = frame["date"].str.fullmatch(DAY)
    days = pd.to_datetime(frame["date"].where(iso), format="%Y-%m-%d", errors="coerce")
    if days.isna().all() and not frame["short"].all():
        raise SourceError(
            f"{_who(answer)}: dates must be written YYYY-MM-DD, found {frame['date'].iloc[0][:40]!r}. "
            "Convert the column and run again; guessing day and month would be worse."
        )
    blank = frame[list(COLUMNS)].isin(["", "nan", "NaN", "NA", "null", "None"]).any(axis=1)
    numbers = {name: np.array([_number(text) for text in frame[name]], dtype="float64") for name in COLUMNS}
    return frame.assign(day=days.astype("datetime64[ns]"), blank=blank, **numbers)


def _number(text: str) -> float:
    """The nearest double, which pandas' own reader misses by a last digit now and then; NaN where it is none."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _text(answer: Answer) -> str:
    """Decode the body, refusing what is plainly not a CSV and repeating what the source said instead."""
    body = answer.body
    if not body.strip():
        raise SourceError(f"{_who(answer)}: the answer is empty.")
    if body.lstrip()[:1] in (b"{", b"["):
        raise SourceError(f"{_who(answer)}: expected CSV, got JSON: {_json_message(body)}")
    if body.lstrip()[:1] == b"<":
        raise SourceError(f"{_who(answer)}: expected CSV, got an HTML or XML page.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{_who(answer)}: not UTF-8 text (byte {error.start}). Save it as UTF-8 CSV.") from error
    if "\x00" in text:
        raise SourceError(f"{_who(answer)}: not a text file: it contains NUL bytes. Save it as UTF-8 CSV.")
    return text


def _json_message(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        said = body[:200].decode("utf-8", "replace")
    if isinstance(said, dict):
        said = next((said[key] for key in ("Note", "Information", "Error Message") if key in said), said)
    return str(said)[:200]


def _check_header(header: list[str], answer: Answer) -> None:
    for name in ("date", *COLUMNS):
        if header.count(name) != 1:
            fault = "lacks the column" if name not in header else "has more than one column"
            wanted = "timestamp (or date), open, high, low, close, volume"
            raise SourceError(
                f"{_who(answer)}: the CSV {fault} {name!r}; its first line is {','.join(header)[:120]!r}. "
                f"Expected {wanted}."
            )


def _first_broken_rule(rows: pd.DataFrame, answer: Answer, calendar: str) -> np.ndarray:
    """The name of the first rule that each row breaks, "" for a good row."""
    low, high, volume = rows["low"], rows["high"], rows["volume"]
    prices = rows[list(PRICE_COLUMNS)]
    numbers = rows[list(COLUMNS)].to_numpy()
    broken = {
        "short_row": rows["short"],
        "bad_date": rows["day"].isna(),
        "missing_value": rows["blank"],
        "not_a_number": ~np.isfinite(numbers).all(axis=1) | (volume % 1 != 0) | (volume.abs() > 2**53),
        "non_positive_price": (prices <= 0).any(axis=1),
        "negative_volume": volume < 0,
        "high_below_low": high < low,
        "outside_range": (prices.max(axis=1) > high) | (prices.min(axis=1) < low),
        "closed_day": ~rows["day"].isin(sessions.every(calendar)),
        "session_not_closed": rows["day"] > sessions.last_closed(answer.fetched_at, calendar),
    }
    rule = np.select([np.asarray(mask) for mask in broken.values()], list(broken), default="").astype(object)
    good = rows[rule == ""]
    same, day = good.duplicated(["day", *COLUMNS]), good.duplicated("day", keep=False)
    distinct = good.groupby("day")["line"].transform("size") - same.groupby(good["day"]).transform("sum")
    rule[rule == ""] = np.where(day & (distinct > 1), "conflicting_rows", np.where(same, "repeated_row", ""))
    return rule


def _jumps(close: np.ndarray, explained: np.ndarray) -> np.ndarray:
    """The jump rule that each row breaks, "" for the others, shape as `close` (ascending by day).

    A spike that returns within `SPIKE` rows costs only itself. After a jump that stays, no later row can be
    trusted: a reader cannot tell on which scale it is.
    """
    level = np.log(close)
    rule = np.full(len(close), "", dtype=object)
    far = np.abs(np.diff(level, prepend=level[:1])) > MAX_JUMP
    back_at = 0
    for at in np.flatnonzero(far & ~explained):
        if at <= back_at and back_at:
            continue
        back = np.flatnonzero(np.abs(level[at + 1 : at + 1 + SPIKE] - level[at - 1]) <= MAX_JUMP)
        if not len(back):
            rule[at:] = np.where(far[at:], "unexplained_jump", "after_jump")
            break
        back_at = at + 1 + back[0]
        rule[at:back_at] = "unexplained_jump"
    return rule


def _rejects(rows: pd.DataFrame, answer: Answer) -> pd.DataFrame:
    bad = rows[rows["rule"] != ""]
    return (
        bad.assign(symbol=answer.symbol, reason=bad["rule"].map(RULES), file=answer.file)[list(schema.REJECTS)]
        .astype(dict(schema.REJECTS))
        .sort_values("line")
        .reset_index(drop=True)
    )


def _who(answer: Answer) -> str:
    return f"{answer.symbol} ({answer.file})"
