"""How much a feature tells of the return that follows: the information coefficient, by year, with its error.

It is the rank correlation between a feature on one session and the log return of the sessions after it (Grinold and
Kahn 2000, chapter 6), and one number a session, the mean of which is judged. Ranks, because returns have fat tails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
import pandas as pd

from stockkit.errors import ParamError, SchemaError, counted
from stockkit.forecast.judge.losses import centred_ranks
from stockkit.forecast.judge.multiple_testing import holm, mean_error
from stockkit.market import schema

COEFFICIENTS: dict[str, str] = {
    "feature": "string",
    "year": "int64",
    "ic": "float64",
    "se": "float64",
    "df": "float64",
    "p": "float64",
    "n": "int64",
    "reason": "string",
}
MIN_PAST = 60  # values that a symbol must have had before one more is ranked among them
MIN_SESSIONS = 20  # with fewer, an error of the mean means little
MIN_WAVES = 4  # under that, the error of overlapping returns is a guess


@dataclass(frozen=True)
class Finding:
    """Which features tell something, after correction for how many were tried.

    Attributes:
        text: what a report may say, in one sentence.
        telling: (feature, year) pairs, or (feature, None) over all years, whose Holm-corrected p is under `level`.
        tried: how many were tested; those without a coefficient are not.
        level: the family-wise error rate allowed.
    """

    text: str
    telling: tuple[tuple[str, int | None], ...]
    tried: int
    level: float

    def _repr_html_(self) -> str:
        """The sentence in large type, as a report should show it."""
        return f'<p class="verdict" style="font-size: 1.4em; line-height: 1.3; margin: 0.3em 0">{escape(self.text)}</p>'


def by_year(
    table: pd.DataFrame,
    prices: pd.DataFrame,
    names: Sequence[str],
    *,
    horizon: int = 1,
    across: Literal["symbols", "time"] = "symbols",
) -> pd.DataFrame:
    """The rank information coefficient of each feature in each year, with its standard error.

    Across symbols, each session has one: Spearman's correlation over the symbols between the feature and the log
    return of the `horizon` sessions after; the year's is their mean (Fama and MacBeth 1973 in ranks). It asks
    which symbol to prefer, and is not defined for one symbol or a feature that all symbols share.
    Across time, each value is ranked among its own symbol's past (`MIN_PAST` values or more), the return among
    all of the symbol's, and the year's is the mean product of the two centred ranks, scaled as a correlation. It asks
    when to be in, and works for one symbol. Features ranked within their year would know its end, and then all that
    follow the price seem to forecast (Stambaugh 1999): of random walks, RSI would be found at the 5 % level in 8 of
    10 tries. In units of price a rest of that remains (1 in 10); leave those out.

    The standard error is that of the mean over sessions, so symbols that move together count once. With
    `horizon` > 1 outcomes overlap: the variance is then that of the slowest cosine waves, with as many degrees of
    freedom as waves (Müller 2004; Lazarus, Lewis, Stock and Watson 2018). For a lasting feature, 5 or 21 sessions
    and one year, that rejects 5 to 7 % at the 5 % level; Bartlett's weights over 2 horizon - 2 lags rejected 9 to 15 %.

    Args:
        table: symbol, date and the features, as `features.compute`, rows in any order.
        prices: symbol, date and close (any unit), rows in any order.
        names: columns of `table` to judge.
        horizon: sessions ahead, of the symbol's own.
        across: "symbols" or "time".

    Returns:
        A row a feature and year of the feature's session: ic (-1 to 1), se, df (of Student's t), p (two-sided, for
        an ic of 0, uncorrected), n (sessions) and reason, empty where there is an ic; otherwise ic is NaN.

    Raises:
        ParamError: an unknown name, horizon or way. SchemaError: a column missing or a row that stands twice.
    """
    _check(table, prices, names, horizon, across)
    table = schema.conform(table, {name: schema.CLOSES[name] for name in ("symbol", "date")}, what="the features")
    prices = schema.conform(prices, schema.CLOSES, what="the prices")
    grid = arrange(table, prices, horizon)
    years = grid.days.astype("datetime64[Y]").astype("int64") + 1970
    edges = {int(year): slice(*np.searchsorted(years, [year, year + 1])) for year in np.unique(years)}
    daily = across_symbols(grid, table, names) if across == "symbols" else across_time(grid, table, names)
    rows = [(name, year, *_line(values, span, horizon)) for name, values in daily for year, span in edges.items()]
    return pd.DataFrame(rows, columns=list(COEFFICIENTS)).astype(COEFFICIENTS)


def overall(coefficients: pd.DataFrame) -> pd.DataFrame:
    """The coefficient over all years: the mean of the years', weighted by sessions.

    Args:
        coefficients: as from `by_year`.

    Returns:
        A row a feature, in the order given: ic, se, df (Satterthwaite 1946), p, n (sessions), years and
        same_sign (years whose ic has the sign of the whole). A feature without any ic keeps its row, with NaN.
    """
    from scipy import stats

    known = coefficients[coefficients["ic"].notna()]
    weight = known["n"] / known.groupby("feature")["n"].transform("sum")
    parts = known.assign(ic=known["ic"] * weight, v=(known["se"] * weight) ** 2)
    parts["v2"] = parts["v"] ** 2 / parts["df"]
    out = parts.groupby("feature")[["ic", "v", "v2", "n"]].sum()
    all_years = known["feature"].map(out["ic"]).astype("float64")
    agree = (np.sign(known["ic"]) == np.sign(all_years)).groupby(known["feature"]).sum()
    out = out.assign(se=np.sqrt(out["v"]), df=out["v"] ** 2 / out["v2"], same_sign=agree)
    out["years"] = known.groupby("feature").size()
    out["p"] = 2 * stats.t.sf((out["ic"] / out["se"]).abs(), out["df"])
    out = out.reindex(pd.Index(coefficients["feature"].unique(), name="feature"))
    counts = dict.fromkeys(("n", "years", "same_sign"), "int64")
    out = out.reset_index()[["feature", "ic", "se", "df", "p", "n", "years", "same_sign"]]
    return out.fillna(dict.fromkeys(counts, 0)).astype({"feature": "string", **counts})


def verdict(coefficients: pd.DataFrame, *, level: float = 0.05) -> Finding:
    """Say in one sentence which features tell something of the future, after Holm's correction for all tries.

    Args:
        coefficients: as from `by_year` or `overall`, whole: leaving rows out hides how many were
            tried. Holm's correction holds however the features depend on each other.
        level: the chance allowed of a single false claim, over 0 and under 1.

    Raises:
        ParamError: a level out of range.
    """
    if not 0 < level < 1:
        raise ParamError(f"level {level}: give a probability over 0 and under 1, such as 0.05.")
    tested = coefficients[coefficients["p"].notna()]
    tested = tested.assign(p_holm=holm(tested["p"].to_numpy())).sort_values("p_holm", kind="stable")
    telling = tested[tested["p_holm"] < level]
    years = telling["year"].tolist() if "year" in telling else [None] * len(telling)
    pairs = tuple(zip(telling["feature"].astype(str), years, strict=True))
    return Finding(_sentence(tested, telling, level), pairs, len(tested), level)


def _sentence(tested: pd.DataFrame, telling: pd.DataFrame, level: float) -> str:
    tries = len(tested)
    if not tries:
        return "No feature has an information coefficient that could be tested."
    by_year = "year" in tested
    features = counted(tested["feature"].nunique(), "feature")
    tried = f"{features} x {counted(tested['year'].nunique(), 'year')}" if by_year else features
    after = f"after correction for {counted(tries, 'try', 'tries')}"
    raw = int((tested["p"] < level).sum())
    luck = f"uncorrected, {raw} would seem to, where luck alone gives {level * tries:.0f}"
    if telling.empty:
        return f"Of {tried}, none differs from 0 {after}; {luck}."
    names = [_claim(row, by_year) for row in telling.head(3).to_dict("records")]
    more = f" and {len(telling) - 3} more" if len(telling) > 3 else ""
    differ = "differs" if len(telling) == 1 else "differ"
    return f"Of {tried}, {len(telling)} {differ} from 0 {after}: {', '.join(names)}{more}; {luck}."


def _claim(row: dict[str, object], by_year: bool) -> str:
    when = f" in {row['year']}" if by_year else ""
    return f"{row['feature']}{when} ({row['ic']:+.3f})"


def _check(table: pd.DataFrame, prices: pd.DataFrame, names: Sequence[str], horizon: int, across: str) -> None:
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or horizon < 1:
        raise ParamError(f"horizon {horizon!r}: give a whole number of sessions, 1 or more.")
    if across not in ("symbols", "time"):
        raise ParamError(f"across {across!r}: give 'symbols' or 'time'.")
    for what, frame, columns in (
        ("the features", table, ["symbol", "date"]),
        ("the prices", prices, ["symbol", "date", "close"]),
    ):
        lacking = [column for column in columns if column not in frame]
        if lacking:
            raise SchemaError(f"{what} have no column {lacking[0]!r}; they have {', '.join(map(str, frame))[:200]}.")
        twice = frame.duplicated(["symbol", "date"])
        if twice.any():
            row = frame[twice].iloc[0]
            raise SchemaError(f"{what} have two rows of {row['symbol']} on {row['date']}: keep one.")
    unknown = [name for name in names if name not in table or name in ("symbol", "date")]
    if unknown:
        raise ParamError(f"{unknown[0]!r} is no feature of the table: compute it first, or leave it out of the names.")


def _line(daily: Daily, span: slice, horizon: int) -> tuple[float, float, float, float, int, str]:
    """ic, se, df, p, n and reason of one feature in one year."""
    from scipy import stats

    product = daily.product[span]
    known = np.isfinite(product)
    n, nothing = int(known.sum()), (np.nan, np.nan, np.nan, np.nan)
    if daily.reason or n < MIN_SESSIONS:
        return *nothing, n, daily.reason or f"{n} sessions, fewer than {MIN_SESSIONS}"
    scale = np.sqrt(daily.feature[span][known].mean() * daily.outcome[span][known].mean())
    if scale == 0:
        return *nothing, n, "no change in the year"
    values = product[known] / scale
    error, df = mean_error(values, horizon)
    if horizon > 1 and df < MIN_WAVES:
        return *nothing, n, f"too few sessions for {horizon} ahead"
    if not error > 0:
        return *nothing, n, "no spread over sessions"
    mean = float(values.mean())
    return mean, error, df, float(2 * stats.t.sf(abs(mean) / error, df)), n, ""


@dataclass(frozen=True)
class Grid:
    """Where each row of a table stands in a grid of sessions and symbols, and the return that followed."""

    days: np.ndarray  # (sessions,), datetime64, ascending
    at: tuple[np.ndarray, np.ndarray]  # session and symbol of each row, (rows,) each
    returns: np.ndarray  # (sessions, symbols), log return of the sessions after, NaN where it is not known

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Values (rows,) as (sessions, symbols), NaN where there is none or it is not finite."""
        out = np.full(self.returns.shape, np.nan)
        out[self.at] = np.where(np.isfinite(values), values, np.nan)
        return out


@dataclass(frozen=True)
class Daily:
    """What each session adds to the coefficient of one feature, (sessions,) each, and why there is none."""

    product: np.ndarray  # NaN on a session without
    feature: np.ndarray
    outcome: np.ndarray
    reason: str


def arrange(table: pd.DataFrame, prices: pd.DataFrame, horizon: int) -> Grid:
    """Place the rows of `table` and the log returns of each symbol's own `horizon` sessions after, from `prices`."""
    ordered = prices[["symbol", "date", "close"]].sort_values(["symbol", "date"], ignore_index=True)
    close = ordered["close"].to_numpy(dtype="float64")
    log_close = np.log(close, out=np.full(len(close), np.nan), where=close > 0)
    ahead = pd.Series(log_close).groupby(ordered["symbol"]).shift(-horizon).to_numpy() - log_close
    days, day = np.unique(table["date"].to_numpy(), return_inverse=True)
    symbol, symbols = pd.factorize(table["symbol"])
    at = pd.Index(days).get_indexer(ordered["date"]), symbols.get_indexer(ordered["symbol"])
    both = (at[0] >= 0) & (at[1] >= 0)
    returns = np.full((len(days), len(symbols)), np.nan)
    returns[at[0][both], at[1][both]] = ahead[both]
    return Grid(days, (day, symbol), returns)


def across_symbols(grid: Grid, table: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, Daily]]:
    """Spearman's correlation over the symbols on every session, feature by feature; `names` are columns of `table`."""
    ones = np.ones(len(grid.days))
    alone = "one symbol: nothing to rank it against, ask across time" if grid.returns.shape[1] < 2 else ""
    paired = np.isfinite(grid.returns)
    outcome = centred_ranks(grid.returns)
    for name in names:
        values = grid.fill(table[name].to_numpy(dtype="float64"))
        both = np.isfinite(values) & paired
        differs = (both != paired).any(axis=1)
        ranked = outcome.copy()
        ranked[differs] = centred_ranks(np.where(both, grid.returns, np.nan)[differs])
        ranks = centred_ranks(np.where(both, values, np.nan))
        spread = np.sqrt((ranks**2).sum(axis=1) * (ranked**2).sum(axis=1))
        with np.errstate(invalid="ignore"):
            coefficient = np.where(spread > 0, (ranks * ranked).sum(axis=1) / spread, np.nan)
        shared = "" if (ranks != 0).any() or not both.any() else "all symbols share its value: ask across time"
        yield name, Daily(coefficient, ones, ones, alone or shared)


def across_time(grid: Grid, table: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, Daily]]:
    """Products of a value's place in its symbol's past and its return's among all of the symbol's, summed a session."""
    known = np.isfinite(grid.returns)
    returns = np.where(known, centred_ranks(grid.returns.T).T / np.maximum(known.sum(axis=0), 1), np.nan)
    for name in names:
        ranks = past_ranks(grid.fill(table[name].to_numpy(dtype="float64")))
        both = np.isfinite(ranks) & np.isfinite(returns)
        centred, outcome = np.where(both, ranks, 0.0), np.where(both, returns, 0.0)
        product = np.where(both.any(axis=1), (centred * outcome).sum(axis=1), np.nan)
        constant = "" if centred.any() or not both.any() else "it never changed"
        yield name, Daily(product, (centred**2).sum(axis=1), (outcome**2).sum(axis=1), constant)


def past_ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value among those of its column so far, -1 (lowest) to 1; NaN with too few before it."""
    ranks = pd.DataFrame(values).expanding(MIN_PAST + 1).rank().to_numpy()
    count = np.maximum(np.isfinite(values).cumsum(axis=0), 1)
    return (2 * ranks - 1) / count - 1
