"""What trading on forecasts would have earned: filled at the next open, after costs, beside buying and holding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.judge.diebold_mariano import Paired, pair
from stockkit.forecast.models.protocol import RANDOM_WALK, SERIES
from stockkit.forecast.trading.fills import Book, fill_orders, pool
from stockkit.market import schema

SESSIONS_A_YEAR = 252
COSTS = (0.0, 5.0, 10.0, 20.0)  # basis points of what changes hands
OPENS = {"symbol": "string", "date": "datetime64[ns]", "open": "float64"}
FIGURES = ["cost_bp", "annual_return", "volatility", "sharpe", "max_drawdown", "psr", "dsr", "turnover",
           "break_even_bp", "hold_return", "hold_sharpe", "hold_drawdown"]  # fmt: skip
PORTFOLIO: dict[str, str] = {
    "model": "string",
    "horizon": "int64",
    "symbols": "int64",
    "sessions": "int64",
    "unfilled": "int64",
    **dict.fromkeys(FIGURES, "float64"),
}
BY_SYMBOL: dict[str, str] = {"symbol": "string", **{k: v for k, v in PORTFOLIO.items() if k != "symbols"}}
DAILY: dict[str, str] = {
    "model": "string",
    "horizon": "int64",
    "session": "datetime64[ns]",
    **dict.fromkeys(["gross", "turnover", "hold", "hold_turnover"], "float64"),
}


@dataclass(frozen=True, eq=False)
class Traded:
    """What a rule would have earned.

    Attributes:
        by_symbol: a row a symbol, model, horizon and cost, columns of `BY_SYMBOL`.
        portfolio: the same of all symbols in equal parts, columns of `PORTFOLIO`.
        daily: the portfolios' sessions, columns of `DAILY`: simple return from this open to the next before costs,
            and the share of the capital that changed hands, of the rule and of buying and holding.
        trials: strategies that `dsr` allows for.
        rule: the rule in words.
    """

    by_symbol: pd.DataFrame
    portfolio: pd.DataFrame
    daily: pd.DataFrame
    trials: int
    rule: str


def trade(
    rows: pd.DataFrame,
    prices: pd.DataFrame,
    *,
    threshold: float = 0.0,
    costs: Sequence[float] = COSTS,
    trials: int = 0,
) -> Traded:
    """Trade on forecasts: long where the mean is above 0, short where it is below.

    The forecast made at the close of as_of is filled at the symbol's next open and held for `horizon` sessions;
    where forecasts overlap, each holds 1 / horizon of the capital. Returns are simple, from open to open. A
    forecast is not traded, and counted as unfilled, where the next open is missing: the last session, a session that
    the prices lack, or more than 15 days to the next; a position that cannot be changed for want of an open is held to
    the next one. Positions are closed at the end, at the last open. A position's drift between opens is
    restored without cost; dividends, borrowing fees and interest are left out.

    Args:
        rows: as for `scores.board`; sigma is used where `threshold` is over 0. The random walk never trades.
        prices: symbol, date and open at least, sorted by symbol, then date; an open that is no price is a missing one.
        threshold: trade only where |mean| is over so many sigma; 0: always, the sign rule.
        costs: basis points of what changes hands, each way.
        trials: settings tried in all, such as those that the fits compared. `dsr` allows for that many strategies, and
            never for fewer than there are in `rows`, by symbol and as portfolios.

    Returns:
        For each cost: annual_return (252 × the mean), volatility and sharpe (annualised, 252 sessions), max_drawdown
        (0 to −1, of the compounded capital), psr and dsr (`probabilistic` over 0 and `deflated`);
        turnover (times the capital a year), break_even_bp (the cost at which the mean is 0; below 0 where it loses
        before costs) and unfilled; hold_return, hold_sharpe and hold_drawdown of buying at the first open and selling
        at the last, at the same cost. A portfolio holds equal parts of the symbols that have a position to hold or to
        forego on a session. NaN where nothing was traded.

    Raises:
        ForecastError: rows that `scores.board` refuses, or a threshold or cost below 0.
        SchemaError: prices without a column, or out of order.
    """
    if threshold < 0 or min(costs, default=-1) < 0:
        raise ForecastError(f"threshold {threshold}, costs {list(costs)}: give none below 0, and one cost or more.")
    prices = schema.conform(prices, OPENS, what="prices")
    schema.check_order(prices, what="prices")
    books = {} if rows.empty else _books(pair(rows), _opens(prices), threshold)
    groups: dict[tuple[str, int], list[Book]] = {}
    for (_, model, horizon), book in books.items():
        groups.setdefault((model, horizon), []).append(book)
    pools = {key: pool(parts) for key, parts in groups.items()}
    trials = max(trials, len(books) + len(pools))
    by_symbol = [line for key, book in books.items() for line in _lines(book, costs, trials, SERIES, key)]
    portfolio = [
        line
        for key, book in pools.items()
        for line in _lines(book, costs, trials, ["model", "horizon", "symbols"], (*key, len(groups[key])))
    ]
    return Traded(
        _table(by_symbol, BY_SYMBOL),
        _table(portfolio, PORTFOLIO),
        schema.stack([_daily(*key, book) for key, book in pools.items()], DAILY),
        trials,
        f"long or short where the mean is over {threshold:g} sigma" if threshold else "long or short by the sign",
    )


def _table(lines: list[dict[str, Any]], contract: dict[str, str]) -> pd.DataFrame:
    return schema.cast(pd.DataFrame(lines), contract) if lines else schema.empty(contract)


def _opens(prices: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Dates and opens of each symbol."""
    edges = schema.symbol_edges(prices["symbol"])
    date, price = prices["date"].to_numpy(), prices["open"].to_numpy()
    spans = [slice(*ends) for ends in itertools.pairwise(edges)]
    return {str(prices["symbol"].iloc[span.start]): (date[span], price[span]) for span in spans}


def _books(
    paired: Paired, opens: dict[str, tuple[np.ndarray, np.ndarray]], threshold: float
) -> dict[tuple[str, str, int], Book]:
    """The book of each symbol, model and horizon but the random walk's."""
    nothing = np.empty(0, dtype="datetime64[ns]"), np.empty(0)
    mean, sigma = paired.values["mean"], paired.values["sigma"]
    side = np.where(np.abs(mean) > threshold * sigma, np.sign(mean), 0.0) if threshold else np.sign(mean)
    books = {}
    for key, start, end in zip(
        paired.keys.itertuples(index=False), paired.starts, [*paired.starts[1:], len(side)], strict=True
    ):
        if key.model != RANDOM_WALK:
            rows = start + np.flatnonzero(np.isfinite(mean[start:end]))
            orders = {"as_of": paired.days[paired.day[rows]], "side": side[rows], "horizon": int(key.horizon)}
            books[str(key.symbol), str(key.model), int(key.horizon)] = fill_orders(
                *opens.get(key.symbol, nothing), **orders
            )
    return books


def _lines(
    book: Book, costs: Sequence[float], trials: int, names: Sequence[str], key: Sequence[object]
) -> list[dict[str, Any]]:
    """A row of figures for each cost."""
    net = book.gross[:, None] - np.array(costs)[:, None] * 1e-4 * book.turnover[:, None]  # (2, costs, sessions)
    sessions, changed = len(book.session), book.turnover[0].sum()
    nothing, year = np.full((2, len(costs)), np.nan), SESSIONS_A_YEAR
    mean = net.mean(axis=2) * year if sessions else nothing
    spread = net.std(axis=2, ddof=1) * np.sqrt(year) if sessions > 1 else nothing
    ratio, deepest = sharpe(net) * np.sqrt(year), drawdown(net)
    by_cost = {"cost_bp": costs, "annual_return": mean[0], "volatility": spread[0], "sharpe": ratio[0],
               "max_drawdown": deepest[0], "psr": probabilistic(net[0]), "dsr": deflated(net[0], trials),
               "hold_return": mean[1], "hold_sharpe": ratio[1], "hold_drawdown": deepest[1]}  # fmt: skip
    shared = {
        **dict(zip(names, key, strict=True)),
        "sessions": sessions,
        "unfilled": book.unfilled,
        "turnover": changed / sessions * year if sessions else np.nan,
        "break_even_bp": book.gross[0].sum() / changed * 1e4 if changed else np.nan,
    }
    return [{**shared, **{name: values[k] for name, values in by_cost.items()}} for k in range(len(costs))]


def drawdown(returns: np.ndarray) -> np.ndarray:
    """The deepest fall from a peak of the compounded capital, 0 to −1, of simple returns (..., n); NaN for n = 0."""
    if not returns.shape[-1]:
        return np.full(returns.shape[:-1], np.nan)
    capital = np.maximum(1 + returns, 0).cumprod(axis=-1)
    peak = np.maximum(np.maximum.accumulate(capital, axis=-1), 1)
    return (capital / peak - 1).min(axis=-1)


def _daily(model: str, horizon: int, book: Book) -> pd.DataFrame:
    return pd.DataFrame({
        "model": model,
        "horizon": horizon,
        "session": book.session,
        "gross": book.gross[0],
        "turnover": book.turnover[0],
        "hold": book.gross[1],
        "hold_turnover": book.turnover[1],
    })  # fmt: skip


def sharpe(returns: np.ndarray) -> np.ndarray:
    """Mean over standard deviation of returns (..., n) a session, not annualised; NaN for n < 2 or without spread."""
    if returns.shape[-1] < 2:
        return np.full(returns.shape[:-1], np.nan)
    mean, spread = returns.mean(axis=-1), returns.std(axis=-1, ddof=1)
    spread = np.where(np.ptp(returns, axis=-1) > 1e-12 * np.abs(mean), spread, np.nan)
    return mean / spread


def probabilistic(returns: np.ndarray, benchmark: float | np.ndarray = 0.0) -> np.ndarray:
    """The probability that the true Sharpe ratio is over `benchmark` (a session's, not annualised).

    Bailey and López de Prado 2012, the probabilistic Sharpe ratio (section 3); allows for skewness and kurtosis.

    Args:
        returns: (..., n), independent sessions.
        benchmark: one, or (...).
    """
    from scipy import special

    ratio = sharpe(returns)
    if np.isnan(ratio).all():
        return ratio
    centred = returns - returns.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = centred**2  # a product takes a hundredth of the time of `**3`
        second, third, fourth = (power.mean(axis=-1) for power in (squared, squared * centred, squared * squared))
        skewness, kurtosis = third / second**1.5, fourth / second**2
        error = np.sqrt(1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2)
        return special.ndtr((ratio - benchmark) * np.sqrt(returns.shape[-1] - 1) / error)


def best_of(trials: int, variance: float) -> float:
    """The Sharpe ratio to expect of the best of `trials` strategies without skill, whose ratios have this variance.

    Bailey and López de Prado 2014, equation 1; 0 for one trial. In the unit of the ratios.

    Raises:
        ForecastError: fewer than one trial.
    """
    from scipy import special

    if trials < 1:
        raise ForecastError(f"trials {trials}: count every strategy that was tried, this one included.")
    if trials == 1:
        return 0.0
    expected, beyond = special.ndtri([1 - 1 / trials, 1 - 1 / (trials * np.e)])
    return float(np.sqrt(variance) * ((1 - np.euler_gamma) * expected + np.euler_gamma * beyond))


def deflated(returns: np.ndarray, trials: int, variance: float | None = None) -> np.ndarray:
    """The probability that the true Sharpe ratio is over what the best of `trials` without skill would show.

    Bailey and López de Prado 2014, equation 2.

    Args:
        returns: (..., n), independent sessions.
        trials: strategies tried in all, this one included.
        variance: of the trials' Sharpe ratios a session; 1 / (n − 1), that of a strategy without skill, if not given.

    Raises:
        ForecastError: fewer than one trial.
    """
    n = returns.shape[-1]
    return probabilistic(returns, best_of(trials, 1 / max(n - 1, 1) if variance is None else variance))
