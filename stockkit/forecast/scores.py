"""Out-of-sample scores against the random walk, tested, and corrected for how many models were tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast import measures, pooled
from stockkit.forecast.models import RANDOM_WALK
from stockkit.forecast.paired import Paired, pair
from stockkit.forecast.significance import diebold_mariano, holm
from stockkit.market import schema

FIGURES = ["mae", "rmse", "mae_ratio", "rmse_ratio", "mase", "pinball", "crps", "winkler90", "winkler90_ratio",
           "coverage80", "coverage90", "coverage95", "width90", "hit_rate", "n_hit", "hit_lo", "hit_hi", "up_rate",
           "ic", "rank_ic", "dm_p", "p_holm"]  # fmt: skip
SCORES: dict[str, str] = {
    "symbol": "string",
    "model": "string",
    "horizon": "int64",
    "n": "int64",
    "first": "datetime64[ns]",
    "last": "datetime64[ns]",
    **{name: "int64" if name == "n_hit" else "float64" for name in FIGURES},
}
OVERALL: dict[str, str] = {
    "model": "string",
    "horizon": "int64",
    "symbols": "int64",
    "n": "int64",
    "n_sessions": "int64",
    "first": "datetime64[ns]",
    "last": "datetime64[ns]",
    **dict.fromkeys(["mae_ratio", "rmse_ratio", "winkler90_ratio", "coverage90", "rank_ic", "dm_p", "p_holm"],
                    "float64"),
}  # fmt: skip
NAMED = 5  # symbols that a sentence bears
LEVEL = 0.05  # the chance allowed of a single false claim


@dataclass(frozen=True, eq=False)
class Board:
    """All scores of one set of forecasts, corrected together.

    Attributes:
        by_symbol: a row a symbol, model and horizon, columns of `SCORES`.
        overall: a row a model and horizon over all symbols, columns of `OVERALL`; none where only the former were kept.
    """

    by_symbol: pd.DataFrame
    overall: pd.DataFrame = field(default_factory=lambda: schema.empty(OVERALL))


@dataclass(frozen=True)
class Verdict:
    """Whether anything beats the random walk.

    Attributes:
        text: what a report may say; its first sentence is the finding.
        beats: (symbol, model) pairs whose Holm-corrected p is under `level`, at any horizon, the surest first.
        tried: how many tests the correction counts.
        level: the family-wise error rate allowed.
        overall: the models that do over all symbols together, the surest first.
    """

    text: str
    beats: tuple[tuple[str, str], ...]
    tried: int
    level: float
    overall: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The first sentence in large type, as a report should show it, the rest below."""
        first, dot, rest = self.text.partition(". ")
        large = "font-size: 1.7em; line-height: 1.25; margin: 0.3em 0"
        return f'<p class="verdict" style="{large}">{escape(first)}{dot.strip()}</p><p>{escape(rest)}</p>'


def board(rows: pd.DataFrame) -> Board:
    """Score forecasts by symbol, model and horizon, and each model and horizon over all symbols.

    Args:
        rows: symbol, model, as_of, horizon, mean, actual and scale of each forecast; sigma and the interval bounds
            lo80 to hi95 where there are any. In any order; left untouched.

    Returns:
        By symbol, in the order of `rows`, over the n sessions from first to last whose outcome is known and which the
        random walk forecast, too, in log return:

        - mae, rmse, and their ratios to the random walk's on the same sessions; mase (Hyndman and Koehler 2006);
        - pinball, over seven quantiles; crps, of the normal with mean and sigma; winkler90, of the 90 % interval, and
          its ratio to the random walk's; coverage80, coverage90, coverage95 and the mean width90: each over the rows
          that have what it needs;
        - hit_rate, the share of right signs among n_hit rows where neither mean nor actual is 0, with its exact 95 %
          interval hit_lo to hit_hi; up_rate, the share of rises among moves, which is what "always up" would get;
        - ic and rank_ic, Pearson's and Spearman's correlation of mean and actual over time;
        - dm_p, `significance.diebold_mariano` of squared errors; p_holm, corrected for every dm_p of both tables.

        Overall, of models with two symbols or more: every figure is averaged over the symbols of a session first, so
        that symbols which move together count once, then over n_sessions; rank_ic is the mean over sessions of
        Spearman's correlation across symbols (5 symbols or more); dm_p tests the series of session means.

        NaN where a figure has no rows to stand on; dm_p and p_holm are NaN for the random walk,
        and for a model that says the same. No rows give no
        scores. With horizon > 1 outcomes overlap, and hit_lo to hit_hi is narrower than it should be; dm_p allows
        for it, counting overlap in sessions of any symbol.

    Raises:
        ForecastError: a column missing, a symbol and horizon without a forecast of the random walk, or a session
            that stands twice.
    """
    if rows.empty:
        return Board(schema.empty(SCORES), schema.empty(OVERALL))
    paired = pair(rows)
    known = measures.compared(paired)
    own, whole = _by_symbol(paired, known), pooled.overall(paired, known)
    p = np.concatenate([own["dm_p"], [line["dm_p"] for line in whole]])
    corrected = np.full(len(p), np.nan)
    corrected[np.isfinite(p)] = holm(p[np.isfinite(p)])
    by_symbol = pd.DataFrame({**own, "p_holm": corrected[: len(paired.keys)]})
    overall = pd.DataFrame([{**line, "p_holm": q} for line, q in zip(whole, corrected[len(by_symbol) :], strict=True)])
    return Board(schema.cast(by_symbol, SCORES), schema.cast(overall, OVERALL) if whole else schema.empty(OVERALL))


def score(rows: pd.DataFrame) -> pd.DataFrame:
    """The scores of each symbol, model and horizon: `board(rows).by_symbol`."""
    return board(rows).by_symbol


def _by_symbol(paired: Paired, known: np.ndarray) -> dict[str, Any]:
    n = paired.total(np.ones(len(known)), known).astype("int64")
    latest = np.maximum.reduceat(np.where(known, paired.day, -1), paired.starts)
    earliest = np.minimum.reduceat(np.where(known, paired.day, len(paired.days)), paired.starts)
    dates = np.append(paired.days, np.datetime64("NaT", "ns"))  # the last stands for none
    return {
        **paired.keys,
        "n": n,
        "first": dates[earliest],
        "last": dates[latest],
        **measures.errors(paired, known),
        **measures.distributions(paired, known),
        **measures.hits(paired, known),
        "ic": measures.correlation(paired, known),
        "rank_ic": pooled.rank_ic(paired, known),
        "dm_p": _tests(paired, known),
    }


def _tests(paired: Paired, known: np.ndarray) -> np.ndarray:
    """The p value of each series against the random walk, NaN for the random walk itself."""
    values = paired.values
    gain = (values["actual"] - paired.beside("mean")) ** 2 - (values["actual"] - values["mean"]) ** 2
    edges = np.append(np.cumsum(known)[paired.starts] - known[paired.starts], known.sum())
    gain, horizon = gain[known], paired.keys["horizon"].to_numpy()
    p = np.full(len(horizon), np.nan)
    for k in np.flatnonzero((paired.keys["model"] != RANDOM_WALK).to_numpy(dtype=bool)):
        own = gain[edges[k] : edges[k + 1]]
        if own.any() or not len(own):  # a model that says the same as the random walk is no try at beating it
            p[k] = diebold_mariano(own, int(horizon[k]))
    return p


def verdict(board: Board, *, level: float = LEVEL, trials: int | None = None) -> Verdict:
    """Say what may be said of a board: who beats the random walk after Holm's correction, or that nobody does.

    Args:
        board: as from `board`, whole: leaving rows out hides how many were tried.
        level: the chance allowed of a single false claim, over 0 and under 1.
        trials: how many settings (hyper-parameters) the models compared while they were fitted; told in the text.
            Chosen on the past alone, they need no correction here.

    Raises:
        ForecastError: a level out of range.
    """
    if not 0 < level < 1:
        raise ForecastError(f"level {level}: give a probability over 0 and under 1, such as 0.05.")
    own, whole = (table[table["p_holm"].notna()] for table in (board.by_symbol, board.overall))
    found, of_all = (table[table["p_holm"] < level].sort_values("p_holm", kind="stable") for table in (own, whole))
    sentences = [_finding(board, found, of_all)]
    if len(board.by_symbol):
        sentences.append(_tried(own, whole))
    if trials is not None:
        sentences.append(f"The fits compared {_count(trials, 'setting')}.")
    return Verdict(
        " ".join(sentences),
        tuple(dict.fromkeys(zip(found["symbol"].astype(str), found["model"].astype(str), strict=True))),
        len(own) + len(whole),
        level,
        tuple(dict.fromkeys(of_all["model"].astype(str))),
    )


def _finding(board: Board, found: pd.DataFrame, of_all: pd.DataFrame) -> str:
    if board.by_symbol.empty:
        return "Nothing could be judged. No model has forecasts of the past to compare."
    several = board.by_symbol["horizon"].nunique() > 1
    claims = [
        _claim(row["model"], f"over all {row['symbols']} symbols", row["horizon"] * several, row["p_holm"])
        for row in of_all.to_dict("records")
    ]
    for (model, horizon), rows in found.groupby(["model", "horizon"], sort=False):
        claims.append(_claim(model, f"for {_names(list(rows['symbol']))}", horizon * several, rows["p_holm"].max()))
    return f"{'; '.join(claims)}." if claims else "Not distinguishable from the random walk."


def _claim(model: str, where: str, horizon: int, p: float) -> str:
    name = model.replace("_", " ")
    ahead = f" {_count(horizon, 'session')} ahead" if horizon else ""
    return f"{name[:1].upper()}{name[1:]} beats the random walk {where}{ahead} (Holm-corrected {_p(p)})"


def _names(symbols: list[str]) -> str:
    if len(symbols) > NAMED:
        return f"{', '.join(symbols[:NAMED])} and {len(symbols) - NAMED} more"
    return " and ".join(filter(None, [", ".join(symbols[:-1]), symbols[-1]]))


def _tried(own: pd.DataFrame, whole: pd.DataFrame) -> str:
    """What the correction counts, and how near the best came."""
    if own.empty:
        return "No other model was tried."
    of_all = f" and {_count(len(whole), 'model')} over all symbols" if len(whole) else ""
    smallest = min(table["p_holm"].min() for table in (own, whole) if len(table))
    return f"{_count(len(own), 'symbol and model pair')}{of_all} tried, smallest Holm-corrected {_p(smallest)}."


def _count(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
