"""What the audit shows a function: practice bars, and the same bars cut, corrupted, shuffled, thinned out or split.

A `Scene` says which of its rows must have the value of the whole run, and in words what was done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockkit.errors import SchemaError
from stockkit.market import schema, simulate

SESSIONS = 560  # two years and a quarter: every month of the year twice, and room for a look-back of a year
SPLIT = 7  # for one: no power of two, which would divide without rounding
PRICES = ("open", "high", "low", "close")
CORRUPTIONS = ("wild", "low", "high", "mild")


@dataclass(frozen=True, eq=False)
class Scene:
    """Bars made from the whole, and what must be as it is there.

    Attributes:
        check: cut, corrupt, open, order, neighbour or split.
        bars: what the function is shown, rows numbered from 0.
        rows: for each row of `bars`, its row in the whole.
        same: for each row of `bars`, whether its value must be the whole run's.
        words: what was done, to follow "changes when".
        after: the last session left as it was, of a cut or a corruption.
        large: whether numbers were put in that are so far off that sums over them lose digits.
    """

    check: str
    bars: pd.DataFrame
    rows: np.ndarray
    same: np.ndarray
    words: str
    after: pd.Timestamp | None = None
    large: bool = False


def practice_bars(rng: np.random.Generator, *, count: int = SESSIONS) -> pd.DataFrame:
    """Simulated bars, as `schema.PRICES`, with what makes leaks show.

    Three symbols at prices far apart; one is listed later and halted for a while, one ends early. There are flat
    days without volume, jumps of the close, splits in `close_raw` and dividends.
    """
    bars = simulate.bars(["AAA", "BBB", "CCC"], count=count, rng=rng)
    level = bars["symbol"].map({"AAA": 1.0, "BBB": 0.04, "CCC": 25.0}).to_numpy(dtype="float64", copy=True)
    jumps = np.where(rng.random(len(bars)) < 0.01, np.exp(rng.normal(0, 0.15, len(bars))), 1.0)
    level *= pd.Series(jumps).groupby(bars["symbol"].to_numpy()).cumprod().to_numpy()
    bars[list(PRICES)] = bars[list(PRICES)].mul(level, axis=0)
    flat = rng.random(len(bars)) < 0.01
    for name in ("open", "high", "low"):
        bars[name] = bars[name].where(~flat, bars["close"])
    bars["volume"] = bars["volume"].where(~flat, 0)
    at = bars.groupby("symbol").cumcount()
    bars["split_factor"] = np.select([bars["symbol"] == "BBB", at < count // 2], [1.0, 4.0], 1.0)
    bars["close_raw"] = bars["close"] * bars["split_factor"]
    bars["dividend"] = np.where(at % 63 == 40, 0.004 * bars["close"], 0.0)
    bars["known_at"] = (bars["date"] + pd.Timedelta(hours=22)).dt.tz_localize("UTC")
    halted = (bars["symbol"] == "BBB") & ((at < count // 14) | at.between(count // 2, count // 2 + 6))
    ended = (bars["symbol"] == "CCC") & (at >= count - count // 37)
    return bars[~halted & ~ended].reset_index(drop=True)


def ordered(bars: pd.DataFrame) -> pd.DataFrame:
    """A copy of the user's bars sorted by symbol and date, rows numbered from 0.

    Raises:
        SchemaError: no frame, no such columns, no rows, a date that is none, or a session given twice.
    """
    if not isinstance(bars, pd.DataFrame):
        raise SchemaError(f"the audit needs bars as a frame, found {type(bars).__name__}.")
    bars = schema.conform(bars, {name: schema.BARS[name] for name in ("symbol", "date")})
    if bars[["symbol", "date"]].isna().to_numpy().any():
        raise SchemaError("bars have rows without a symbol or date: drop them first.")
    if bars["date"].nunique() < 30:
        raise SchemaError(f"bars of {bars['date'].nunique()} sessions are too few to audit with: give 30 at least.")
    sorted_ = bars.sort_values(["symbol", "date"], ignore_index=True)
    twice = sorted_.duplicated(["symbol", "date"])
    if twice.any():
        row = sorted_[twice].iloc[0]
        raise SchemaError(f"bars have {row['symbol']} {row['date']:%Y-%m-%d} twice: one row a symbol and session.")
    return sorted_


def cut_dates(bars: pd.DataFrame, count: int, rng: np.random.Generator) -> list[pd.Timestamp]:
    """`count` sessions to cut after, spread over weekdays, months, ends of months and the end of the bars.

    A function that leaks on Fridays only, or in December, is caught only by a cut on such a day.
    """
    days = pd.DatetimeIndex(np.sort(bars["date"].unique()))
    usable = np.arange(1, len(days) - 1)
    if len(usable) <= count:
        return list(days[usable])
    month_ends = usable[days.month[usable] != days.month[usable + 1]]
    chosen = {0, 2, len(days) - 2, len(days) - 3, *rng.choice(month_ends, min(2, len(month_ends)), replace=False)}
    first = int(rng.integers(60))
    for k in range(first, first + 60):  # months and weekdays go round at 12 and 5: after 60, each pair was there
        if len(chosen) >= count:
            break
        fit = usable[(days.month[usable] == k % 12 + 1) & (days.weekday[usable] == k % 5)]
        late = fit[fit > len(days) * 0.45]  # a long look-back leaves the early rows empty
        fit = late if len(late) and k % 4 else fit
        if len(fit):
            chosen.add(int(rng.choice(fit)))
    chosen |= set(rng.choice(usable, max(count - len(chosen), 0), replace=False).tolist())
    return [days[int(at)] for at in sorted(chosen)]


def _settled(bars: pd.DataFrame, after: pd.Timestamp, horizon: int) -> np.ndarray:
    """The rows whose own next `horizon` rows are not later than `after`."""
    kept = (bars["date"] <= after).to_numpy()
    by = bars["symbol"].to_numpy()
    ahead = pd.Series(kept).groupby(by).transform("sum").to_numpy() - 1 - bars.groupby("symbol").cumcount().to_numpy()
    return np.asarray(ahead >= horizon)


def _cut(bars: pd.DataFrame, after: pd.Timestamp, horizon: int) -> Scene:
    rows = np.flatnonzero(bars["date"] <= after)
    shown = bars.iloc[rows].reset_index(drop=True)
    words = f"the rows after {after:%Y-%m-%d} are taken away"
    return Scene("cut", shown, rows, _settled(bars, after, horizon)[rows], words, after)


def _corrupt(bars: pd.DataFrame, after: pd.Timestamp, horizon: int, how: str, rng: np.random.Generator) -> Scene:
    shown = corrupted(bars, (bars["date"] > after).to_numpy(), how, rng)
    words = f"the rows after {after:%Y-%m-%d} hold other prices and volumes"
    return Scene("corrupt", shown, np.arange(len(bars)), _settled(bars, after, horizon), words, after, how != "mild")


def _before_close(bars: pd.DataFrame, after: pd.Timestamp, how: str, rng: np.random.Generator) -> Scene:
    """Of the session `after` itself only the open is as it was."""
    day = (bars["date"] == after).to_numpy()
    shown = corrupted(bars, (bars["date"] >= after).to_numpy(), how, rng)
    if "open" in bars.columns:
        shown.loc[day, "open"] = bars.loc[day, "open"]
        prices = [name for name in PRICES if name in bars.columns]
        for name, extreme in (("high", "max"), ("low", "min")):
            if name in prices:
                shown.loc[day, name] = shown.loc[day, prices].agg(extreme, axis=1)
    words = f"all but the open of {after:%Y-%m-%d} is another"
    kept = (bars["date"] <= after).to_numpy()
    return Scene("open", shown, np.arange(len(bars)), kept, words, after, how != "mild")


def corrupted(bars: pd.DataFrame, where: np.ndarray, how: str, rng: np.random.Generator) -> pd.DataFrame:
    """`bars` with other numbers in the rows `where`: valid bars still, but of another market.

    Args:
        bars: any frame with some of the columns of daily bars; every other column of numbers is changed too.
        where: shape (rows,), boolean.
        how: wild (each row by its own factor from a tenth to tenfold), low or high (all of them far below or
            above), mild (of ordinary size, a few per cent: what survives a clip or a filter of outliers). Larger
            factors would show nothing more, and make sums over all rows lose the digits of the others.
        rng: the only source of randomness.
    """
    out, n = bars.copy(), int(where.sum())
    reach = {"wild": (-1.0, 1.0), "low": (-1.5, -0.5), "high": (0.5, 1.5), "mild": (-0.08, 0.08)}[how]
    row = 10 ** rng.uniform(*reach, n)
    spread = 0.02 if how == "mild" else 0.3
    for name in bars.columns:
        kind = bars[name].dtype
        if pd.api.types.is_bool_dtype(kind):
            out.loc[where, name] = rng.random(n) < 0.5
        elif pd.api.types.is_integer_dtype(kind):
            out.loc[where, name] = _other_integers(out.loc[where, name], how, rng)
        elif pd.api.types.is_float_dtype(kind):
            out.loc[where, name] = out.loc[where, name] * row * 10 ** rng.uniform(-spread, spread, n)
    prices = [name for name in PRICES if name in bars.columns]
    if "high" in prices:
        out.loc[where, "high"] = out.loc[where, prices].max(axis=1)
    if "low" in prices:
        out.loc[where, "low"] = out.loc[where, prices].min(axis=1)
    return out


def _other_integers(now: pd.Series, how: str, rng: np.random.Generator) -> np.ndarray:
    """As many other integers: anything up to a milliard, or, if mild, some per cent and a few units off."""
    kind = str(now.dtype).lower()
    if how != "mild":
        return rng.integers(0, 10**9, len(now)).astype(kind)
    off = now.to_numpy(dtype="float64", na_value=0.0) * 10 ** rng.uniform(-0.08, 0.08, len(now))
    return np.asarray((np.rint(off) + rng.integers(1, 100, len(now))).astype(kind))


def rounded(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The bars with each row's prices up to one unit in the last place off: what that changes is rounding."""
    factor = 1 + rng.integers(-1, 2, len(bars)) * 2.0**-52
    return bars.assign(**{name: bars[name] * factor for name in PRICES if name in bars.columns})


def through_time(bars: pd.DataFrame, dates: Sequence[pd.Timestamp], horizon: int,
                 rng: np.random.Generator, checks: Sequence[str] = ("cut", "corrupt")) -> Iterator[Scene]:  # fmt: skip
    """For each of `dates`, earliest first, a cut, a corruption, or a day of which only the open is known.

    Rows whose `horizon` reaches beyond the date may change.
    """
    for k, after in enumerate(sorted(dates)):
        if "cut" in checks:
            yield _cut(bars, after, horizon)
        if "corrupt" in checks:
            yield _corrupt(bars, after, horizon, CORRUPTIONS[k % len(CORRUPTIONS)], rng)
        if "open" in checks:
            yield _before_close(bars, after, CORRUPTIONS[k % len(CORRUPTIONS)], rng)


def across_rows(bars: pd.DataFrame, rng: np.random.Generator) -> Iterator[Scene]:
    """The rows in another order (by date, then shuffled), each symbol alone, and a later split."""
    orders = {
        "sorted by date first": np.lexsort([pd.factorize(bars["symbol"])[0], bars["date"].to_numpy()]),
        "shuffled": rng.permutation(len(bars)),
    }
    for how, order in orders.items():
        shown, every = bars.iloc[order].reset_index(drop=True), np.ones(len(bars), dtype=bool)
        yield Scene("order", shown, order, every, f"the rows are {how}")
    symbols = list(bars["symbol"].unique())
    for symbol in symbols[:4] if len(symbols) > 1 else []:
        rows = np.flatnonzero(bars["symbol"] == symbol)
        alone = bars.iloc[rows].reset_index(drop=True)
        yield Scene("neighbour", alone, rows, np.ones(len(rows), dtype=bool), "the other symbols are taken away")
    if "close" in bars.columns:
        words = f"a later split of {SPLIT} for 1 divides all prices"
        yield Scene("split", _split(bars), np.arange(len(bars)), np.ones(len(bars), dtype=bool), words)


def _split(bars: pd.DataFrame) -> pd.DataFrame:
    prices = {name: bars[name] / SPLIT for name in (*PRICES, "dividend") if name in bars.columns}
    shares = {name: bars[name] * SPLIT for name in ("volume", "split_factor") if name in bars.columns}
    return bars.assign(**prices, **shares)
