"""From a source to trusted tables: fetch each symbol, keep the bytes, clean them, count what was wrong.

Example:
    >>> from stockkit import ingest, open_lake
    >>> fetched = ingest.fetch(open_lake("data/lake"), "sample", ["AAPL"])
    >>> len(ingest.clean_all(fetched).prices)
    2699
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stockkit.errors import BudgetSpent, LakeError, SourceError, SourceUnavailable
from stockkit.imports import pandas as pd
from stockkit.intake import EARLIEST, LATEST, history
from stockkit.intake.history import ADDED, HAND, Fetched, joined
from stockkit.intake.ingested import Ingested, from_cleaned
from stockkit.intake.sources import open_source
from stockkit.intake.sources.folder import ACTIONS_FILE
from stockkit.intake.sources.source import Source, fetch_many
from stockkit.lake import raw
from stockkit.lake.raw import Holding
from stockkit.lake.tables import Lake
from stockkit.market import answers, clean, corporate_actions, schema, sessions
from stockkit.market.answers import Answer

COMPACT_WITHIN = pd.Timedelta(days=120)  # a short answer has 100 sessions, which is 140 days and more
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
    both = _span(first, second)
    trusted, conflicts = corporate_actions.agree(_covered(first, both), _covered(second, both))
    return replace(first, known=replace(first.known, actions=trusted), conflicts=conflicts)


def _ask(lake: Lake, source: str, symbols: Sequence[str], on_done: OnDone | None) -> Fetched:
    """What one source says now, or said before, of each symbol; the raw zone is listed and read once."""
    origin = open_source(source, root=lake.root, lake=lake.folder, secrets_client=lake.secrets_client)
    if origin.remote:
        sys.audit("stockkit.always", f"the source {source} may answer otherwise each time")
    before = {symbol: raw.read(lake.files, origin.name, symbol) for symbol in symbols}
    newest = {symbol: holding.answers[-1] for symbol, holding in before.items() if holding.answers}
    now, later = origin.plan(symbols, {symbol: answer.fetched_at for symbol, answer in newest.items()})
    compact = {
        symbol: origin.now() - answer.fetched_at < COMPACT_WITHIN
        and not before[symbol].damaged
        and history.is_readable(answer)
        for symbol, answer in newest.items()
    }
    fresh, errors = _gather(lake, origin, {symbol: before[symbol] for symbol in now}, compact, on_done)
    known = history.from_holdings(origin.name, before | fresh, _lists(lake, origin), now=origin.now())
    deferred = dict.fromkeys(later, "the allowance of today is spent")
    deferred |= {symbol: str(error).rstrip(".") for symbol, error in errors.items() if isinstance(error, BudgetSpent)}
    reset = f" Next try after {origin.resets_at():%Y-%m-%d %H:%M} UTC." if later and origin.resets_at() else ""
    deferred = {symbol: f"{symbol} waits: {reason}.{reset}" for symbol, reason in deferred.items()}
    failures = {symbol: str(error) for symbol, error in errors.items() if symbol not in deferred}
    for symbol, reason in deferred.items():
        if symbol not in known.answers:
            failures[symbol] = f"{reason} Nothing is known of it yet."
        elif set(deferred) == set(symbols):
            failures[symbol] = f"{reason} No symbol could be asked for."
    unavailable = all(isinstance(error, SourceUnavailable) for error in errors.values())
    return replace(known, failures=_with_earlier(known, failures), deferred=deferred, unavailable=unavailable)


def _lists(lake: Lake, origin: Source) -> dict[str, Holding]:
    """The lists of corporate actions: the one that the source has now, kept, and the one added by hand.

    Raises:
        SchemaError: the source's list is none.
    """
    lists = {ADDED: raw.read(lake.files, HAND, None)}
    body = origin.actions()
    if body is not None:
        corporate_actions.read(body, file=ACTIONS_FILE)
        before = raw.read(lake.files, origin.name, None)
        lists[ACTIONS_FILE] = raw.extend(before, lake.files, origin.name, None, body, origin.now())
    return lists


def _with_earlier(known: Fetched, failures: Mapping[str, str]) -> dict[str, str]:
    """Each failure with what stands in its place, and those that the raw zone itself has."""
    reasons = dict(failures)
    for symbol in failures:
        if earlier := known.answers.get(symbol):
            reasons[symbol] += f" What it said until {earlier[-1].fetched_at:%Y-%m-%d %H:%M} UTC stands."
    return {
        **known.failures,
        **{symbol: joined(reason, known.failures.get(symbol)) for symbol, reason in reasons.items()},
    }


def _gather(
    lake: Lake, origin: Source, before: Mapping[str, Holding], compact: Mapping[str, bool], on_done: OnDone | None
) -> tuple[dict[str, Holding], dict[str, SourceError]]:
    """What the raw zone holds of the symbols that were answered, and by symbol the errors that came in place."""
    fresh: dict[str, Holding] = {}

    def keep(symbol: str, body: bytes) -> None:
        """Keep an answer that is a CSV of daily bars, and read it while others are on their way."""
        moment = origin.now()
        answers.check(Answer(symbol, body, origin.file(symbol), moment))
        fresh[symbol] = raw.extend(before[symbol], lake.files, origin.name, symbol, body, moment)
        _ = fresh[symbol].answers[-1].plain

    return fresh, fetch_many(origin, list(before), keep, compact=compact, on_done=on_done)


def _span(first: Fetched, second: Fetched) -> pd.DataFrame:
    """The days that both sources have bars of: symbol, start and end; of symbols that both know."""
    days = [
        {symbol: history.days_of(past) for symbol, past in fetched.answers.items() if history.is_readable(past[-1])}
        for fetched in (first, second)
    ]
    rows = [
        (symbol, max(days[0][symbol][0], days[1][symbol][0]), min(days[0][symbol][1], days[1][symbol][1]))
        for symbol in sorted(set(days[0]) & set(days[1]))
    ]
    return pd.DataFrame(rows, columns=["symbol", "start", "end"]).astype({"symbol": "string"})


def _covered(fetched: Fetched, both: pd.DataFrame) -> pd.DataFrame:
    """The corporate actions of one source within the days that both have."""
    known = fetched.actions.merge(both, on="symbol")
    inside = known["ex_date"].between(known["start"], known["end"])
    return (
        known.loc[inside, list(corporate_actions.ACTIONS)]
        .astype(dict(corporate_actions.ACTIONS))
        .reset_index(drop=True)
    )


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
        fetched: from `fetch` or `history.recall`.
        start: the first session wanted, YYYY-MM-DD or "earliest".
        as_of: the last, with the splits known then; "latest" is the last session closed by the source's clock.
        calendar: the exchange, as a market code of `exchange_calendars`.
        dates: the order of day and month (DMY, MDY, YMD) of files whose columns do not tell.
        allow: rules of `market.rules.ALLOWABLE` that are not applied.

    Raises:
        SourceError: no symbol has a single usable row; gives the reason of each.
    """
    first = pd.Timestamp.min if start == EARLIEST else pd.Timestamp(start)
    last = sessions.last_closed(fetched.now, calendar) if as_of == LATEST else pd.Timestamp(as_of)
    if as_of == LATEST:  # from then on the same answers give more rows
        sys.audit("stockkit.until", sessions.next_close(fetched.now, calendar).isoformat())
    choices = answers.Choices(dates, tuple(allow))
    cleaned = clean.clean(fetched.answers, fetched.known, start=first, as_of=last, calendar=calendar, choices=choices)
    return from_cleaned(fetched, cleaned, start=first, as_of=last, calendar=calendar)


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
    known, symbols = _recall(lake, as_of, source)
    made = clean_all(known, calendar=calendar, dates=dates, allow=allow)
    lake.write(into, made.prices, symbols=symbols)
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
    known, _ = _recall(lake, LATEST, source)
    return clean_all(known, calendar=calendar, dates=dates, allow=allow).jumps


def add_actions(lake: Lake, body: bytes, *, file: str, now: pd.Timestamp) -> pd.DataFrame:
    """Add corporate actions by hand, for the symbols of every source; return all that were added so far.

    They are kept in the raw zone, are believed before what sources say, and count from `now` (UTC) on.

    Raises:
        SchemaError: a line is no action. LakeError: the lake cannot be written.
    """
    new = corporate_actions.parse(body, file=file)
    before = raw.read(lake.files, HAND, None)
    old = [corporate_actions.parse(answer.body, file=answer.file) for answer in before.answers[-1:]]
    rows = pd.concat([*old, new]).assign(real=lambda frame: (frame["kind"] == "split") & (frame["value"] == 1.0))
    rows = rows.drop_duplicates(["symbol", "ex_date", "kind", "real"], keep="last").drop(columns="real")
    rows = rows.sort_values(list(corporate_actions.ACTIONS), ignore_index=True)
    raw.extend(before, lake.files, HAND, None, rows.to_csv(index=False, date_format="%Y-%m-%d").encode(), now)
    return rows


def _recall(lake: Lake, as_of: str, source: str | None) -> tuple[Fetched, list[str]]:
    """All that was knowable of one source's symbols at the end of a day, from the raw zone; and all its symbols now.

    Its clock shows the end of that day; without one, the time of the newest answer.
    """
    symbols = raw.holdings(lake.files)
    name = source or (next(iter(symbols)) if len(symbols) == 1 else "")
    if name not in symbols:
        which = f"the raw zone has no source {name!r}" if name else "name one source of the raw zone"
        raise LakeError(f"{which}: it holds {', '.join(symbols) or 'none'}.")
    until = None if as_of == LATEST else pd.Timestamp(as_of, tz="UTC") + pd.Timedelta(days=1)
    known = history.recall(lake, name, symbols[name], now=until or pd.Timestamp(0, tz="UTC"), until=until)
    if not known.answers:
        raise SourceError(f"nothing was known of {name} by the end of {as_of}: its first answer came later.")
    newest = max(answer.since for past in known.answers.values() for answer in past)
    return replace(known, now=until or newest), symbols[name]
