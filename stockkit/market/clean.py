"""From what a source answered to bars that can be trusted, and a list of what could not.

Every rule has a name. A row that breaks one goes to `rejects` with the rule, the reason, the file and the
line; nothing is repaired, invented or silently dropped. Where a source answered more than once, the later
answer counts, and what it changed is listed too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_dtype

from stockkit.errors import ParamError, SourceError
from stockkit.market import action_history, answers, jumps, schema, sessions
from stockkit.market import actions as corporate
from stockkit.market.action_history import Known
from stockkit.market.answers import COLUMNS, PRICE_COLUMNS, Answer, Choices, Columns, Reading
from stockkit.market.jumps import MAX_JUMP

MAX_VOLUME = 2**53
ALLOWABLE = ("before_calendar", "fractional_volume", "non_positive_price")

SUGGEST = "`stockkit lake actions suggest`"
RULES: dict[str, str] = {
    "long_line": "the line is longer than 128 KB: it is no row of daily bars",
    "short_row": "the row has fewer fields than the header: it was cut off",
    "spare_field": "the row has more fields than the header: a separator of thousands, or a stray comma",
    "other_symbol": "the row is of another symbol",
    "bad_date": "the date is not a day, written as the column's others are",
    "missing_value": "a price is empty or NaN",
    "not_a_number": (
        "a price or the volume is not a finite number, or the volume is not whole (-p 'allow=[fractional_volume]' "
        "rounds it)"
    ),
    "non_positive_price": (
        "a price is zero or negative: -p 'allow=[non_positive_price]' keeps such rows, which have no return"
    ),
    "negative_volume": "the volume is below zero",
    "high_below_low": "the high is below the low",
    "outside_range": "the open or the close lies outside low to high",
    "before_calendar": (
        "the exchange's calendar does not reach back to that day: -p 'allow=[before_calendar]' keeps such rows"
    ),
    "closed_day": "the exchange was closed on that day",
    "session_not_closed": "the session had not closed when the source answered",
    "repeated_row": "the same row stands earlier in the file",
    "conflicting_rows": "several rows of the file disagree about that day, so none is used",
    "unexplained_jump": (
        f"the close moves by more than {MAX_JUMP} in log terms (a fall of 39 % or a rise of 65 %) from the row "
        "before and no split explains it: add the split, or a split of 1.0 on that day if the move is real; "
        f"{SUGGEST} lists such moves with the ratio that would explain them"
    ),
    "before_jump": (
        "the row comes before a move of the close that no split explains, so it is on another scale than the rows "
        f"after it: {SUGGEST} lists such moves with the ratio that would explain them"
    ),
    "after_jump": (
        "the row comes after a move of the close that no split explains, and the rows since are too few to stand by "
        f"themselves: {SUGGEST} lists such moves with the ratio that would explain them"
    ),
}
STRETCH = ("before_jump", "after_jump")
SCALE = ("unexplained_jump", *STRETCH)


UNUSABLE: Mapping[str, str] = {"symbol": "string", "file": "string", "reason": "string", "superseded": "bool"}


@dataclass(frozen=True)
class Judged:
    """The rows of one answer: the `good` ones (day, numbers; ascending), all `days` it speaks of, its `rejects`.

    `reading` is how they were read.
    """

    good: Columns
    days: np.ndarray
    rejects: pd.DataFrame | None
    reading: Reading


@dataclass(frozen=True)
class Cleaned:
    """Trusted `prices` (schema.PRICES), `rejects` (REJECTS), `corrections` (CORRECTIONS), of all symbols.

    `failures` says of a symbol why its newest answer could not be read, `unusable` (UNUSABLE) of each answer,
    `jumps` (jumps.SUGGESTED) which ratio would explain each jump that divides a history, and `readings` how each
    symbol's last answer was read.
    """

    prices: pd.DataFrame
    rejects: pd.DataFrame
    corrections: pd.DataFrame
    failures: dict[str, str]
    unusable: pd.DataFrame
    jumps: pd.DataFrame
    readings: dict[str, Reading] = field(default_factory=dict)


def clean(
    told: Mapping[str, Sequence[Answer]],
    actions: pd.DataFrame | Known,
    *,
    start: pd.Timestamp,
    as_of: pd.Timestamp,
    calendar: str = sessions.DEFAULT,
    choices: Choices | None = None,
) -> Cleaned:
    """Turn all that a source answered into split-adjusted bars.

    Args:
        told: symbol to its answers, in the order of arrival. An answer speaks for every day from its first to its
            last: a later one replaces what earlier ones said of those days, and withdraws days that it leaves out.
            One that cannot be read says nothing.
        actions: as `actions.ACTIONS`, or with their history: then a row is known no earlier than the splits that
            scale it and the dividend that it carries.
        start: the first session kept; jumps are judged from the first row on all the same.
        as_of: the last; rows and actions after it are as if not yet known.
        calendar: the exchange.
        choices: what the files leave open and the user has decided.
    """
    decided = choices or Choices()
    if unknown := sorted(set(decided.allow) - set(ALLOWABLE)):
        raise ParamError(f"allow: {unknown[0]!r} is none of {', '.join(ALLOWABLE)}.")
    known = actions if isinstance(actions, Known) else Known(actions)
    readings: dict[str, Reading] = {}
    good: dict[str, Columns] = {}
    rejects: list[pd.DataFrame] = []
    corrections: list[pd.DataFrame] = []
    unusable: list[tuple[str, str, str, bool]] = []
    for symbol, answered in sorted(told.items()):
        sound, judged, faults = _judged(answered, as_of, calendar, decided)
        unusable += faults
        if not judged:
            continue
        readings[symbol] = judged[-1].reading
        good[symbol], changes = _merge(sound, judged)
        corrections += [change.assign(symbol=symbol) for change in changes]
        rejects += _standing(judged, good[symbol]["day"])
    effective = known.actions[known.actions["ex_date"] <= as_of]
    rows = corporate.adjust(_block(good), effective)
    jump, borders = _jumps_by_symbol(rows, known, as_of)
    rejects += _jump_rejects(told, rows[jump != ""].assign(rule=jump[jump != ""]), decided, calendar)
    rows["known_at"] = _known_at(rows, known.changed[known.changed["ex_date"] <= as_of])
    kept = (jump == "") & (rows["date"] >= start).to_numpy()
    return Cleaned(
        prices=schema.cast(rows if kept.all() else rows[kept], schema.PRICES),
        rejects=schema.stack(rejects, schema.REJECTS).sort_values(["symbol", "line"], ignore_index=True),
        corrections=schema.stack(corrections, schema.CORRECTIONS),
        failures={symbol: reason for symbol, _, reason, superseded in unusable if not superseded},
        unusable=schema.cast(pd.DataFrame(unusable, columns=list(UNUSABLE)), UNUSABLE),
        jumps=jumps.suggest(rows, borders, effective),
        readings=readings,
    )


def _judged(
    answered: Sequence[Answer], as_of: pd.Timestamp, calendar: str, choices: Choices
) -> tuple[list[Answer], list[Judged], list[tuple[str, str, str, bool]]]:
    """The answers that can be read, how each is judged, and the others as `UNUSABLE`."""
    sound: list[Answer] = []
    judged: list[Judged] = []
    faults: list[tuple[str, str, str, bool]] = []
    for answer in answered:
        try:
            judged.append(judge(answer, as_of, calendar, choices))
            sound.append(answer)
            faults = [(*fault[:3], True) for fault in faults]
        except SourceError as error:
            faults.append((answer.symbol, answer.file, str(error), False))
    return sound, judged, faults


def _block(good: Mapping[str, Columns]) -> pd.DataFrame:
    """The good rows of all symbols in one frame: symbol, date, numbers, known_at."""
    import pyarrow as pa

    if not good:
        return schema.empty({**schema.BARS, "known_at": schema.PRICES["known_at"]})
    codes = pa.array(np.repeat(np.arange(len(good)), [len(own["day"]) for own in good.values()]))
    names = pa.DictionaryArray.from_arrays(codes, pa.array(good, pa.string())).cast(pa.string())
    columns = {name: np.concatenate([own[name] for own in good.values()]) for name in ("day", *COLUMNS, "known_at")}
    block = {
        "symbol": pd.Series(names, dtype="string[pyarrow]"),
        "date": columns.pop("day"),
        **columns,
        "known_at": pd.DatetimeIndex(columns["known_at"]).tz_localize("UTC"),
    }
    return pd.DataFrame(block, copy=False)


def judge(
    answer: Answer, as_of: pd.Timestamp, calendar: str = sessions.DEFAULT, choices: Choices | None = None
) -> Judged:
    """Judge every row of one answer up to `as_of` by the rules that concern one answer alone.

    Raises:
        SourceError: it is no table of daily bars at all (empty, JSON, HTML, a column missing), or can be read in
            more than one way.
    """
    closed = min(as_of, sessions.last_closed(answer.fetched_at, calendar))
    plain = answer.plain
    if plain is not None and len(plain["day"]) and _is_plain(plain, calendar):
        known = slice(np.searchsorted(plain["day"], as_of.to_datetime64(), side="right"))
        days = plain["day"][known]
        if not len(days) or days[-1] <= closed.to_datetime64():
            good = {name: column[known] for name, column in plain.items()}
            return Judged(good, days, None, answers.reading_of(answer))
    decided = choices or Choices()
    found = answers.read_whole(answer, decided, zone=sessions.zone(calendar))
    rows = found.frame[~(found.frame["day"] > as_of)]
    rule = _first_broken_rule(rows, answer, calendar, decided.allow)
    good = _columns(rows.loc[rule == "", ["day", *COLUMNS]].sort_values("day"))
    good["volume"] = schema.whole(np.rint(good["volume"]))
    bad = rows[rule != ""].assign(rule=rule[rule != ""])
    days = rows["day"].dropna().unique().to_numpy()
    return Judged(good, days, _rejects(bad, answer) if len(bad) else None, found.reading)


def _columns(frame: pd.DataFrame) -> Columns:
    return {str(name): frame[name].to_numpy() for name in frame}


def _is_plain(rows: Columns, calendar: str) -> bool:
    """Whether no row breaks a rule, in one go; `_first_broken_rule` says which where it does."""
    day, volume = rows["day"], rows["volume"]
    open_, high, low, close = (rows[name] for name in PRICE_COLUMNS)
    held = sessions.reaching(day.min(), calendar).to_numpy()
    at = np.minimum(np.searchsorted(held, day), len(held) - 1)
    return bool(
        (day[1:] > day[:-1]).all()
        and (held[at] == day).all()
        and (low > 0).all()
        and np.isfinite(high).all()
        and (low <= np.minimum(open_, close)).all()
        and (high >= np.maximum(open_, close)).all()
        and (volume.dtype.kind == "f" or (volume >= 0).all())  # of floats there are only columns that are not there
        and (volume.dtype.kind == "f" or (volume <= MAX_VOLUME).all())
    )


def _first_broken_rule(rows: pd.DataFrame, answer: Answer, calendar: str, allow: Sequence[str] = ()) -> np.ndarray:
    """The name of the first rule that each row breaks, "" for a good row; rules of `allow` are not applied."""
    low, high, volume = rows["low"], rows["high"], rows["volume"]
    prices = rows[list(PRICE_COLUMNS)]
    odd_volume = ~rows["unknown"] & ~(volume.abs() <= MAX_VOLUME)
    if "fractional_volume" not in allow:
        odd_volume |= volume % 1 > 0
    early = rows["day"] < sessions.first(calendar)
    held = sessions.reaching(rows["day"].min(), calendar)
    broken = {
        **{name: rows["fault"] == name for name in ("long_line", "short_row", "spare_field", "other_symbol")},
        "bad_date": rows["day"].isna(),
        "missing_value": rows["blank"],
        "not_a_number": ~np.isfinite(prices.to_numpy()).all(axis=1) | odd_volume,
        "non_positive_price": (prices <= 0).any(axis=1),
        "negative_volume": volume < 0,
        "high_below_low": high < low,
        "outside_range": (prices.max(axis=1) > high) | (prices.min(axis=1) < low),
        "before_calendar": early,
        "closed_day": ~rows["day"].isin(held) & ~early,
        "session_not_closed": rows["day"] > sessions.last_closed(answer.fetched_at, calendar),
    }
    broken = {name: mask for name, mask in broken.items() if name not in allow}
    rule = np.select([np.asarray(mask) for mask in broken.values()], list(broken), default="").astype(object)
    good = rows[rule == ""]
    same, day = good.duplicated(["day", *COLUMNS]), good.duplicated("day", keep=False)
    distinct = good.groupby("day")["line"].transform("size") - same.groupby(good["day"]).transform("sum")
    rule[rule == ""] = np.where(day & (distinct > 1), "conflicting_rows", np.where(same, "repeated_row", ""))
    return rule


def _merge(told: Sequence[Answer], judged: Sequence[Judged]) -> tuple[Columns, list[pd.DataFrame]]:
    """All answers as one: day, numbers, known_at (naive UTC: since when); and what later ones changed."""
    known_at = told[0].since.tz_convert(None).as_unit("ns").to_datetime64()
    first = {**judged[0].good, "known_at": np.full(len(judged[0].good["day"]), known_at)}
    if len(told) == 1:
        return first, []
    current, changes = pd.DataFrame(first), []
    for answer, now in zip(told[1:], judged[1:], strict=True):
        if not len(now.days):
            continue
        both = current.merge(pd.DataFrame(now.good), on="day", how="outer", suffixes=("_before", ""), indicator="where")
        inside = both["day"].between(now.days.min(), now.days.max()) & ~both["day"].isin(now.days)
        withdrawn = (both["where"] == "left_only") & inside
        kept = (both["where"] == "left_only") & ~inside
        differs = pd.concat([_differ(both[name], both[f"{name}_before"]) for name in COLUMNS], axis=1).any(axis=1)
        corrected = (both["where"] == "both") & differs
        for name in COLUMNS:
            both[name] = both[name].where(~kept, both[f"{name}_before"])
        fresh = corrected | (both["where"] == "right_only")
        both["known_at"] = both["known_at"].where(~fresh, answer.since.tz_convert(None))
        if (corrected | withdrawn).any():
            changes.append(_changes(both[corrected | withdrawn], withdrawn, answer))
        current = both.loc[~withdrawn, current.columns].reset_index(drop=True)
        current["volume"] = schema.whole(current["volume"].to_numpy())
    return _columns(current), changes


def _differ(now: pd.Series, before: pd.Series) -> pd.Series:
    """Where two columns differ; two volumes that are both unknown do not."""
    return (now != before) & ~(now.isna() & before.isna())


def _changes(rows: pd.DataFrame, withdrawn: pd.Series, answer: Answer) -> pd.DataFrame:
    gone = withdrawn[rows.index]
    return pd.DataFrame(
        {
            "date": rows["day"],
            "changed_at": answer.since,
            "change": np.where(gone, "withdrawn", "corrected"),
            "close_before": rows["close_before"],
            "close_after": rows["close"].where(~gone),
            "file": answer.file,
        }
    )


def _jumps_by_symbol(prices: pd.DataFrame, known: Known, as_of: pd.Timestamp) -> tuple[np.ndarray, pd.DataFrame]:
    """The jump rule that each row breaks, "" for the others, shape (rows,); and the jumps that stay, symbol and date.

    Most symbols have none. Where a split is listed with a value that cannot be used, the scale of what comes before it
    is not known either.
    """
    codes, names = pd.factorize(prices["symbol"])
    level = jumps.log_level(prices["close"].to_numpy())
    moved = (np.abs(np.diff(level)) > MAX_JUMP) & (codes[1:] == codes[:-1])
    lost = known.faults[(known.faults["kind"] != "dividend").fillna(True) & (known.faults["ex_date"] <= as_of)]
    doubtful = np.flatnonzero(names.isin(lost["symbol"].dropna()))
    rule = np.full(len(prices), "", dtype=object)
    borders = []
    for code in np.union1d(codes[1:][moved], doubtful):
        own, symbol = slice(*np.searchsorted(codes, [code, code + 1])), names[code]
        days = prices["date"].iloc[own]
        stated = known.actions[(known.actions["symbol"] == symbol) & (known.actions["kind"] == "split")]
        real = days.isin(stated.loc[stated["value"] == 1.0, "ex_date"]).to_numpy()
        broken = days.searchsorted(lost.loc[lost["symbol"] == symbol, "ex_date"])
        found = jumps.stretches(level[own], real, broken)
        rule[own] = found.rule
        borders += [(symbol, days.iloc[at]) for at in found.borders]
    return rule, pd.DataFrame(borders, columns=["symbol", "date"])


def _known_at(rows: pd.DataFrame, changed: pd.DataFrame) -> pd.Series:
    """Since when each row is as it is: no earlier than the splits after it became known, and its own dividend.

    A split counts from its ex-date on. Where the close jumps on that day, the rows since hang on it as well: without
    the split one side of the jump was not trusted.
    """
    if changed.empty:
        return rows["known_at"]
    since = rows["known_at"].to_numpy("datetime64[ns]")
    edges = schema.symbol_edges(rows["symbol"])
    names = rows["symbol"].iloc[edges[:-1]].tolist() if len(rows) else []
    place = {name: slice(first, last) for name, first, last in zip(names, edges[:-1], edges[1:], strict=True)}
    raw, date = jumps.log_level(rows["close_raw"].to_numpy()), rows["date"].to_numpy()
    for one in changed[changed["symbol"].isin(place)].to_dict("records"):
        own, day = place[one["symbol"]], one["ex_date"].to_datetime64()
        moment = max(one["changed_at"].tz_convert(None), one["ex_date"]).to_datetime64()
        at = own.start + int(np.searchsorted(date[own], day))
        if one["kind"] == "dividend":
            first, last = at, at + int(at < own.stop and date[at] == day)
        elif one["kind"] == action_history.SCALE:
            first, last = own.start, own.stop
        else:
            jumped = own.start < at < own.stop and abs(raw[at] - raw[at - 1]) > MAX_JUMP
            first, last = own.start, own.stop if jumped else at
        since[first:last] = np.maximum(since[first:last], moment)
    return pd.Series(pd.DatetimeIndex(since).tz_localize("UTC"), index=rows.index)


def _standing(judged: Sequence[Judged], good: np.ndarray) -> list[pd.DataFrame]:
    """The rejects that still matter: all of the last answer, of earlier ones those whose day nobody spoke of since."""
    standing = []
    for at, now in enumerate(judged):
        if now.rejects is not None:
            later = pd.DatetimeIndex(good).union([day for after in judged[at + 1 :] for day in after.days])
            settled = set(later.strftime("%Y-%m-%d")) if at < len(judged) - 1 else set()
            standing.append(now.rejects[~now.rejects["date"].isin(settled)])
    return standing


def _jump_rejects(
    told: Mapping[str, Sequence[Answer]], jumped: pd.DataFrame, choices: Choices, calendar: str
) -> list[pd.DataFrame]:
    """Rows that broke a jump rule, with the line of the newest answer that says so of them."""
    parts = []
    for symbol, own in jumped.groupby("symbol"):
        left = own[["date", "rule", "close_raw"]]
        for answer in reversed(told[str(symbol)]):
            if not len(left):
                break
            try:
                rows = answers.read(answer, choices, zone=sessions.zone(calendar)).drop_duplicates("day")
            except SourceError:
                continue
            keys = {"left_on": ["day", "close"], "right_on": ["date", "close_raw"]}
            both = rows.drop(columns="date").merge(left, **keys)
            parts.append(_rejects(both, answer))
            left = left[~left["date"].isin(both["date"])]
    return parts


def _rejects(bad: pd.DataFrame, answer: Answer) -> pd.DataFrame:
    date = bad["date"].dt.strftime("%Y-%m-%d") if is_datetime64_dtype(bad["date"]) else bad["date"]
    named = bad.assign(symbol=answer.symbol, date=date, reason=bad["rule"].map(RULES), file=answer.file)
    return schema.cast(named, schema.REJECTS).sort_values("line", ignore_index=True)
