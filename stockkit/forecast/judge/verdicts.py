"""What the scores come to, in words: who beats the random walk, whose intervals are better, what would be found."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import pandas as pd

from stockkit.errors import ForecastError, counted, listed
from stockkit.forecast.judge.scores import LEVEL, Board

NAMED = 5  # symbols that a sentence bears


@dataclass(frozen=True)
class Verdict:
    """Whether anything beats the random walk.

    Attributes:
        text: what a report may say; its first sentence is the finding.
        beats: (symbol, model) pairs whose Holm-corrected p is under `level`, at any horizon, the surest first.
        tried: how many tests the correction counts.
        level: the family-wise error rate allowed.
        overall: the models that do over all symbols together, the surest first.
        risk: the models whose intervals are better than the random walk's, over all symbols or for one, the surest
            first; Holm's correction counts these tests apart.
    """

    text: str
    beats: tuple[tuple[str, str], ...]
    tried: int
    level: float
    overall: tuple[str, ...] = ()
    risk: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The first sentence in large type, as a report should show it, the rest below."""
        return large_first_sentence(self.text)


def large_first_sentence(text: str) -> str:
    """A verdict as HTML: the first sentence in large type, the rest below."""
    first, dot, rest = text.partition(". ")
    large = "font-size: 1.7em; line-height: 1.25; margin: 0.3em 0"
    return f'<p class="verdict" style="{large}">{escape(first)}{dot.strip()}</p><p>{escape(rest)}</p>'


def from_board(board: Board, *, level: float = LEVEL, trials: int | None = None) -> Verdict:
    """The verdict on a board: which models beat the random walk after Holm's correction, or that none does.

    Of prices first, then of risk (whose intervals score better), then what the tests could have found at all.

    Args:
        board: as from `scores.board`, whole: leaving rows out hides how many were tried.
        level: the chance allowed of a single false claim, over 0 and under 1.
        trials: how many settings (hyper-parameters) the models compared while they were fitted; told in the text.
            Chosen on the past alone, they need no correction here.

    Raises:
        ForecastError: a level out of range.
    """
    if not 0 < level < 1:
        raise ForecastError(f"level {level}: give a probability over 0 and under 1, such as 0.05.")
    tried_by_symbol, tried_overall = (table[table["p_holm"].notna()] for table in (board.by_symbol, board.overall))
    by_symbol, overall = (
        table[table["p_holm"] < level].sort_values("p_holm", kind="stable")
        for table in (tried_by_symbol, tried_overall)
    )
    risk, on_risk = _risk(board, level)
    sentences = [_finding(board, by_symbol, overall)]
    if len(board.by_symbol):
        sentences += [_tried(tried_by_symbol, tried_overall), _power(board), on_risk]
    if trials is not None:
        sentences.append(f"The fits compared {counted(trials, 'setting')}.")
    return Verdict(
        " ".join(filter(None, sentences)),
        tuple(dict.fromkeys(zip(by_symbol["symbol"].astype(str), by_symbol["model"].astype(str), strict=True))),
        len(tried_by_symbol) + len(tried_overall),
        level,
        tuple(dict.fromkeys(overall["model"].astype(str))),
        risk,
    )


def _finding(board: Board, by_symbol: pd.DataFrame, overall: pd.DataFrame) -> str:
    if board.by_symbol.empty:
        return "Nothing could be judged. No model has forecasts of the past to compare."
    claims = _claims(board, by_symbol, overall, "p_holm", "beats the random walk")
    return f"{claims}." if claims else "Not distinguishable from the random walk."


def _claims(board: Board, by_symbol: pd.DataFrame, overall: pd.DataFrame, p: str, does: str) -> str:
    several = board.by_symbol["horizon"].nunique() > 1
    claims = [
        _claim(row["model"], f"{does} over all {row['symbols']} symbols", row["horizon"] * several, row[p])
        for row in overall.to_dict("records")
    ]
    for (model, horizon), rows in by_symbol.groupby(["model", "horizon"], sort=False):
        where = f"{does} for {_names(list(rows['symbol']))}"
        claims.append(_claim(str(model), where, horizon * several, rows[p].max()))
    return "; ".join(claims)


def _claim(model: str, does: str, horizon: int, p: float) -> str:
    name = model.replace("_", " ")
    ahead = f" {counted(horizon, 'session')} ahead" if horizon else ""
    return f"{name[:1].upper()}{name[1:]} {does}{ahead} (Holm-corrected {p_in_words(p)})"


def _risk(board: Board, level: float) -> tuple[tuple[str, ...], str]:
    """The models whose intervals are shown to be better than the random walk's, and the sentence on risk."""
    p = "winkler90_holm"
    if p not in board.by_symbol:  # scores written by an earlier version
        return (), ""
    tables = [table[table[p].notna()] for table in (board.by_symbol, board.overall)]
    tried = sum(map(len, tables))
    if not tried:
        return (), ""
    by_symbol, overall = (table[table[p] < level].sort_values(p, kind="stable") for table in tables)
    claims = _claims(board, by_symbol, overall, p, "has better 90 % intervals than the random walk")
    least = p_in_words(min(table[p].min() for table in tables if len(table)))
    nothing = f"no model has 90 % intervals shown to be better than the random walk's (smallest Holm-corrected {least})"
    names = dict.fromkeys([*overall["model"].astype(str), *by_symbol["model"].astype(str)])
    return tuple(names), f"Of risk: {claims or nothing}, {counted(tried, 'test')}."


def _power(board: Board) -> str:
    """How much a forecast would have had to tell to be found: the middle of the models, over all symbols if it can."""
    if "ic_80" not in board.by_symbol:  # scores written by an earlier version
        return ""
    pooled = board.overall[board.overall["ic_80"].notna()]
    table = pooled if len(pooled) else board.by_symbol
    middle = table.groupby("horizon")["ic_80"].median().dropna()
    if middle.empty:
        return ""
    several = board.by_symbol["horizon"].nunique() > 1
    ahead = [f" ({counted(int(horizon), 'session')} ahead)" * several for horizon in middle.index]
    parts = [f"{ic:.3f}{after}" for ic, after in zip(middle, ahead, strict=True)]
    where = "over all symbols" if len(pooled) else "of one symbol"
    return f"An information coefficient of {' or '.join(parts)} {where} would have been found with 80 % probability."


def _names(symbols: list[str]) -> str:
    if len(symbols) > NAMED:
        return listed(symbols, NAMED)
    return " and ".join(filter(None, [", ".join(symbols[:-1]), symbols[-1]]))


def _tried(by_symbol: pd.DataFrame, overall: pd.DataFrame) -> str:
    """What the correction counts, and how near the best came."""
    if by_symbol.empty:
        return "No other model was tried."
    pooled = f" and {counted(len(overall), 'model')} over all symbols" if len(overall) else ""
    smallest = p_in_words(min(table["p_holm"].min() for table in (by_symbol, overall) if len(table)))
    return f"{counted(len(by_symbol), 'symbol and model pair')}{pooled} tried, smallest Holm-corrected {smallest}."


def p_in_words(value: float) -> str:
    """A p value as a sentence bears it."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
