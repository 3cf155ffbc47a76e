"""The numbers behind Alpha158: compiled kernels over windows of 5, 10, 20, 30 and 60 sessions.

A window is built from two shorter ones that end where it ends and begin where it begins: 10 = 5 + 5, 20 = 10 + 10,
30 = 20 + 10, 60 = 30 + 30. So a value costs one step whatever its window, and hangs on the values in that window
alone, in one fixed order: no running sum carries the rounding of earlier rows. Second moments are joined by the
formula of Chan, Golub and LeVeque 1979, which is exact for constant prices and does not cancel.

Every kernel works on a block of one symbol's rows, `m` long, of which the first `skip` are context. A window that
would reach before row 0 holds what there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
WINDOWS = (5, 10, 20, 30, 60)
NEWER = (0, 0, 1, 2, 3)  # the level of the part that ends where the window ends
OLDER = (0, 0, 1, 1, 3)  # the level of the part before it
FLAT = 2e-5  # Qlib gives no correlation where a standard deviation is at most this


def kernel(function: F) -> F:
    """Compile as a part of `compiled` functions, which alone can be called from Python; never reorder sums."""
    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(F, njit(**options)(function))


def compiled(function: F) -> F:
    """Compile on the first call, keep the machine code on disk where that can be, let other threads run."""
    options: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # neither the package's folder nor the user's can be written to, as on AWS Lambda
        return cast(F, njit(**options)(function))


@kernel
def sums(x: Any, m: int, depth: int, s: Any) -> None:
    """s[j, i]: the sum of x over window j up to row i."""
    for i in range(m - 4):
        s[0, i + 4] = ((x[i + 4] + x[i + 3]) + (x[i + 2] + x[i + 1])) + x[i]
    for j in range(1, depth):
        lag, d = WINDOWS[NEWER[j]], WINDOWS[j]
        newer, older, out = s[NEWER[j], d - 1 : m], s[OLDER[j], d - 1 - lag : m - lag], s[j, d - 1 : m]
        for i in range(m - d + 1):
            out[i] = newer[i] + older[i]
    total = 0.0
    for i in range(min(m, WINDOWS[depth - 1] - 1)):
        total += x[i]
        for j in range(depth):
            if i < WINDOWS[j] - 1:
                s[j, i] = total


@kernel
def products(x: Any, y: Any, sx: Any, sy: Any, m: int, depth: int, c: Any) -> None:
    """c[j, i]: the sum of (x - its mean) (y - its mean) over window j up to row i; sx and sy are their sums."""
    for i in range(m - 4):
        a, b = x[i + 4], y[i + 4]
        x1, x2, x3, x4 = x[i + 3] - a, x[i + 2] - a, x[i + 1] - a, x[i] - a
        y1, y2, y3, y4 = y[i + 3] - b, y[i + 2] - b, y[i + 1] - b, y[i] - b
        both = (x1 * y1 + x2 * y2) + (x3 * y3 + x4 * y4)
        c[0, i + 4] = both - ((x1 + x2) + (x3 + x4)) * ((y1 + y2) + (y3 + y4)) / 5
    for j in range(1, depth):
        p, q, d = NEWER[j], OLDER[j], WINDOWS[j]
        lag, before = WINDOWS[p], WINDOWS[q]
        weight = lag * before / d
        c1, c2, out = c[p, d - 1 : m], c[q, d - 1 - lag : m - lag], c[j, d - 1 : m]
        x_new, x_old = sx[p, d - 1 : m], sx[q, d - 1 - lag : m - lag]
        y_new, y_old = sy[p, d - 1 : m], sy[q, d - 1 - lag : m - lag]
        for i in range(m - d + 1):
            apart = (x_new[i] / lag - x_old[i] / before) * (y_new[i] / lag - y_old[i] / before)
            out[i] = c1[i] + c2[i] + weight * apart
    dx, dy, both = 0.0, 0.0, 0.0
    for i in range(min(m, WINDOWS[depth - 1] - 1)):
        dx += x[i] - x[0]
        dy += y[i] - y[0]
        both += (x[i] - x[0]) * (y[i] - y[0])
        for j in range(depth):
            if i < WINDOWS[j] - 1:
                c[j, i] = both - dx * dy / (i + 1)


@kernel
def highest(x: Any, m: int, depth: int, top: Any, place: Any) -> None:
    """top[j, i]: the highest x of window j up to row i; place[j, i]: its row, the first of equals."""
    for i in range(m - 4):
        best, at = x[i], float(i)
        for k in range(1, 5):
            higher = x[i + k] > best
            best = x[i + k] if higher else best
            at = float(i + k) if higher else at
        top[0, i + 4] = best
        place[0, i + 4] = at
    for j in range(1, depth):
        p, q, d = NEWER[j], OLDER[j], WINDOWS[j]
        lag = WINDOWS[p]
        t1, t2, out = top[p, d - 1 : m], top[q, d - 1 - lag : m - lag], top[j, d - 1 : m]
        p1, p2, at_out = place[p, d - 1 : m], place[q, d - 1 - lag : m - lag], place[j, d - 1 : m]
        for i in range(m - d + 1):
            at_out[i] = p1[i] if t1[i] > t2[i] else p2[i]
        for i in range(m - d + 1):
            out[i] = max(t1[i], t2[i])
    best, at = -math.inf, 0.0
    for i in range(min(m, WINDOWS[depth - 1] - 1)):
        if x[i] > best:
            best, at = x[i], float(i)
        for j in range(depth):
            if i < WINDOWS[j] - 1:
                top[j, i] = best
                place[j, i] = at


@kernel
def insert(x: float, old: float, n: int, ordered: Any) -> int:
    """Put x into the n ascending values held, in the place of `old` unless that is NaN; say where it went."""
    at = n
    if old == old:
        at, step = 0, n
        while step > 0:  # the first that is not below `old`
            half = step // 2
            below = ordered[at + half] < old
            at = at + half + 1 if below else at
            step = step - half - 1 if below else half
        while at + 1 < n and ordered[at + 1] < x:
            ordered[at] = ordered[at + 1]
            at += 1
    while at > 0 and ordered[at - 1] >= x:
        ordered[at] = ordered[at - 1]
        at -= 1
    ordered[at] = x
    return at


@kernel
def quantile(ordered: Any, n: int, share: float) -> float:
    """The linear quantile of n ascending values."""
    place = share * (n - 1)
    below = int(place)
    if below + 1 >= n:
        return ordered[below]
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (place - below)


@kernel
def correlation(xx: Any, yy: Any, xy: Any, d: int, line: Any) -> None:
    """The correlation over a window, from its centred products; none where a side stands still."""
    for i in range(len(xy)):
        n = float(min(d, i + 1))
        flat = math.sqrt(xx[i] / (n - 1)) <= FLAT or math.sqrt(yy[i] / (n - 1)) <= FLAT
        line[i] = math.nan if flat else xy[i] / (math.sqrt(xx[i]) * math.sqrt(yy[i]))


@kernel
def gapped(x: Any, y: Any, gap: Any) -> float:
    """The correlation over a window of which some rows have no y; x must move over all rows, y over its own."""
    n, sx, sy, xx, yy, xy, all_x, all_xx = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    first = 0
    while first < len(x) - 1 and gap[first]:
        first += 1
    for i in range(len(x)):
        dx, dy = x[i] - x[first], y[i] - y[first]
        all_x += dx
        all_xx += dx * dx
        if not gap[i]:
            n += 1
            sx += dx
            sy += dy
            xx += dx * dx
            yy += dy * dy
            xy += dx * dy
    if n < 2 or math.sqrt((all_xx - all_x * all_x / len(x)) / (len(x) - 1)) <= FLAT:
        return math.nan
    xx, yy, xy = xx - sx * sx / n, yy - sy * sy / n, xy - sx * sy / n
    return math.nan if math.sqrt(yy / (n - 1)) <= FLAT else xy / (math.sqrt(xx) * math.sqrt(yy))


@kernel
def emit(out: Any, slot: int, row: int, values: Any, skip: int, m: int) -> None:
    """Write values[skip:m] to their rows of one feature; slot -1 means that nobody asked for it."""
    wide, narrow = out
    if slot >= 0 and wide.shape[0]:
        target = wide[slot, row + skip : row + m]
        for i in range(m - skip):  # a loop: an assignment of slices takes seconds to compile
            target[i] = values[skip + i]
    elif slot >= 0:
        small = narrow[slot, row + skip : row + m]
        for i in range(m - skip):
            small[i] = np.float32(values[skip + i])


@kernel
def wanted(slots: Any, first: int, last: int, j: int) -> bool:
    """Whether anybody asked for window j of the families first to last - 1."""
    asked = False
    for f in range(first, last):
        asked |= slots[f, j] >= 0
    return asked


def fingerprint() -> str:
    """A digest of this module's code: numba keeps what it compiled by the caller's file alone, and would miss a change.

    Returns:
        64 hex digits, for a kernel of another module to close over, which makes them part of its key on disk.
    """
    parts = [(f.py_func.__code__.co_code, f.py_func.__code__.co_consts) for f in KERNELS]
    return sha256(repr((parts, WINDOWS, NEWER, OLDER, FLAT)).encode()).hexdigest()


KERNELS: tuple[Any, ...] = (sums, products, highest, insert, quantile, correlation, gapped, emit, wanted)
