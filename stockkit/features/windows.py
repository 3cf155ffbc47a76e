"""Trailing windows over an array: sums, means, deviations, extremes, each from the window's own rows alone.

A value is put together from sums over 1, 2, 4, 8 … rows, a few array operations whatever the window's length. No
total is carried from row to row, so the same window gives the same bits wherever the array starts, and an
error or an infinity does not outlive its window. Rows before the first full window are NaN.
"""

from __future__ import annotations

from stockkit.imports import numpy as np


def ratio(part: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is zero (a flat market has no position in its range)."""
    return np.divide(part, divisor, out=np.full(len(part), np.nan), where=divisor != 0)


def change(x: np.ndarray, lag: int) -> np.ndarray:
    """x less its value `lag` rows before."""
    return _join(np.subtract, x, x, lag)


def lagged(x: np.ndarray, lag: int) -> np.ndarray:
    """The value of x `lag` rows before."""
    out = np.full(len(x), np.nan)
    out[lag:] = x[: max(len(x) - lag, 0)]
    return out


def _join(operation: np.ufunc, late: np.ndarray, early: np.ndarray, lag: int) -> np.ndarray:
    """operation(late, what early was `lag` rows before)."""
    out = np.empty(len(late))
    out[:lag] = np.nan
    operation(late[lag:], early[: max(len(early) - lag, 0)], out=out[lag:])
    return out


def total(x: np.ndarray, n: int) -> np.ndarray:
    """The sum of the last n rows, n >= 1."""
    doubled, width, summed, done = x, 1, None, 0
    while True:
        if n & width:
            summed = doubled if summed is None else _join(np.add, summed, doubled, done)
            done += width
        if (width := 2 * width) > n:
            return summed  # type: ignore[return-value]  # n has at least one bit
        doubled = _join(np.add, doubled, doubled, width // 2)


def mean(x: np.ndarray, n: int) -> np.ndarray:
    """The mean of the last n rows."""
    return total(x, n) / n


def deviations(x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the last n rows and the sum of their squared deviations from it; exactly 0 where they are equal.

    Two halves are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (1979), so that nothing cancels for prices far from zero.
    """
    doubled, inside, width = x, np.zeros(len(x)), 1  # sums over `width` rows, and squared deviations within them
    centre, away, done = x, inside, 0
    while True:
        if n & width:
            mean_before = doubled / width
            if done:
                gap = _join(np.subtract, centre, mean_before, done)
                away = _join(np.add, away, inside, done)
                centre = centre - gap * (width / (done + width))
                away += _squared(gap) * (done * width / (done + width))
            else:
                centre, away = mean_before, inside
            done += width
        if 2 * width > n:
            return centre, away
        gap = _join(np.subtract, doubled, doubled, width)
        inside = _join(np.add, inside, inside, width)
        inside += _squared(gap) * (0.5 / width)
        doubled = _join(np.add, doubled, doubled, width)
        width *= 2


def _squared(x: np.ndarray) -> np.ndarray:
    x *= x
    return x


def deviation(x: np.ndarray, n: int, *, ddof: int = 0) -> np.ndarray:
    """The standard deviation of the last n rows."""
    return np.sqrt(deviations(x, n)[1] / (n - ddof))


def highest(x: np.ndarray, n: int) -> np.ndarray:
    """The largest of the last n rows."""
    return _extreme(np.maximum, x, n)


def lowest(x: np.ndarray, n: int) -> np.ndarray:
    """The smallest of the last n rows."""
    return _extreme(np.minimum, x, n)


def _extreme(operation: np.ufunc, x: np.ndarray, n: int) -> np.ndarray:
    width = 1
    while 2 * width <= n:
        x = _join(operation, x, x, width)
        width *= 2
    return _join(operation, x, x, n - width) if n > width else x
