"""From orders to returns: positions taken at the next open, held, and closed, of one symbol or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stockkit.forecast.models.protocol import LONGEST_STEP


@dataclass(frozen=True, eq=False)
class Book:
    """The sessions of one strategy and of buying and holding beside it, from the first fill to the last.

    Attributes:
        session: (m,) the session at whose open each interval begins; it ends at the symbol's next open.
        gross: (2, m) simple returns before costs, of the strategy and of holding.
        turnover: (2, m) the share of the capital that changes hands; at the end everything is closed.
        unfilled: orders that found no open.
    """

    session: np.ndarray
    gross: np.ndarray
    turnover: np.ndarray
    unfilled: int


def fill_orders(date: np.ndarray, price: np.ndarray, *, as_of: np.ndarray, side: np.ndarray, horizon: int) -> Book:
    """What orders given at the close of `as_of` earn at the opens that follow.

    Args:
        date: (n,) the symbol's sessions, ascending.
        price: (n,) its opens; one that is not finite and over 0 is missing.
        as_of: (k,) sessions of forecasts, ascending.
        side: (k,) 1 buys, −1 sells, 0 does nothing; filled at the next open for 1 / horizon of the capital.
        horizon: sessions held.
    """
    price = np.where(np.isfinite(price) & (price > 0), price, np.nan)
    at = np.minimum(np.searchsorted(date, as_of), max(len(date) - 2, 0))
    traded = _fillable(date, price, at, as_of)
    unfilled = int((~traded & (side != 0)).sum())
    span = _span(price, at[traded], horizon)
    if span.start >= span.stop:
        return Book(date[:0], np.empty((2, 0)), np.empty((2, 0)), unfilled)
    ordered = np.zeros(len(date))
    ordered[at[traded]] = side[traded]
    sums, now = np.concatenate([[0.0], ordered.cumsum()]), np.arange(len(date))
    wanted = (sums[now] - sums[np.maximum(now - horizon, 0)]) / horizon
    filled = np.maximum.accumulate(np.where(np.isfinite(price), now, 0))  # without an open a position stays as it is
    weight = np.stack([wanted[filled], np.ones(len(date))])[:, span]
    growth = (price[filled][1:] / price[filled][:-1] - 1)[span]
    return Book(date[span], weight * growth, _turnover(weight), unfilled)


def _fillable(date: np.ndarray, price: np.ndarray, at: np.ndarray, as_of: np.ndarray) -> np.ndarray:
    """Whether there is a session `as_of` in row `at`, and an open in the next row, at most 15 days later."""
    if len(date) < 2:
        return np.zeros(len(as_of), dtype=bool)
    step = date[at + 1] - date[at] <= np.timedelta64(LONGEST_STEP, "D")
    return (date[at] == as_of) & np.isfinite(price[at + 1]) & step


def _span(price: np.ndarray, at: np.ndarray, horizon: int) -> slice:
    """The intervals from the first fill to the open, the last one at the latest, at which all can be closed."""
    if not len(at):
        return slice(0, 0)
    opens = np.flatnonzero(np.isfinite(price))
    later = opens[opens > at[-1] + horizon]
    return slice(at[0] + 1, later[0] if len(later) else len(price) - 1)


def _turnover(weight: np.ndarray) -> np.ndarray:
    out = np.abs(np.diff(weight, axis=1, prepend=0.0))
    out[:, -1] += np.abs(weight[:, -1])
    return out


def pool(books: Sequence[Book]) -> Book:
    """Several symbols' books as one, in equal parts of those that have the session."""
    session, at = np.unique(np.concatenate([book.session for book in books]), return_inverse=True)
    count = np.maximum(np.bincount(at, minlength=len(session)), 1)
    gross, turnover = (
        np.stack([np.bincount(at, line, minlength=len(session)) / count for line in np.concatenate(parts, axis=1)])
        for parts in ([book.gross for book in books], [book.turnover for book in books])
    )
    return Book(session, gross, turnover, sum(book.unfilled for book in books))
