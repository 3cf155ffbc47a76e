"""From a source to trusted tables: fetch each symbol, keep the bytes, clean them, count what was wrong.

Example:
    >>> from stockkit import ingest, open_lake
    >>> fetched = ingest.fetch(open_lake("data/lake"), "sample", ["AAPL"])
    >>> len(ingest.clean_all(fetched).prices)
    2699
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import pandas as pd

from stockkit.errors import BudgetSpent, LakeError, SourceError
from stockkit.intake import ingested
from stockkit.intake.folder import ACTIONS_FILE
from stockkit.intake.ingested import NOTES, Fetched, Ingested
from stockkit.intake.source import Source, fetch_many
from stockkit.intake.sources import is_complete, open_source
from stockkit.lake import raw
from stockkit.lake.tables import Lake
from stockkit.market import action_history, answers, clean, schema, sessions
from stockkit.market import actions as corporate
from stockkit.market.action_history import Statement
from stockkit.market.answers import Answer

EARLIEST, LATEST = "earliest", "latest"
COMPACT_WITHIN = pd.Timedelta(days=120)  # a short answer has 100 sessions, which is 140 days and more
HAND = "hand"  # the name under which the raw zone keeps the actions that a user adds
ADDED = "the list of added actions"
SHORT = 100  # rows of a short answer; a longer one is a whole history
OnDone = Callable[[str, int, int], None]


def fetch(
    lake: Lake, source: str, symbols: Sequence[str], *, check: str = "", on_done: OnDone | None = None
) -> Fetched:
    """Ask a source for each symbol and keep every usable answer in the raw zone.

    A symbol whose answer is unusable is listed in `failures`; what the same source said before stands, and so it is
    where its corporate actions cannot be read or a file of the raw zone is damaged. Where the
    source's allowance does not reach, the symbols with the oldest data go first and the rest are `deferred`.

    Args:
        lake: where answers are kept.
        source: as `sources.open_source` takes it.
        symbols: for what to ask.
        check: a second source. Only splits and dividends that it confirms are then trusted; the others are
            listed in `conflicts`.
        on_done: called with symbol, how many are done, and of how many.

    Raises:
        SymbolError, ParamError: before anything is fetched. SchemaError: the list of corporate actions is none.
        LakeError: the lake cannot be written.
    """
    symbols = schema.check_symbols(symbols)
    first = _ask(lake, source, symbols, on_done)
    if not check:
        return first
    second = _ask(lake, check, symbols, on_done)
    told = [_covered(one, both) for both in [_span(first, second)] for one in (first, second)]
    trusted, conflicts = corporate.agree(*told)
    return replace(first, known=replace(first.known, actions=trusted), conflicts=conflicts)


def _ask(lake: Lake, source: str, symbols: Sequence[str], on_done: OnDone | None) -> Fetched:
    """What one source says now, or said before, of each symbol."""
    origin = open_source(source, root=lake.root, lake=lake.folder, secrets_client=lake.secrets_client)
    before = {symbol: raw.read(lake.path, origin.name, symbol) for symbol in symbols}
    seen = {symbol: held.answers[-1].fetched_at for symbol, held in before.items() if held.answers}
    now, later = origin.plan(symbols, seen)
    compact = {
        symbol: origin.now() - moment < COMPACT_WITHIN and not before[symbol].damaged and _reads(before[symbol].answers)
        for symbol, moment in seen.items()
    }
    fresh, errors = _gather(lake, origin, now, compact, on_done)
    body = origin.actions()
    if body is not None:
        corporate.read(body, file="actions.csv")
        raw.keep(lake.path, origin.name, None, body, origin.now())
    sound = {one.file: one for held in before.values() for one in held.answers} | fresh
    known = recall(lake, origin.name, symbols, now=origin.now(), with_actions=body is not None, cached=sound)
    deferred = dict.fromkeys(later, "the allowance of today is spent")
    deferred |= {symbol: str(error) for symbol, error in errors.items() if isinstance(error, BudgetSpent)}
    reset = f" Next try after {origin.resets_at():%Y-%m-%d %H:%M} UTC." if later and origin.resets_at() else ""
    deferred = {symbol: f"{symbol} waits: {reason}.{reset}" for symbol, reason in deferred.items()}
    none_asked = set(deferred) == set(symbols)
    failures = {symbol: str(error) for symbol, error in errors.items() if symbol not in deferred}
    for symbol, reason in deferred.items():
        if symbol not in known.told:
            failures[symbol] = f"{reason} Nothing is known of it yet."
        elif none_asked:
            failures[symbol] = f"{reason} No symbol could be asked for."
    return replace(known, failures=_with_earlier(known, failures), deferred=deferred)


def _with_earlier(known: Fetched, failures: Mapping[str, str]) -> dict[str, str]:
    """Each failure with what stands in its place, and those that the raw zone itself has."""
    said = dict(failures)
    for symbol in failures:
        if earlier := known.told.get(symbol):
            said[symbol] += f" What it said until {earlier[-1].fetched_at:%Y-%m-%d %H:%M} UTC stands."
    return {
        **known.failures,
        **{symbol: _joined(reason, known.failures.get(symbol)) for symbol, reason in said.items()},
    }


def _joined(*reasons: str | None) -> str:
    return " ".join(reason for reason in reasons if reason)


def _reads(told: Sequence[Answer]) -> bool:
    """Whether the newest answer can be read, so that the last rows are enough to go on from it."""
    try:
        return told[-1].plain is not None or bool(len(answers.read(told[-1])))
    except SourceError:
        return False


def _gather(
    lake: Lake, origin: Source, symbols: Sequence[str], compact: Mapping[str, bool], on_done: OnDone | None
) -> tuple[dict[str, Answer], dict[str, SourceError]]:
    """The answers that are now in the raw zone, by file, and by symbol the errors that came in place of one."""
    fresh: dict[str, Answer] = {}

    def keep(symbol: str, body: bytes) -> None:
        """Keep an answer that is a CSV of daily bars, and read it while others are on their way."""
        moment = origin.now()
        answers.check(Answer(symbol, body, origin.file(symbol), moment))
        answer = raw.keep(lake.path, origin.name, symbol, body, moment)
        fresh[answer.file] = answer
        _ = answer.plain

    return fresh, fetch_many(origin, symbols, keep, compact=compact, on_done=on_done)


def _span(first: Fetched, second: Fetched) -> pd.DataFrame:
    """The days that both sources have bars of: symbol, start and end; of symbols that both know."""
    days = [{symbol: _days(told) for symbol, told in one.told.items() if _reads(told)} for one in (first, second)]
    rows = [
        (symbol, max(days[0][symbol][0], days[1][symbol][0]), min(days[0][symbol][1], days[1][symbol][1]))
        for symbol in sorted(set(days[0]) & set(days[1]))
    ]
    return pd.DataFrame(rows, columns=["symbol", "start", "end"]).astype({"symbol": "string"})


def _days(told: Sequence[Answer]) -> tuple[pd.Timestamp, pd.Timestamp]:
    read = [one for one in told if _reads([one])]
    days = pd.concat([pd.Series(one.plain["day"]) if one.plain else answers.read(one)["day"] for one in read])
    return days.min(), days.max()


def _covered(one: Fetched, both: pd.DataFrame) -> pd.DataFrame:
    """The corporate actions of one source within the days that both have."""
    known = one.actions.merge(both, on="symbol")
    inside = known["ex_date"].between(known["start"], known["end"])
    return known.loc[inside, list(corporate.ACTIONS)].astype(dict(corporate.ACTIONS)).reset_index(drop=True)


def recall(
    lake: Lake,
    source: str,
    symbols: Sequence[str],
    *,
    now: pd.Timestamp,
    until: pd.Timestamp | None = None,
    with_actions: bool = True,
    cached: Mapping[str, Answer] | None = None,
) -> Fetched:
    """What the raw zone holds of a source, without asking it; only what was known before `until` (UTC) if given.

    `cached` are answers that need not be read again, by file.
    """
    held = {symbol: raw.read(lake.path, source, symbol, until=until, known=cached) for symbol in symbols}
    told = {symbol: one.answers for symbol, one in held.items() if one.answers}
    lists = {ACTIONS_FILE: source} if with_actions else {}
    listed = {name: raw.read(lake.path, kept, None, until=until) for name, kept in {**lists, ADDED: HAND}.items()}
    known = action_history.known(
        _lists(listed, ACTIONS_FILE),
        [statement for answered in told.values() for statement in _statements(answered)],
        _lists(listed, ADDED),
    )
    faults = known.faults[known.faults["symbol"].isin(symbols).fillna(False) | known.faults["symbol"].isna()]
    failures = _lacking(held, complete=is_complete(source))
    for name, own in faults.assign(symbol=faults["symbol"].fillna(ACTIONS_FILE)).groupby("symbol"):
        failures[str(name)] = _joined(failures.get(str(name)), f"{name}: " + " ".join(own["reason"]))
    return Fetched(told, replace(known, faults=faults), failures, now, notes=_notes({**held, **listed}))


def _lists(listed: Mapping[str, raw.Holding], file: str) -> list[Statement]:
    """The lists of corporate actions of one name, as they arrived.

    Raises:
        LakeError: the newest is damaged: without it no price is on a known scale.
    """
    held = listed.get(file, raw.Holding())
    newest = raw.order(held.answers[-1].file if held.answers else "")
    if broken := [fault for fault in held.faults if fault.problem == raw.DAMAGED and raw.order(fault.file) > newest]:
        raise LakeError(f"the list of corporate actions {broken[-1].file}: {broken[-1].detail}")
    return [Statement(corporate.read(one.body, file=file), one.since) for one in held.answers]


def _statements(answered: Sequence[Answer]) -> Iterator[Statement]:
    """What one symbol's answers say of corporate actions beside their bars, each of its days."""
    told = [(one, corporate.read_events(one.body, one.symbol)) for one in answered]
    if not any(len(listed.actions) or len(listed.faults) for _, listed in told):
        return
    for one, listed in told:
        with suppress(SourceError):  # an answer that cannot be read says nothing
            yield Statement(listed, one.since, _days([one]))


def _lacking(held: Mapping[str, raw.Holding], *, complete: bool) -> dict[str, str]:
    """The symbols of which a damaged file may have held what no later answer tells, each with the reason.

    A later answer makes up for it when it has the same bytes or is a whole history: always of a source whose answers
    are `complete`, else where it has more than `SHORT` rows.
    """
    lacking = {}
    for symbol, holding in held.items():
        for fault in (fault for fault in holding.faults if fault.problem == raw.DAMAGED):
            later = [answer for answer in holding.answers if raw.order(answer.file) > raw.order(fault.file)]
            digest = fault.file.rpartition("-")[2]
            if not any(complete or one.file.endswith(digest) or one.body.count(b"\n") > SHORT for one in later):
                lacking[symbol] = f"{symbol}: {fault.file}: {fault.detail}"
    return lacking


def _notes(held: Mapping[str, raw.Holding]) -> pd.DataFrame:
    """What is wrong in the raw zone, as `NOTES`."""
    rows = [
        (symbol, fault.problem.replace(" ", "_"), "", f"{fault.file}: {fault.detail}")
        for symbol, one in held.items()
        for fault in one.faults
    ]
    return schema.cast(pd.DataFrame(rows, columns=list(NOTES)), NOTES)


def clean_all(
    fetched: Fetched,
    *,
    start: str = EARLIEST,
    as_of: str = LATEST,
    calendar: str = sessions.DEFAULT,
    dates: str = answers.AUTO,
    allow: Sequence[str] = (),
) -> Ingested:
    """Clean all answers into split-adjusted bars and rejects.

    Args:
        fetched: from `fetch` or `recall`.
        start: the first session wanted, YYYY-MM-DD or "earliest".
        as_of: the last, with the splits known then; "latest" is the last session closed by the source's clock.
        calendar: the exchange, as a market code of `exchange_calendars`.
        dates: the order of day and month (DMY, MDY, YMD) of files whose columns do not tell.
        allow: rules of `clean.ALLOWABLE` that are not applied.

    Raises:
        SourceError: no symbol has a single usable row; gives the reason of each.
    """
    first = pd.Timestamp.min if start == EARLIEST else pd.Timestamp(start)
    last = sessions.last_closed(fetched.now, calendar) if as_of == LATEST else pd.Timestamp(as_of)
    choices = answers.Choices(dates, tuple(allow))
    cleaned = clean.clean(fetched.told, fetched.known, start=first, as_of=last, calendar=calendar, choices=choices)
    made = Ingested(
        cleaned.prices, cleaned.rejects, cleaned.corrections, {}, fetched.deferred, fetched.conflicts, cleaned.jumps,
        schema.stack([fetched.notes, _superseded(cleaned.unusable)], NOTES), first, cleaned.readings,
    )  # fmt: skip
    missing = _missing(fetched, cleaned, made, (first, last), calendar)
    if cleaned.prices.empty:
        raise SourceError("no symbol has usable bars. " + " ".join(missing.values()))
    return replace(made, missing=missing)


def _superseded(unusable: pd.DataFrame) -> pd.DataFrame:
    """Answers that cannot be read and that a later one has replaced, as `NOTES`."""
    old = unusable[unusable["superseded"]]
    return old.assign(rule="unusable_answer", date="", meaning=old["reason"] + " A later answer has replaced it.")


def _missing(
    fetched: Fetched, cleaned: clean.Cleaned, made: Ingested, window: tuple[pd.Timestamp, pd.Timestamp], calendar: str
) -> dict[str, str]:
    """Why symbols are not all there: no fresh answer, none that can be read, or rows refused that matter."""
    missing = dict(fetched.failures)
    there = set(cleaned.prices["symbol"].unique())
    for symbol, reason in cleaned.failures.items():
        stands = "What earlier answers said stands." if symbol in there else None
        missing[symbol] = _joined(missing.get(symbol), reason, stands)
    first, last = window[0].date(), window[1].date()
    span = f"up to {last}" if window[0] == pd.Timestamp.min else f"between {first} and {last}"
    for symbol in sorted(set(fetched.told) - there - set(missing)):
        why = _why_none(cleaned.rejects[cleaned.rejects["symbol"] == symbol])
        missing[symbol] = f"{symbol} has no usable row {span}: {why}."
    for symbol, reason in ingested.refused(made, calendar).items():
        missing[symbol] = _joined(missing.get(symbol), reason)
    return missing


def _why_none(rejects: pd.DataFrame) -> str:
    """What is wrong with a symbol of which every row was refused: the rules, and the first row with its line."""
    if rejects.empty:
        return "all lie outside start to as_of"
    first = rejects.iloc[0]
    rules = ", ".join(f"{count} x {rule}" for rule, count in rejects["rule"].value_counts().items())
    return f"{rules}; the first is line {first['line']} of {first['file']}, {first['row'][:80]!r}: {first['reason']}"


def rebuild(
    lake: Lake,
    as_of: str = LATEST,
    *,
    source: str | None = None,
    into: str = "prices",
    calendar: str = sessions.DEFAULT,
    dates: str = answers.AUTO,
    allow: Sequence[str] = (),
) -> Ingested:
    """Make `prices` anew from the raw zone as they were knowable at the end of a day (UTC), and write them.

    The same bytes whenever it is asked again: answers, rows and splits that came later are as if they were not
    there. Without `as_of` the newest state comes back.

    Args:
        lake: with a raw zone.
        as_of: YYYY-MM-DD, or "latest".
        source: which source's answers, as the raw zone names it; may be left out where there is only one.
        into: the table written.
        calendar, dates, allow: as for `clean_all`.

    Raises:
        LakeError: no such source, or several and none named. SourceError: nothing was known by then.
    """
    known, held = _remembered(lake, as_of, source)
    newest = max(answer.since for told in known.told.values() for answer in told)
    now = known.now if as_of != LATEST else newest
    made = clean_all(replace(known, now=now), calendar=calendar, dates=dates, allow=allow)
    lake.write(into, made.prices, symbols=held)
    return made


def suggest(
    lake: Lake,
    *,
    source: str | None = None,
    calendar: str = sessions.DEFAULT,
    dates: str = answers.AUTO,
    allow: Sequence[str] = (),
) -> pd.DataFrame:
    """The ratio that would explain each jump of the prices that no known split does, as `market.jumps.SUGGESTED`.

    From the raw zone alone; arguments and errors are those of `rebuild`.
    """
    known, _ = _remembered(lake, LATEST, source)
    newest = max(answer.since for told in known.told.values() for answer in told)
    return clean_all(replace(known, now=newest), calendar=calendar, dates=dates, allow=allow).jumps


def add_actions(lake: Lake, body: bytes, *, file: str, now: pd.Timestamp) -> pd.DataFrame:
    """Add corporate actions by hand, for the symbols of every source; return all that were added so far.

    They are kept in the raw zone, are believed before what sources say, and count from `now` (UTC) on.

    Raises:
        SchemaError: a line is no action. LakeError: the lake cannot be written.
    """
    new = corporate.parse(body, file=file)
    before = raw.read(lake.path, HAND, None).answers
    old = [corporate.parse(one.body, file=one.file) for one in before[-1:]]
    rows = pd.concat([*old, new]).assign(real=lambda frame: (frame["kind"] == "split") & (frame["value"] == 1.0))
    rows = rows.drop_duplicates(["symbol", "ex_date", "kind", "real"], keep="last").drop(columns="real")
    rows = rows.sort_values(list(corporate.ACTIONS), ignore_index=True)
    raw.keep(lake.path, HAND, None, rows.to_csv(index=False, date_format="%Y-%m-%d").encode(), now)
    return rows


def _remembered(lake: Lake, as_of: str, source: str | None) -> tuple[Fetched, list[str]]:
    """All that was knowable of one source's symbols at the end of a day, from the raw zone; and all its symbols now."""
    held = raw.holdings(lake.path)
    name = source or (next(iter(held)) if len(held) == 1 else "")
    if name not in held:
        which = f"the raw zone has no source {name!r}" if name else "name one source of the raw zone"
        raise LakeError(f"{which}: it holds {', '.join(held) or 'none'}.")
    until = None if as_of == LATEST else pd.Timestamp(as_of, tz="UTC") + pd.Timedelta(days=1)
    known = recall(lake, name, held[name], now=until or pd.Timestamp(0, tz="UTC"), until=until)
    if not known.told:
        raise SourceError(f"nothing was known of {name} by the end of {as_of}: its first answer came later.")
    return known, held[name]
