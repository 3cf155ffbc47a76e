"""From a source to trusted tables: fetch each symbol, keep the bytes, clean them, count what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from stockkit.errors import BudgetSpent, LakeError, SourceError
from stockkit.lake import raw
from stockkit.lake.sources import Source, fetch_many, open_source
from stockkit.lake.tables import Lake
from stockkit.market import actions as corporate
from stockkit.market import answers, clean, schema, sessions
from stockkit.market.answers import Answer, Reading

EARLIEST, LATEST = "earliest", "latest"
COMPACT_WITHIN = pd.Timedelta(days=120)  # a short answer has 100 sessions, which is 140 days and more
OnDone = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Fetched:
    """All that is known of a source's symbols, and why one has no fresh answer (`failures`: symbol to reason).

    `told` has each symbol's answers, oldest first; `now` is the source's clock; `deferred` are symbols that had to
    wait for the source's allowance, with the reason; `conflicts` the corporate actions that a second source denies.
    """

    told: dict[str, list[Answer]]
    actions: pd.DataFrame
    failures: dict[str, str]
    now: pd.Timestamp
    deferred: dict[str, str] = field(default_factory=dict)
    conflicts: pd.DataFrame = field(default_factory=lambda: corporate.agree(corporate.none(), corporate.none())[1])

    def summary(self) -> pd.DataFrame:
        """One row a symbol: its answers so far, and of the last one bytes, fetched_at (UTC) and file in the lake."""
        rows = [
            (symbol, len(told), len(told[-1].body), told[-1].fetched_at, told[-1].file)
            for symbol, told in self.told.items()
        ]
        return pd.DataFrame(rows, columns=["symbol", "answers", "bytes", "fetched_at", "file"]).set_index("symbol")


@dataclass(frozen=True)
class Ingested:
    """Trusted `prices`, `rejects` and `corrections` of all symbols, and `missing`: why one has no fresh prices."""

    prices: pd.DataFrame
    rejects: pd.DataFrame
    corrections: pd.DataFrame
    missing: dict[str, str]
    deferred: dict[str, str] = field(default_factory=dict)
    conflicts: pd.DataFrame = field(default_factory=lambda: corporate.agree(corporate.none(), corporate.none())[1])
    readings: dict[str, Reading] = field(default_factory=dict)

    def layouts(self) -> pd.DataFrame:
        """How each symbol's last answer was read: layout, which price, how dates are written, and what to know."""
        rows = [(symbol, one.layout, one.prices, one.dates, one.remarks) for symbol, one in self.readings.items()]
        return pd.DataFrame(rows, columns=["symbol", "layout", "prices", "dates", "remarks"]).set_index("symbol")

    def gaps(self, calendar: str = sessions.DEFAULT) -> dict[str, list[str]]:
        """The sessions that a symbol lacks between its first and last one; symbols without gaps are left out."""
        dates = self.prices.groupby("symbol")["date"]
        found = {str(symbol): sessions.gaps(own, calendar) for symbol, own in dates}
        return {symbol: [str(day.date()) for day in days] for symbol, days in found.items() if len(days)}

    def defects(self, calendar: str = sessions.DEFAULT) -> pd.DataFrame:
        """Everything that was wrong, one row a symbol and defect: how often, the first day, what it means."""
        rejects = self.rejects.groupby(["symbol", "rule"], as_index=False).agg(
            count=("line", "size"), first=("date", "min"), meaning=("reason", "first")
        )
        gaps = [(symbol, "missing_session", len(days), days[0], "the exchange was open and the source has no bar")
                for symbol, days in self.gaps(calendar).items()]  # fmt: skip
        missing = [(symbol, "no_fresh_answer", 1, "", reason) for symbol, reason in self.missing.items()]
        columns = ["symbol", "rule", "count", "first", "meaning"]
        return pd.concat([rejects[columns], pd.DataFrame([*gaps, *missing], columns=columns)], ignore_index=True)

    def figures(self, calendar: str = sessions.DEFAULT) -> dict[str, object]:
        """The headline figures of an ingest: dates, freshness, rows, and the defects by kind."""
        last = self.prices.groupby("symbol")["date"].max()
        return {
            "as_of": f"{last.max():%Y-%m-%d}",
            "known_at": f"{self.prices['known_at'].max():%Y-%m-%dT%H:%M:%SZ}",
            "rows": len(self.prices),
            "symbols": sorted(last.index),
            "last_session": {symbol: f"{day:%Y-%m-%d}" for symbol, day in last.items()},
            "missing_symbols": self.missing,
            "rejects": {rule: int(count) for rule, count in self.rejects["rule"].value_counts().sort_index().items()},
            "corrections": len(self.corrections),
            "gaps": self.gaps(calendar),
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        """What a reader should know though nothing is wrong: symbols that wait, actions that two sources dispute."""
        disputed = [
            f"{row['symbol']}: a {row['kind']} on {row['ex_date']:%Y-%m-%d} is not applied, {row['reason']}."
            for row in self.conflicts.to_dict("records")
        ]
        return [*self.deferred.values(), *disputed]


def fetch(
    lake: Lake, source: str, symbols: Sequence[str], *, check: str = "", on_done: OnDone | None = None
) -> Fetched:
    """Ask a source for each symbol and keep every usable answer in the raw zone.

    A symbol whose answer is unusable is listed in `failures`; what the same source said before stands. Where the
    source's allowance does not reach, the symbols with the oldest data go first and the rest are `deferred`.

    Args:
        lake: where answers are kept.
        source: as `sources.open_source` takes it.
        symbols: for what to ask.
        check: a second source. Only splits and dividends that it confirms are then trusted; the others are
            listed in `conflicts`.
        on_done: called with symbol, how many are done, and of how many.

    Raises:
        SymbolError, ParamError: before anything is fetched. SchemaError: the corporate actions are broken.
        LakeError: the lake cannot be written.
    """
    symbols = schema.check_symbols(symbols)
    first = _ask(lake, source, symbols, on_done)
    if not check:
        return first
    second = _ask(lake, check, symbols, on_done)
    told = [_covered(one, both) for both in [_span(first, second)] for one in (first, second)]
    trusted, conflicts = corporate.agree(*told)
    return replace(first, actions=trusted, conflicts=conflicts)


def _ask(lake: Lake, source: str, symbols: Sequence[str], on_done: OnDone | None) -> Fetched:
    """What one source says now, or said before, of each symbol."""
    origin = open_source(source, root=lake.root, lake=lake.folder, secrets_client=lake.secrets_client)
    before = {symbol: raw.latest(lake.path, origin.name, symbol) for symbol in symbols}
    seen = {symbol: answer.fetched_at for symbol, answer in before.items() if answer}
    now, later = origin.plan(symbols, seen)
    compact = {symbol: origin.now() - moment < COMPACT_WITHIN for symbol, moment in seen.items()}
    fresh, errors = _gather(lake, origin, now, compact, on_done)
    deferred = dict.fromkeys(later, "the allowance of today is spent")
    deferred |= {symbol: str(error) for symbol, error in errors.items() if isinstance(error, BudgetSpent)}
    failures = {symbol: str(error) for symbol, error in errors.items() if symbol not in deferred}
    body = origin.actions()
    if body is not None:
        corporate.parse(body, file="actions.csv")
        raw.keep(lake.path, origin.name, None, body, origin.now())
    known = recall(lake, origin.name, symbols, now=origin.now(), with_actions=body is not None)
    for told in known.told.values():
        told[:] = [fresh.get(one.file, one) for one in told]
    reset = f" Next try after {origin.resets_at():%Y-%m-%d %H:%M} UTC." if later and origin.resets_at() else ""
    for symbol, reason in deferred.items():
        deferred[symbol] = f"{symbol} waits: {reason}.{reset}"
        if symbol not in known.told:
            failures[symbol] = f"{deferred[symbol]} Nothing is known of it yet."
    for symbol in failures:
        if earlier := known.told.get(symbol):
            failures[symbol] += f" What it said until {earlier[-1].fetched_at:%Y-%m-%d %H:%M} UTC stands."
    return replace(known, failures=failures, deferred=deferred)


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
    days = [{symbol: _days(told) for symbol, told in one.told.items()} for one in (first, second)]
    rows = [
        (symbol, max(days[0][symbol][0], days[1][symbol][0]), min(days[0][symbol][1], days[1][symbol][1]))
        for symbol in sorted(set(days[0]) & set(days[1]))
    ]
    return pd.DataFrame(rows, columns=["symbol", "start", "end"]).astype({"symbol": "string"})


def _days(told: Sequence[Answer]) -> tuple[pd.Timestamp, pd.Timestamp]:
    days = pd.concat([answers.read(answer)["day"] for answer in told])
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
) -> Fetched:
    """What the raw zone holds of a source, without asking it; only what was fetched before `until` (UTC) if given."""
    told = {symbol: raw.history(lake.path, source, symbol, until=until) for symbol in symbols}
    lists = raw.history(lake.path, source, None, until=until) if with_actions else []
    known = [corporate.parse(one.body, file=one.file) for one in lists[-1:]]
    known += [corporate.events(answer.body, symbol) for symbol, answered in told.items() for answer in answered]
    actions = pd.concat([one for one in known if len(one)] or [corporate.none()])
    actions = actions.drop_duplicates(["symbol", "ex_date", "kind"], keep="last")
    actions = actions.sort_values(["symbol", "ex_date", "kind"], ignore_index=True)
    return Fetched({symbol: one for symbol, one in told.items() if one}, actions, {}, now)


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
    cleaned = clean.clean(fetched.told, fetched.actions, start=first, as_of=last, calendar=calendar, choices=choices)
    missing = {**fetched.failures, **cleaned.failures}
    for symbol in sorted(set(fetched.told) - set(cleaned.prices["symbol"].unique()) - set(missing)):
        span = f"up to {last.date()}" if start == EARLIEST else f"between {first.date()} and {last.date()}"
        why = _why_none(cleaned.rejects[cleaned.rejects["symbol"] == symbol])
        missing[symbol] = f"{symbol} has no usable row {span}: {why}."
    if cleaned.prices.empty:
        raise SourceError("no symbol has usable bars. " + " ".join(missing.values()))
    return Ingested(
        cleaned.prices,
        cleaned.rejects,
        cleaned.corrections,
        missing,
        fetched.deferred,
        fetched.conflicts,
        cleaned.readings,
    )


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
    held = raw.holdings(lake.path)
    name = source or (next(iter(held)) if len(held) == 1 else "")
    if name not in held:
        which = f"the raw zone has no source {name!r}" if name else "name one source of the raw zone"
        raise LakeError(f"{which}: it holds {', '.join(held) or 'none'}.")
    until = None if as_of == LATEST else pd.Timestamp(as_of, tz="UTC") + pd.Timedelta(days=1)
    known = recall(lake, name, held[name], now=until or pd.Timestamp(0, tz="UTC"), until=until)
    if not known.told:
        raise SourceError(f"nothing was known of {name} by the end of {as_of}: its first answer came later.")
    newest = max(answer.fetched_at for told in known.told.values() for answer in told)
    ingested = clean_all(replace(known, now=until or newest), calendar=calendar, dates=dates, allow=allow)
    lake.write(into, ingested.prices, symbols=held[name])
    return ingested
