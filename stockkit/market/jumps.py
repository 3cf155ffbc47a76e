"""Moves of the close that are too large for news: which rows lie on another scale, and which ratio would explain it.

A missing split leaves two stretches of one history in different units. Both cannot be trusted at once, as a return
across the border is false; one can. The newest stretch is kept where it can stand by itself, else the longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market import schema

MAX_JUMP = 0.5
SPIKE = 5
STRETCH = 250  # rows, a year of sessions: the newest stretch is kept where it has as many
NEIGHBOURS = 20  # rows on either side that tell what is usual
FEWEST = 5  # rows without which nothing is known of what is usual
ORDINARY = 4.0  # times the usual move: what a day can bring by itself
HEAVY = 4.0  # times the volume that a split would have given: news, not arithmetic
BY_NEWS = 1.2  # log terms: no news moves a close by more in a day, however heavy the trading
ON_SPLITS = 0.35  # log terms: what a day of a reverse split brings besides
LEAST = 0.3  # log terms: smaller moves are not looked at
TICKS = 3.0  # a move of so few of the smallest steps is no evidence of anything
COMMON = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)
RARE = (Fraction(3, 2), Fraction(5, 2), Fraction(5, 3), Fraction(7, 2), 9, 12, 16, 18, 35, 60, 75, 80, 120, 150, 200,
        250, 300, 400, 500, 1000)  # fmt: skip
RATIOS = tuple(float(r) for one in (*COMMON, *RARE) for r in (one, Fraction(1, one)))  # new shares for one old
UNCOMMON = (0.0,) * 2 * len(COMMON) + (2.0,) * 2 * len(RARE)  # usual moves by which it has to fit better
UNITS = (100.0, 0.01)  # pence and pounds, cents and dollars

SPLIT, REAL, NO_RATIO, ADJUSTED = "split", "real move", "not a ratio", "adjusted already"

SUGGEST = "`stockkit lake actions suggest`"
STRETCH_RULES = ("before_jump", "after_jump")
MEANINGS: Mapping[str, str] = {
    "unexplained_jump": (
        f"the close moves by more than {MAX_JUMP} in log terms (a fall of 39 % or a rise of 65 %) from the row "
        "before and no split explains it: add the split, or a split of 1.0 on that day if the move is real; "
        f"{SUGGEST} lists such moves with the ratio that would explain them"
    ),
    "before_jump": (
        "the row comes before a move of the close that no split explains, so it is on another scale than the rows "
        f"after it: {SUGGEST} lists such moves with the ratio that would explain them"
    ),
    "after_jump": (
        "the row comes after a move of the close that no split explains, and the rows since are too few to stand by "
        f"themselves: {SUGGEST} lists such moves with the ratio that would explain them"
    ),
}  # what each rule means that a jump breaks
SUGGESTED: Mapping[str, str] = {
    "symbol": "string",
    "ex_date": "datetime64[ns]",
    "close_before": "float64",
    "close": "float64",
    "ratio": "float64",
    "kind": "string",
    "evidence": "string",
}


@dataclass(frozen=True)
class Stretches:
    """The `rule` that each row breaks ("" for the others), and the rows at which another scale begins."""

    rule: np.ndarray
    borders: list[int]


def stretches(level: np.ndarray, explained: np.ndarray, broken: Sequence[int] = ()) -> Stretches:
    """Judge one symbol's history.

    A spike that returns within `SPIKE` rows costs only itself. A jump that stays divides the history: the newest
    stretch is trusted where it has `STRETCH` rows, else the longest, and the rows of the others are refused.

    Args:
        level: log closes, ascending by session.
        explained: whether a row's move is known to be real, shape as `level`.
        broken: rows at which another scale begins for a reason other than the move.
    """
    rule = np.full(len(level), "", dtype=object)
    far = (np.abs(np.diff(level, prepend=level[:1])) > MAX_JUMP) & ~explained
    borders = {at for at in broken if 0 < at < len(level)}
    back_at = 0
    for at in np.flatnonzero(far):
        if back_at and at <= back_at:
            continue
        back = np.flatnonzero(np.abs(level[at + 1 : at + 1 + SPIKE] - level[at - 1]) <= MAX_JUMP)
        if len(back):
            back_at = at + 1 + back[0]
            rule[at:back_at] = "unexplained_jump"
        else:
            borders.add(int(at))
    if not borders:
        return Stretches(rule, [])
    edges = [0, *sorted(borders), len(level)]
    first, last = _trusted(edges)
    rule[:first], rule[last:] = "before_jump", "after_jump"
    refused = [at for at in borders if at != first and far[at]]
    rule[refused] = "unexplained_jump"
    return Stretches(rule, sorted(borders))


def _trusted(edges: Sequence[int]) -> tuple[int, int]:
    """The first row of the stretch that is kept, and the one after its last."""
    newest = [(first, last) for first, last in pairwise(edges)][::-1]
    long = [one for one in newest if one[1] - one[0] >= STRETCH]
    return long[0] if long else max(newest, key=lambda one: one[1] - one[0])


def log_level(close: np.ndarray) -> np.ndarray:
    """The log of each close, NaN where it is not above zero: to and from such a row there is no return."""
    return np.log(close, out=np.full(len(close), np.nan), where=close > 0)


def suggest(prices: pd.DataFrame, borders: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """The ratio that would explain each unexplained jump, with its evidence.

    Args:
        prices: all rows of one or more symbols (symbol, date, open, close, volume; adjusted by the splits that are
            known), refused ones too, sorted by symbol then date.
        borders: the jumps that stay: symbol and date.
        splits: the splits that are known already, as `corporate_actions.ACTIONS`.

    Returns:
        As `SUGGESTED`, a row a jump: `kind` is "split" with a `ratio` (new shares for one old), "real move" (1.0),
        "adjusted already" (a known split that the prices do not show) or "not a ratio" (NaN: a spin-off, a change of
        unit). A split of 3:2 moves the close less than a jump has to: such days are listed where all speaks for a
        split.
    """
    tables = []
    moved = np.abs(np.diff(log_level(prices["close"].to_numpy()), prepend=np.nan)) > LEAST
    moved[schema.symbol_edges(prices["symbol"])[:-1]] = False
    large = prices["symbol"][moved].unique()
    for symbol, bars in prices[prices["symbol"].isin(large)].groupby("symbol"):
        days = borders.loc[borders["symbol"] == symbol, "date"]
        known = splits[(splits["symbol"] == symbol) & (splits["kind"] == "split")]
        tables.append(_of_symbol(str(symbol), bars.reset_index(drop=True), set(days), set(known["ex_date"])))
    return schema.stack(tables, SUGGESTED)


def _of_symbol(symbol: str, bars: pd.DataFrame, jumps: set[pd.Timestamp], known: set[pd.Timestamp]) -> pd.DataFrame:
    move = np.diff(log_level(bars["close"].to_numpy()), prepend=np.nan)
    rows = []
    for at in np.flatnonzero(np.abs(move) > LEAST):
        day = bars["date"].iloc[at]
        if day not in jumps and day in known:
            continue
        kind, ratio, evidence = _explain(bars, move, int(at), known_split=day in known)
        if day in jumps or (kind == SPLIT and abs(move[at]) <= MAX_JUMP):
            rows.append((symbol, day, bars["close"].iloc[at - 1], bars["close"].iloc[at], ratio, kind, evidence))
    frame = pd.DataFrame(rows, columns=list(SUGGESTED))
    return schema.cast(frame, SUGGESTED)


def _explain(bars: pd.DataFrame, move: np.ndarray, at: int, *, known_split: bool) -> tuple[str, float, str]:
    """What one move most likely is, the ratio that would explain it, and why."""
    before, now = bars["close"].iloc[at - 1], bars["close"].iloc[at]
    seen = f"the close went from {before:g} to {now:g}"
    if known_split:
        return _beside_split(bars, move, at, seen)
    usual, gap = _usual(move, at), float(move[at])
    if bars["open"].iloc[at] > 0:
        gap = float(np.log(bars["open"].iloc[at] / before))
    ratio = _nearest(float(move[at]), gap, usual)
    rest, opened = float(move[at]) + np.log(ratio), gap + np.log(ratio)
    followed = _volume(bars["volume"].to_numpy(), at)
    volume = followed / ratio
    evidence = f"{seen}; {spelt(ratio)} leaves {rest * 100:+.1f} % for the day and {opened * 100:+.1f} % at the open"
    evidence += _others(float(move[at]), ratio)
    evidence += "" if np.isnan(usual) else f", a usual day moves {usual * 100:.1f} %"
    evidence += (
        "" if np.isnan(volume) else f"; volume is {volume:.2g} times what {spelt(ratio)} makes of the days before"
    )
    kind, why = _kind(float(move[at]), (rest, opened), usual, volume, common=ratio in RATIOS[: UNCOMMON.count(0.0)])
    if kind == SPLIT and _is_step(bars["close"].to_numpy(), at):
        kind, why = REAL, "a few of the smallest steps of so low a price"
    if kind == SPLIT and ratio in UNITS and not followed / ratio > 1 / HEAVY:
        unit = "no volume tells" if np.isnan(volume) else "the volume did not follow"
        kind, why = NO_RATIO, f"{unit}: another unit, as pence for pounds"
    return kind, {SPLIT: ratio, REAL: 1.0}.get(kind, np.nan), f"{evidence}: {why}"


def _beside_split(bars: pd.DataFrame, move: np.ndarray, at: int, seen: str) -> tuple[str, float, str]:
    """What a jump is that stays although a split is listed for its day."""
    raw = np.diff(log_level(bars["close_raw"].to_numpy()[at - 1 : at + 1]))[0]
    if abs(raw) < LEAST:
        return ADJUSTED, np.nan, f"{seen} by a split that is listed and that these prices do not show: remove it"
    left = f"{seen} beside the split that is listed, a move of {np.expm1(move[at]) * 100:+.1f} %"
    return NO_RATIO, np.nan, f"{left}: its ratio is wrong, or news came on the same day"


def _nearest(move: float, gap: float, usual: float) -> float:
    """The ratio that leaves least to explain, of the day and more so of the night before, common ratios first."""
    scale = 0.05 if np.isnan(usual) else max(usual, 0.01)
    left = np.abs(np.log(RATIOS) + gap) + 0.25 * np.abs(np.log(RATIOS) + move)
    return float(RATIOS[np.argmin(left / scale + UNCOMMON)])


def _others(move: float, ratio: float) -> str:
    """The ratios that are nearer to the day's move than the one that is suggested, in words."""
    left = np.abs(np.log(RATIOS) + move)
    nearer = np.array(RATIOS)[left < abs(np.log(ratio) + move) - 1e-9]
    return f" ({', '.join(map(spelt, np.sort(nearer)[:3]))} would leave less: look it up)" if len(nearer) else ""


def _kind(move: float, left: tuple[float, float], usual: float, volume: float, *, common: bool) -> tuple[str, str]:
    """What a move is, from what a ratio leaves of the day and of its open, the usual move, and the volume."""
    worst, vast = max(map(abs, left)), abs(move) > BY_NEWS
    if np.isnan(usual):
        fits = worst < (0.1 if common else 0.05) and abs(move) > MAX_JUMP
        return (SPLIT if fits else NO_RATIO), "too few days beside it to tell what is usual"
    if abs(move) < 2 * ORDINARY * usual:
        return REAL, "such moves are in its nature"
    near = (ORDINARY if common else ORDINARY / 2) * max(usual, 0.01)
    if worst > (max(near, ON_SPLITS) if vast else near):
        return NO_RATIO, "no simple ratio: a spin-off, another unit, or news"
    if volume > HEAVY and not vast:
        return REAL, "so much trading speaks for news"
    if abs(move) <= MAX_JUMP and not (worst <= 2 * usual and volume > 1 / HEAVY):
        return NO_RATIO, "news can do as much"
    return SPLIT, "an ordinary day but for the ratio"


def _usual(move: np.ndarray, at: int) -> float:
    """The size of a usual move around a row, as a standard deviation told from a quantile; NaN of too few."""
    near = np.r_[move[max(1, at - NEIGHBOURS) : at], move[at + 1 : at + 1 + NEIGHBOURS]]
    near = np.abs(near[np.isfinite(near)])
    return float(np.quantile(near, 0.8) / 1.2816) if len(near) >= 2 * FEWEST else np.nan


def _is_step(close: np.ndarray, at: int) -> bool:
    """Whether the move is a few of the smallest steps that the closes around it make."""
    steps = np.abs(np.diff(close[max(0, at - NEIGHBOURS) : at + NEIGHBOURS]))
    steps = steps[steps > 0]
    return len(steps) >= FEWEST and bool(abs(close[at] - close[at - 1]) <= TICKS * steps.min() * (1 + 1e-9))


def _volume(volume: np.ndarray, at: int) -> float:
    """The day's volume over the median of the days before; NaN where that says nothing."""
    before = volume[max(0, at - NEIGHBOURS) : at].astype("float64")
    before = before[before > 0]
    usable = len(before) >= FEWEST and np.isfinite(volume[at]) and volume[at] > 0
    return float(volume[at] / np.median(before)) if usable else np.nan


def spelt(ratio: float) -> str:
    """A ratio as it is announced: 4:1, 3:2, 1:20."""
    one = Fraction(ratio).limit_denominator(1000)
    return f"{one.numerator}:{one.denominator}"


def csv_lines(suggested: pd.DataFrame) -> str:
    """Suggestions as an actions.csv to look through: the evidence above each line, what is no split as comments."""
    lines = ["symbol,ex_date,kind,value"]
    for row in suggested.to_dict("records"):
        line = f"{row['symbol']},{row['ex_date']:%Y-%m-%d},split,"
        lines.append(f"# {row['kind']}: {row['evidence']}")
        if row["kind"] == SPLIT:
            lines.append(f"{line}{row['ratio']:.12g}")
        elif row["kind"] != ADJUSTED:
            lines.append(f"# {line}1.0  <- without the sign if the move is real")
    return "\n".join(lines) + "\n"
