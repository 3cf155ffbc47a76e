"""The families of Alpha158, compiled: each works through a block of one symbol's rows and writes its features.

A block is (row, skip, m): the absolute row of its first row, how many of its rows are context, its length. `room` is
scratch for windows, `lines` for single series, `out` where features go, a float64 and a float32 array of which one is
empty. Families are numbered as in `alpha158.FAMILIES`; slots[family, window] is the row of `out`, -1 for none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stockkit.features import rolling
from stockkit.features.rolling import (
    FLAT,
    WINDOWS,
    compiled,
    correlation,
    emit,
    gapped,
    highest,
    insert,
    kernel,
    products,
    quantile,
    sums,
    wanted,
)

BLOCK = 2048  # rows at a time: the scratch of a family stays in the cache
CONTEXT = 60  # rows before a block that the longest window needs


@kernel
def _shapes(columns: Any, block: Any, slots: Any, lines: Any, out: Any) -> None:
    """The thirteen features of one bar alone: each is one of its parts over another."""
    row, skip, m = block
    o, h, low, c = columns[0], columns[1], columns[2], columns[3]
    body, height, above, below, shift, typical = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
    never_zero, line = lines[6], lines[7]
    for i in range(m):
        body[i] = c[i] - o[i]
        height[i] = h[i] - low[i]
        never_zero[i] = height[i] + 1e-12
        above[i] = h[i] - max(o[i], c[i])
        below[i] = min(o[i], c[i]) - low[i]
        shift[i] = 2 * c[i] - h[i] - low[i]
        typical[i] = (h[i] + low[i] + c[i]) / 3
    parts = (body, height, body, above, above, below, below, shift, shift, o, h, low, typical)
    divisors = (o, o, never_zero, o, never_zero, o, never_zero, o, never_zero, c, c, c, c)
    for f in range(13):
        if slots[f] >= 0:
            part, divisor = parts[f], divisors[f]
            for i in range(m):
                line[i] = part[i] / divisor[i]
            emit(out, slots[f], row, line, skip, m)


@kernel
def _trend(c: Any, s: Any, m: int, lines: Any, j: int) -> None:
    """ROC, MA, STD, BETA, RSQR, RESI of window j; s: sums of close and index, products of close, of both."""
    d = WINDOWS[j]
    total, square, cross = s[0, j], s[2, j], s[3, j]
    roc, mean, std, beta, rsqr, resi = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
    for i in range(min(d, m)):
        roc[i] = math.nan
    for i in range(m - d):
        roc[i + d] = c[i] / c[i + d]
    for i in range(m):
        n = float(min(d, i + 1))
        mean[i] = total[i] / n / c[i]
        std[i] = math.sqrt(square[i] / (n - 1))
        spread = n * (n * n - 1) / 12
        slope = cross[i] / spread
        beta[i] = slope / c[i]
        fit = cross[i] * cross[i] / (spread * square[i])
        rsqr[i] = math.nan if std[i] <= FLAT else fit
        resi[i] = (c[i] - (total[i] / n + slope * (n - 1) / 2)) / c[i]
    for i in range(m):
        std[i] = std[i] / c[i]


@kernel
def _trends(c: Any, v: Any, block: Any, depths: Any, slots: Any, room: Any, lines: Any, out: Any) -> None:
    """ROC to RESI, and CORR."""
    row, skip, m = block
    depth = max(depths[1], depths[5])
    index, log_v = lines[6], lines[7]
    sums(c, m, depth, room[0])
    products(c, c, room[0], room[0], m, depth, room[2])
    if depths[1]:
        for i in range(m):
            index[i] = i
        sums(index, m, depth, room[1])
        products(c, index, room[0], room[1], m, depth, room[3])
    for j in range(depths[1]):
        if wanted(slots, 0, 6, j):
            _trend(c, room, m, lines, j)
            for f in range(6):
                emit(out, slots[f, j], row, lines[f], skip, m)
    if depths[5]:
        for i in range(m):
            log_v[i] = math.log(v[i] + 1)
        sums(log_v, m, depth, room[1])
        products(log_v, log_v, room[1], room[1], m, depth, room[3])
        products(c, log_v, room[0], room[1], m, depth, room[4])
    for j in range(depths[5]):
        if wanted(slots, 15, 16, j):
            correlation(room[2, j, :m], room[3, j, :m], room[4, j, :m], WINDOWS[j], lines[0])
            emit(out, slots[15, j], row, lines[0], skip, m)


@kernel
def _extremes(h: Any, low: Any, c: Any, block: Any, depth: int, slots: Any, room: Any, lines: Any, out: Any) -> None:
    """MAX, MIN, RSV, IMAX, IMIN, IMXD."""
    row, skip, m = block
    under = lines[6]
    for i in range(m):
        under[i] = -low[i]
    highest(h, m, depth, room[0], room[1])
    highest(under, m, depth, room[2], room[3])
    for j in range(depth):
        if not (wanted(slots, 6, 8, j) or wanted(slots, 11, 15, j)):
            continue
        d = WINDOWS[j]
        top, at_top, bottom, at_bottom = room[0, j], room[1, j], room[2, j], room[3, j]
        for i in range(m):
            begin = max(0, i - d + 1) - 1
            lines[0, i] = top[i] / c[i]
            lines[1, i] = -bottom[i] / c[i]
            lines[2, i] = (c[i] + bottom[i]) / (top[i] + bottom[i] + 1e-12)
            lines[3, i] = (at_top[i] - begin) / d
            lines[4, i] = (at_bottom[i] - begin) / d
            lines[5, i] = (at_top[i] - at_bottom[i]) / d
        for k, f in enumerate((6, 7, 11, 12, 13, 14)):
            emit(out, slots[f, j], row, lines[k], skip, m)


@kernel
def _orders(c: Any, block: Any, depth: int, slots: Any, lines: Any, out: Any) -> None:
    """QTLU, QTLD, RANK: each window's closes are kept in ascending order."""
    row, skip, m = block
    ordered = lines[3]
    for j in range(depth):
        if not wanted(slots, 8, 11, j):
            continue
        d = WINDOWS[j]
        begin = max(0, skip - d + 1)
        for i in range(begin, m):
            n = min(d, i - begin + 1)
            old = c[i - d] if i - begin >= d else math.nan
            at = insert(c[i], old, n, ordered) if old == old else insert(c[i], old, n - 1, ordered)
            equal = 1
            while at + equal < n and ordered[at + equal] == c[i]:
                equal += 1
            lines[0, i] = quantile(ordered, n, 0.8) / c[i]
            lines[1, i] = quantile(ordered, n, 0.2) / c[i]
            lines[2, i] = (at + (equal + 1) / 2) / n
        for f in range(3):
            emit(out, slots[8 + f, j], row, lines[f], skip, m)


@kernel
def _changes(x: Any, counted: bool, block: Any, depth: int, slots: Any, room: Any, lines: Any, out: Any) -> None:
    """SUMP, SUMN, SUMD: rises and falls over both; counted: CNTP, CNTN, CNTD: the share of sessions with either.

    A symbol's first row has no change. Qlib counts it as a session that neither rose nor fell.
    """
    row, skip, m = block
    rise, fall = lines[3], lines[4]
    rise[0] = fall[0] = 0.0
    for i in range(1, m):
        change = x[i] - x[i - 1]
        change = np.sign(change) if counted else change
        rise[i], fall[i] = max(change, 0.0), max(-change, 0.0)
    sums(rise, m, depth, room[0])
    sums(fall, m, depth, room[1])
    for j in range(depth):
        if not wanted(slots, 0, 3, j):
            continue
        up, down = room[0, j], room[1, j]
        for i in range(m):
            divisor = float(min(WINDOWS[j], i + 1)) if counted else up[i] + down[i] + 1e-12
            lines[0, i] = up[i] / divisor
            lines[1, i] = down[i] / divisor
            lines[2, i] = (up[i] - down[i]) / divisor
        if not counted:
            lines[0, 0] = lines[1, 0] = lines[2, 0] = math.nan  # in a later block row 0 is context
        for f in range(3):
            emit(out, slots[f, j], row, lines[f], skip, m)


@kernel
def _turnover(c: Any, v: Any, block: Any, depths: Any, slots: Any, room: Any, lines: Any, out: Any) -> None:
    """VMA and VSTD of the volume; WVMA of the volume times the size of the day's return."""
    row, skip, m = block
    if depths[7]:
        sums(v, m, depths[7], room[0])
        products(v, v, room[0], room[0], m, depths[7], room[1])
    for j in range(depths[7]):
        if not wanted(slots, 0, 2, j):
            continue
        for i in range(m):
            n = float(min(WINDOWS[j], i + 1))
            lines[0, i] = room[0, j, i] / n / (v[i] + 1e-12)
            lines[1, i] = math.sqrt(room[1, j, i] / (n - 1)) / (v[i] + 1e-12)
        for f in range(2):
            emit(out, slots[f, j], row, lines[f], skip, m)
    if not depths[8]:
        return
    moved = lines[2]  # from the second row on: the first has no return
    for i in range(m - 1):
        moved[i] = abs(c[i + 1] / c[i] - 1) * v[i + 1]
    sums(moved, m - 1, depths[8], room[0])
    products(moved, moved, room[0], room[0], m - 1, depths[8], room[1])
    for j in range(depths[8]):
        lines[0, 0] = math.nan
        for i in range(m - 1):
            n = float(min(WINDOWS[j], i + 1))
            lines[0, i + 1] = math.sqrt(room[1, j, i] / (n - 1)) / (room[0, j, i] / n + 1e-12)
        emit(out, slots[2, j], row, lines[0], skip, m)


@kernel
def _moves(c: Any, v: Any, block: Any, depth: int, slots: Any, room: Any, lines: Any, out: Any) -> None:
    """CORD: the correlation of the close's and the volume's change; none from or to a session without volume."""
    row, skip, m = block
    x, y, gap = lines[1], lines[2], lines[3]
    for i in range(m - 1):
        x[i], y[i] = c[i + 1] / c[i], math.log(v[i + 1] / v[i] + 1)
        gap[i] = 0.0 if math.isfinite(y[i]) else 1.0
        y[i] = y[i] if math.isfinite(y[i]) else 0.0
    sums(x, m - 1, depth, room[0])
    sums(y, m - 1, depth, room[1])
    sums(gap, m - 1, depth, room[5])
    products(x, x, room[0], room[0], m - 1, depth, room[2])
    products(y, y, room[1], room[1], m - 1, depth, room[3])
    products(x, y, room[0], room[1], m - 1, depth, room[4])
    for j in range(depth):
        if slots[j] < 0:
            continue
        d = WINDOWS[j]
        lines[0, 0] = math.nan
        correlation(room[2, j, : m - 1], room[3, j, : m - 1], room[4, j, : m - 1], d, lines[0, 1:m])
        for i in range(m - 1):
            if room[5, j, i]:
                begin = max(0, i + 1 - d)
                lines[0, i + 1] = gapped(x[begin : i + 1], y[begin : i + 1], gap[begin : i + 1])
        emit(out, slots[j], row, lines[0], skip, m)


def _driver(version: str) -> Callable[..., None]:
    """The kernel over all symbols; its machine code is kept on disk for this version of the rolling kernels."""

    @compiled
    def fill(bars: Any, edges: Any, starts: Any, shapes: Any, slots: Any, depths: Any, out: Any) -> None:
        version  # noqa: B018 - part of the key
        width = min(np.diff(edges).max(), BLOCK + CONTEXT)
        room, lines, columns = np.empty((6, 5, width)), np.empty((8, width)), np.empty((5, width))
        for k in range(len(starts)):
            for begin in range(starts[k], edges[k + 1], BLOCK):
                row, end = max(edges[k], begin - CONTEXT), min(begin + BLOCK, edges[k + 1])
                for column in range(5):
                    bar = bars[column]
                    for i in range(end - row):
                        columns[column, i] = bar[row + i]
                _block(columns, (row, begin - row, end - row), shapes, slots, depths, room, lines, out)

    return fill


@kernel
def _block(columns: Any, block: Any, shapes: Any, slots: Any, depths: Any, room: Any, lines: Any, out: Any) -> None:
    h, low, c, v = columns[1], columns[2], columns[3], columns[4]
    if depths[0]:
        _shapes(columns, block, shapes, lines, out)
    if depths[1] or depths[5]:
        _trends(c, v, block, depths, slots, room, lines, out)
    if depths[2]:
        _extremes(h, low, c, block, depths[2], slots, room, lines, out)
    if depths[3]:
        _orders(c, block, depths[3], slots, lines, out)
    if depths[4]:
        _moves(c, v, block, depths[4], slots[16], room, lines, out)
    if depths[6]:
        _changes(c, True, block, depths[6], slots[17:20], room, lines, out)
    if depths[10]:
        _changes(c, False, block, depths[10], slots[20:23], room, lines, out)
    if depths[7] or depths[8]:
        _turnover(c, v, block, depths, slots[23:26], room, lines, out)
    if depths[9]:
        _changes(v, False, block, depths[9], slots[26:29], room, lines, out)


fill = _driver(rolling.fingerprint())
