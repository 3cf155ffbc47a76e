"""Whether the crossing was worth anything: what followed the signals against the random walk, and after costs.

The random walk says that nothing follows: a mean log return of 0 in the direction of the signals, whatever the symbol
and the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.judge.multiple_testing import detectable, holm, mean_error
from stockkit.forecast.judge.scores import LEVEL
from stockkit.forecast.judge.verdicts import NAMED, large_first_sentence, p_in_words
from stockkit.forecast.trading.crossings import Followed
from stockkit.market import schema

MIN_SIGNALS = 20  # with fewer, the error of a mean says little
MIN_BLOCKS = 10  # with fewer blocks of time, the same
FIGURES = ["hit_rate", "mean_bp", "error_bp", "net_bp", "found_bp", "p", "p_holm", "p_net", "p_net_holm"]
BY_SYMBOL: dict[str, str] = {
    "symbol": "string",
    "horizon": "int64",
    "signals": "int64",
    "unclosed": "int64",
    "blocks": "int64",
    **dict.fromkeys(FIGURES, "float64"),
}
OVERALL: dict[str, str] = {"symbols" if name == "symbol" else name: kind for name, kind in BY_SYMBOL.items()}
OVERALL["symbols"] = "int64"


@dataclass(frozen=True, eq=False)
class Board:
    """How the signals did, corrected together.

    Attributes:
        by_symbol: a row a symbol and horizon, columns of `BY_SYMBOL`.
        overall: a row a horizon over all symbols, columns of `OVERALL`; none of one symbol.
        cost: basis points of what a trade is worth, each way.
        unit: of the horizons, in words: "minutes".
    """

    by_symbol: pd.DataFrame
    overall: pd.DataFrame
    cost: float
    unit: str

    def lines(self) -> pd.DataFrame:
        """The rows of both tables, those over all symbols first, with no symbol."""
        contract = {"symbol": "string", **OVERALL}
        tables = self.overall.assign(symbol=pd.NA), self.by_symbol.assign(symbols=1)
        return schema.stack([schema.cast(table, contract) for table in tables], contract)


def score(followed: Followed, *, cost: float, unit: str) -> Board:
    """Score what followed, by symbol and horizon, and each horizon over all symbols.

    The mean is tested by the gains of blocks of time, which under a random walk are uncorrelated however many
    positions overlap, and whichever symbols move together: Student's t of the blocks' mean.

    Args:
        followed: as from `crossings.after_ticks` or `crossings.after_bars`.
        cost: basis points of what a trade is worth; paid twice, to get in and to get out.
        unit: of the horizons: "minutes", "ticks", "sessions".

    Returns:
        For each: signals with an outcome, and those unclosed, which have none; hit_rate, the share of moves that
        went the signal's way; mean_bp, the mean log return in the signals' direction before costs, its error_bp, and
        the blocks that it rests on; net_bp, what is left of the mean after costs; found_bp, the mean that would have
        been found in eight of ten cases. p is two-sided, that the mean is 0: a signal that points the wrong way tells
        something, too. p_net is one-sided, that nothing is left after costs. p_holm and p_net_holm are corrected by
        Holm's method for all symbols, horizons and those over all symbols. NaN with fewer than 20 signals or 10 blocks.

    Raises:
        ForecastError: a cost below 0.
    """
    if not cost >= 0:
        raise ForecastError(f"cost {cost}: give basis points, 0 or more.")
    outcomes, gains, lines = followed.outcomes, followed.gains, []
    of_both = gains.groupby(["symbol", "horizon"]).indices
    for (symbol, horizon), rows in outcomes.groupby(["symbol", "horizon"], sort=True):
        mine = gains.iloc[of_both.get((symbol, horizon), [])]
        lines.append({"symbol": symbol, "horizon": horizon, **_figures(rows, mine, cost)})
    split, symbols = len(lines), outcomes["symbol"].nunique()
    for horizon, rows in outcomes.groupby("horizon", sort=True):
        if symbols > 1:
            every = _figures(rows, gains[gains["horizon"] == horizon], cost)
            lines.append({"symbols": symbols, "horizon": horizon, **every})
    table = _corrected(pd.DataFrame(lines, columns=list({**BY_SYMBOL, **OVERALL})))
    return Board(schema.cast(table[:split], BY_SYMBOL), schema.cast(table[split:], OVERALL), cost, unit)


def _corrected(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines with both p values corrected for all of them, and what would have been found at that level."""
    lines = lines.copy()
    tested = lines["p"].notna()
    for p, corrected in (("p", "p_holm"), ("p_net", "p_net_holm")):
        lines.loc[tested, corrected] = holm(lines.loc[tested, p].to_numpy(dtype="float64"))
    level = LEVEL / max(int(tested.sum()), 1) / 2  # of one of the two sides
    lines["found_bp"] = [
        detectable(error, blocks - 1, level) for error, blocks in zip(lines["error_bp"], lines["blocks"], strict=True)
    ]
    return lines


def _figures(outcomes: pd.DataFrame, gains: pd.DataFrame, cost: float) -> dict[str, float]:
    """The figures of one group but the corrected ones."""
    from scipy import special

    values = outcomes["return_bp"].dropna().to_numpy()
    n, moved = len(values), np.count_nonzero(values)
    by_block = gains.groupby("block")["gain_bp"].sum().to_numpy()
    out = dict.fromkeys(FIGURES, np.nan) | {"signals": n, "unclosed": len(outcomes) - n, "blocks": len(by_block)}
    if not n:
        return out
    mean = float(values.mean())
    out |= {"mean_bp": mean, "net_bp": mean - 2 * cost, "hit_rate": (values > 0).sum() / moved if moved else np.nan}
    error, freedom = mean_error(by_block, 1)
    error *= len(by_block) / n  # of the mean of a signal, not of a block
    if n >= MIN_SIGNALS and len(by_block) >= MIN_BLOCKS and error > 0:
        p, p_net = special.stdtr(freedom, [-abs(mean) / error, -(mean - 2 * cost) / error])
        out |= {"error_bp": error, "p": 2 * p, "p_net": p_net}
    return out


@dataclass(frozen=True)
class Worth:
    """Whether the crossing was worth anything.

    Attributes:
        text: what a report may say; its first sentence is the finding.
        along: (symbol, horizon) pairs whose Holm-corrected p is under `level`, in the signals' direction; None for all
            symbols together.
        against: the same where what followed went against the signals.
        paid: those that were worth their costs, after a correction of its own.
        tried: how many tests the correction counts.
        level: the family-wise error rate allowed.
    """

    text: str
    along: tuple[tuple[str | None, int], ...]
    against: tuple[tuple[str | None, int], ...]
    paid: tuple[tuple[str | None, int], ...]
    tried: int
    level: float

    def _repr_html_(self) -> str:
        """The first sentence in large type, as a report should show it, the rest below."""
        return large_first_sentence(self.text)


def verdict(board: Board, *, level: float = LEVEL) -> Worth:
    """Whether the crossing was worth anything: told something, after correction, and paid for its costs.

    Args:
        board: as from `score`, whole: leaving rows out hides how many were tried.
        level: the chance allowed of a single false claim, over 0 and under 1.

    Raises:
        ForecastError: a level out of range.
    """
    if not 0 < level < 1:
        raise ForecastError(f"level {level}: give a probability over 0 and under 1, such as 0.05.")
    lines = board.lines()
    tested = lines[lines["p"].notna()].sort_values("p_holm", kind="stable")
    significant = tested[tested["p_holm"] < level]
    paid = significant[(significant["p_net_holm"] < level) & (significant["net_bp"] > 0)]
    along, against = significant[significant["mean_bp"] > 0], significant[significant["mean_bp"] < 0]
    sentences = [_finding(board, tested, along, against, paid)]
    if len(tested):
        sentences += [_worth(board, tested, paid), _tried(board, tested, len(lines))]
    return Worth(" ".join(sentences), _pairs(along), _pairs(against), _pairs(paid), len(tested), level)


def _finding(board: Board, tested: pd.DataFrame, along: pd.DataFrame, against: pd.DataFrame, paid: pd.DataFrame) -> str:
    if tested.empty:
        few = f"No symbol and horizon has {MIN_SIGNALS} signals and {MIN_BLOCKS} blocks of time to test."
        return f"Nothing could be judged. {few}"
    if len(along) and len(paid):
        return f"The crossing was worth something: {_claims(board, paid)}."
    if len(along):
        return f"The crossing told something, and less than its costs: {_claims(board, along)}."
    if len(against):
        return f"The crossing pointed the wrong way: {_claims(board, against)}."
    return "Not distinguishable from the random walk."


def _claims(board: Board, rows: pd.DataFrame) -> str:
    claims = [
        f"{_who(row)} {row['mean_bp']:+z.1f} bp a signal after {_ahead(row['horizon'], board.unit)} "
        f"(Holm-corrected {p_in_words(row['p_holm'])})"
        for row in rows.head(NAMED).to_dict("records")
    ]
    more = [f"{len(rows) - NAMED} more"] if len(rows) > NAMED else []
    return ", ".join([*claims, *more])


def _worth(board: Board, tested: pd.DataFrame, paid: pd.DataFrame) -> str:
    """What a signal brought on average, beside what a trade costs."""
    several = tested["symbol"].isna()
    shown = tested[several] if several.any() else tested
    low, high = shown["mean_bp"].min(), shown["mean_bp"].max()
    mean = f"{low:+z.1f} bp" if len(shown) == 1 else f"{low:+z.1f} to {high:+z.1f} bp"
    where = "over all symbols" if several.any() else "of one symbol"
    pays = "for some it was worth trading" if len(paid) else "as a trade it was worth nothing"
    return (
        f"On average {mean} followed in a signal's direction {where}, and to get in and out costs {2 * board.cost:g} "
        f"bp: {pays}."
    )


def _tried(board: Board, tested: pd.DataFrame, lines: int) -> str:
    """What the correction counts, how near the best came, and how much would have been found."""
    several = tested["symbol"].isna()
    middle = tested[several if several.any() else ~several]["found_bp"].dropna()
    where = "over all symbols" if several.any() else "of one symbol"
    few = f" ({lines - len(tested)} more had too few signals)" if lines > len(tested) else ""
    tests = f"{len(tested)} test{'' if len(tested) == 1 else 's'}{few}"
    smallest = p_in_words(tested["p_holm"].min())
    power = f"A mean of {middle.median():.1f} bp {where} would have been found with 80 % probability."
    return f"{tests}, smallest Holm-corrected {smallest}. {power}"


def _who(row: dict[str, object]) -> str:
    return f"all {row['symbols']} symbols" if pd.isna(row["symbol"]) else str(row["symbol"])


def _ahead(horizon: int, unit: str) -> str:
    return f"{horizon} {unit.removesuffix('s') if horizon == 1 else unit}"


def _pairs(rows: pd.DataFrame) -> tuple[tuple[str | None, int], ...]:
    named = zip(rows["symbol"], rows["horizon"], strict=True)
    return tuple((None if pd.isna(symbol) else str(symbol), int(horizon)) for symbol, horizon in named)
