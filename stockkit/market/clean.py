"""From what a source answered to bars that can be trusted, and a list of what could not.

Every rule has a name. A row that breaks one goes to `rejects` with the rule, the reason, the file and the
line; nothing is repaired, invented or silently dropped. Where a source answered more than once, the later
answer counts, and what it changed is listed too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stockkit.errors import ParamError, SourceError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market import action_history, corporate_actions, jumps, rules, schema, sessions
from stockkit.market.action_history import Known
from stockkit.market.answers import Answer, Choices, careful
from stockkit.market.answers.layouts import COLUMNS, Reading
from stockkit.market.answers.plain import Columns
from stockkit.market.jumps import MAX_JUMP

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
    received: Mapping[str, Sequence[Answer]],
    actions: pd.DataFrame | Known,
    *,
    start: pd.Timestamp,
    as_of: pd.Timestamp,
    calendar: str = sessions.DEFAULT,
    choices: Choices | None = None,
) -> Cleaned:
    """Turn all that a source answered into split-adjusted bars.

    Args:
        received: symbol to its answers, in the order of arrival. An answer speaks for every day from its first to its
            last: a later one replaces what earlier ones said of those days, and withdraws days that it leaves out.
            One that cannot be read says nothing.
        actions: as `corporate_actions.ACTIONS`, or with their history: then a row is known no earlier than the
            splits that scale it and the dividend that it carries.
        start: the first session kept; jumps are judged from the first row on all the same.
        as_of: the last; rows and actions after it are as if not yet known.
        calendar: the exchange.
        choices: what the files leave open and the user has decided.
    """
    decided = choices or Choices()
    if unknown := sorted(set(decided.allow) - set(rules.ALLOWABLE)):
        raise ParamError(f"allow: {unknown[0]!r} is none of {', '.join(rules.ALLOWABLE)}.")
    known = actions if isinstance(actions, Known) else Known(actions)
    readings: dict[str, Reading] = {}
    good: dict[str, Columns] = {}
    rejects: list[pd.DataFrame] = []
    corrections: list[pd.DataFrame] = []
    unusable: list[tuple[str, str, str, bool]] = []
    for symbol, history in sorted(received.items()):
        sound, judged, faults = _judged(history, as_of, calendar, decided)
        unusable += faults
        if not judged:
            continue
        readings[symbol] = judged[-1].reading
        good[symbol], changes = _merge(sound, judged)
        corrections += [change.assign(symbol=symbol) for change in changes]
        rejects += _standing(judged, good[symbol]["day"])
    effective = known.actions[known.actions["ex_date"] <= as_of]
    rows = corporate_actions.adjust(_block(good), effective)
    jump, borders = _jumps_by_symbol(rows, known, as_of)
    rejects += _jump_rejects(received, rows[jump != ""].assign(rule=jump[jump != ""]), decided, calendar)
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
    history: Sequence[Answer], as_of: pd.Timestamp, calendar: str, choices: Choices
) -> tuple[list[Answer], list[Judged], list[tuple[str, str, str, bool]]]:
    """The answers that can be read, how each is judged, and the others as `UNUSABLE`."""
    sound: list[Answer] = []
    judged: list[Judged] = []
    faults: list[tuple[str, str, str, bool]] = []
    for answer in history:
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
    codes = pa.array(np.repeat(np.arange(len(good)), [len(rows["day"]) for rows in good.values()]))
    names = pa.DictionaryArray.from_arrays(codes, pa.array(good, pa.string())).cast(pa.string())
    columns = {name: np.concatenate([rows[name] for rows in good.values()]) for name in ("day", *COLUMNS, "known_at")}
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

    A plain answer is judged by its columns, and its text read for the rows that fail; any other is read line by line.

    Raises:
        SourceError: it is no table of daily bars at all (empty, JSON, HTML, a column missing), or can be read in
            more than one way.
    """
    decided = choices or Choices()
    plain = answer.plain
    if plain is not None and plain.count:
        columns = _until(plain.columns, as_of)
        rule = _first_broken(columns, answer, calendar, decided)
        bad = np.flatnonzero(rule != "")
        lines = plain.lines(answer.body, answer.who, columns["place"][bad]) if len(bad) else None
        if lines is not None or not len(bad):
            return _sorted_out(columns, rule, lines, answer, plain.reading)
    read = careful.read(answer, decided, zone=sessions.zone(calendar))
    columns = _until(_columns(read.frame.sort_values("day", kind="stable")), as_of)
    rule = _first_broken(columns, answer, calendar, decided)
    lines = pd.DataFrame({name: columns[name][rule != ""] for name in ("line", "row", "date")})
    return _sorted_out(columns, rule, lines, answer, read.reading)


def _until(columns: Columns, as_of: pd.Timestamp) -> Columns:
    """The rows up to a day, and those of which no day is known."""
    known = ~(columns["day"] > as_of.to_datetime64())
    return columns if known.all() else {name: column[known] for name, column in columns.items()}


def _first_broken(columns: Columns, answer: Answer, calendar: str, choices: Choices) -> np.ndarray:
    rows = rules.rows_of(columns, fetched_at=answer.fetched_at, calendar=calendar, allow=choices.allow)
    return rules.first_broken(rows)


def _sorted_out(
    columns: Columns, rule: np.ndarray, lines: pd.DataFrame | None, answer: Answer, reading: Reading
) -> Judged:
    """The good rows of an answer apart from the others, of which `lines` has line, row and date."""
    sound = rule == ""
    good = {name: columns[name] if sound.all() else columns[name][sound] for name in ("day", *COLUMNS)}
    good["volume"] = schema.whole_volumes(np.rint(good["volume"]))
    days = columns["day"] if sound.all() else np.unique(columns["day"][~np.isnat(columns["day"])])
    bad = None if lines is None or lines.empty else _rejects(lines.assign(rule=rule[~sound]), answer)
    return Judged(good, days, bad, reading)


def _columns(frame: pd.DataFrame) -> Columns:
    return {str(name): frame[name].to_numpy() for name in frame}


def _merge(history: Sequence[Answer], judged: Sequence[Judged]) -> tuple[Columns, list[pd.DataFrame]]:
    """All answers as one: day, numbers, known_at (naive UTC: since when); and what later ones changed."""
    known_at = history[0].since.tz_convert(None).as_unit("ns").to_datetime64()
    first = {**judged[0].good, "known_at": np.full(len(judged[0].good["day"]), known_at)}
    if len(history) == 1:
        return first, []
    current, changes = pd.DataFrame(first), []
    for answer, now in zip(history[1:], judged[1:], strict=True):
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
        current["volume"] = schema.whole_volumes(current["volume"].to_numpy())
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
        rows, symbol = slice(*np.searchsorted(codes, [code, code + 1])), names[code]
        days = prices["date"].iloc[rows]
        stated = known.actions[(known.actions["symbol"] == symbol) & (known.actions["kind"] == "split")]
        real = days.isin(stated.loc[stated["value"] == 1.0, "ex_date"]).to_numpy()
        broken = days.searchsorted(lost.loc[lost["symbol"] == symbol, "ex_date"])
        divided = jumps.stretches(level[rows], real, broken)
        rule[rows] = divided.rule
        borders += [(symbol, days.iloc[at]) for at in divided.borders]
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
    for change in changed[changed["symbol"].isin(place)].to_dict("records"):
        span, day = place[change["symbol"]], change["ex_date"].to_datetime64()
        moment = max(change["changed_at"].tz_convert(None), change["ex_date"]).to_datetime64()
        at = span.start + int(np.searchsorted(date[span], day))
        if change["kind"] == "dividend":
            first, last = at, at + int(at < span.stop and date[at] == day)
        elif change["kind"] == action_history.SCALE:
            first, last = span.start, span.stop
        else:
            jumped = span.start < at < span.stop and abs(raw[at] - raw[at - 1]) > MAX_JUMP
            first, last = span.start, span.stop if jumped else at
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
    received: Mapping[str, Sequence[Answer]], jumped: pd.DataFrame, choices: Choices, calendar: str
) -> list[pd.DataFrame]:
    """Rows that broke a jump rule, with the line of the newest answer that says so of them."""
    parts = []
    for symbol, refused in jumped.groupby("symbol"):
        left = refused[["date", "rule", "close_raw"]]
        for answer in reversed(received[str(symbol)]):
            if not len(left):
                break
            try:
                rows = careful.read(answer, choices, zone=sessions.zone(calendar)).frame.drop_duplicates("day")
            except SourceError:
                continue
            keys = {"left_on": ["day", "close"], "right_on": ["date", "close_raw"]}
            both = rows.drop(columns="date").merge(left, **keys)
            parts.append(_rejects(both, answer))
            left = left[~left["date"].isin(both["date"])]
    return parts


def meaning(rule: str) -> str:
    """What a broken rule means, for the reader of the rejects."""
    return rules.RULES[rule].meaning if rule in rules.RULES else jumps.MEANINGS[rule]


def _rejects(bad: pd.DataFrame, answer: Answer) -> pd.DataFrame:
    date = bad["date"].dt.strftime("%Y-%m-%d") if pd.api.types.is_datetime64_dtype(bad["date"]) else bad["date"]
    named = bad.assign(symbol=answer.symbol, date=date, reason=bad["rule"].map(meaning), file=answer.file)
    return schema.cast(named, schema.REJECTS).sort_values("line", ignore_index=True)
