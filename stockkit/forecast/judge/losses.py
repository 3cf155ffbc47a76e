"""How good forecasts were: losses of single forecasts, and the figures of a whole series."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stockkit.forecast.judge.diebold_mariano import Paired
from stockkit.forecast.judge.multiple_testing import clopper_pearson

QUANTILES = {"lo95": 0.025, "lo90": 0.05, "lo80": 0.1, "mean": 0.5, "hi80": 0.9, "hi90": 0.95, "hi95": 0.975}


def pinball(actual: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The mean quantile loss of each forecast over the seven of `QUANTILES`, the mean standing for the median.

    Koenker and Bassett 1978. All (n,), in log return; smaller is better; NaN where a bound is.
    """
    total = np.zeros(len(actual))
    for name, share in QUANTILES.items():
        above = actual - values[name]
        total += np.maximum(share * above, (share - 1) * above)
    return total / len(QUANTILES)


def crps_normal(actual: np.ndarray, mean: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score of a normal forecast (Gneiting and Raftery 2007, equation 21), (n,).

    In the unit of `actual`, smaller is better; NaN where sigma is not over 0.
    """
    from scipy import special

    sigma = np.where(sigma > 0, sigma, np.nan)
    z = (actual - mean) / sigma
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return sigma * (z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def winkler(actual: np.ndarray, low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
    """The interval score of central intervals (Winkler 1972; Gneiting and Raftery 2007, equation 43), (n,).

    The width, and 2 / (1 − level) of whatever the outcome lies outside; smaller is better.
    """
    outside = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return (high - low) + 2 / (1 - level) * outside


def compared(paired: Paired) -> np.ndarray:
    """The rows (n,) whose outcome is known and which the random walk forecast, too."""
    return np.isfinite(paired.values["mean"] + paired.values["actual"] + paired.beside("mean"))


def errors(paired: Paired, known: np.ndarray) -> dict[str, np.ndarray]:
    """mae, rmse, their ratios to the random walk's, and mase, of each series over the rows `known`."""
    actual, scale = paired.values["actual"], paired.values["scale"]
    error, base = np.abs(actual - paired.values["mean"]), np.abs(actual - paired.beside("mean"))
    mae, rmse = paired.average(error, known), np.sqrt(paired.average(error**2, known))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = error / scale
    return {
        "mae": mae,
        "rmse": rmse,
        "mae_ratio": ratio(mae, paired.average(base, known)),
        "rmse_ratio": ratio(rmse, np.sqrt(paired.average(base**2, known))),
        "mase": paired.average(scaled, known & (scale > 0)),
    }


def distributions(paired: Paired, known: np.ndarray) -> dict[str, np.ndarray]:
    """pinball, crps, winkler90 and its ratio, coverage80, coverage90, coverage95 and width90 of each series."""
    values, actual = paired.values, paired.values["actual"]
    loss, spread = pinball(actual, values), crps_normal(actual, values["mean"], values["sigma"])
    score = winkler(actual, values["lo90"], values["hi90"], 0.9)
    base = np.where(paired.walk >= 0, score[paired.walk], np.nan)
    both = known & np.isfinite(score + base)
    out = {
        "pinball": paired.average(loss, known & np.isfinite(loss)),
        "crps": paired.average(spread, known & np.isfinite(spread)),
        "winkler90": paired.average(score, known & np.isfinite(score)),
        "winkler90_ratio": ratio(paired.average(score, both), paired.average(base, both)),
    }
    for level in (80, 90, 95):
        low, high = values[f"lo{level}"], values[f"hi{level}"]
        inside = (low <= actual) & (actual <= high)
        out[f"coverage{level}"] = paired.average(inside, known & np.isfinite(low + high))
    out["width90"] = paired.average(values["hi90"] - values["lo90"], known & np.isfinite(score))
    return out


def hits(paired: Paired, known: np.ndarray) -> dict[str, np.ndarray]:
    """hit_rate over n_hit rows with its exact interval hit_lo to hit_hi, and up_rate, of each series."""
    mean, actual = paired.values["mean"], paired.values["actual"]
    moved = known & (actual != 0)
    counted = moved & (mean != 0)
    right = np.sign(mean) == np.sign(actual)
    count = paired.total(np.ones(len(counted)), counted).astype("int64")
    low, high = clopper_pearson(paired.total(right, counted).astype("int64"), count)
    rate, up = paired.average(right, counted), paired.average(actual > 0, moved)
    return {"hit_rate": rate, "n_hit": count, "hit_lo": low, "hit_hi": high, "up_rate": up}


def correlation(paired: Paired, known: np.ndarray) -> np.ndarray:
    """Pearson's correlation of mean and actual over the time of each series, (s,); NaN where either is constant."""
    mean, actual = (_centred(paired, paired.values[name], known) for name in ("mean", "actual"))
    spread = np.sqrt(paired.total(mean**2, known) * paired.total(actual**2, known))
    return ratio(paired.total(mean * actual, known), spread)


def _centred(paired: Paired, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values less their series' mean; exactly 0 where they differ by rounding only."""
    middle = paired.average(values, known)
    centred = np.where(known, values - middle[paired.series], 0.0)
    most = np.maximum.reduceat(np.abs(centred), paired.starts)
    return np.where((most <= 1e-12 * np.abs(middle))[paired.series], 0.0, centred)


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along each row (ties share their mean) less the mean rank; 0 where the value is NaN."""
    from scipy import stats

    known = np.isfinite(values)
    ranks = stats.rankdata(np.where(known, values, np.inf), axis=1)  # the unknown come last, so leave ranks alone
    return np.where(known, ranks - (known.sum(axis=1, keepdims=True) + 1) / 2, 0.0)


def rank_correlations(mean: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of two (rows, columns) grids over the columns known in both.

    NaN where either is constant.
    """
    both = np.isfinite(mean) & np.isfinite(actual)
    first, second = (centred_ranks(np.where(both, grid, np.nan)) for grid in (mean, actual))
    return ratio((first * second).sum(axis=1), np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1)))


def rank_products(mean: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """What each column adds to the correlations of `rank_correlations`: they are its means over the columns known.

    (rows, columns), NaN where either is unknown or a row has no correlation.
    """
    both = np.isfinite(mean) & np.isfinite(actual)
    first, second = (centred_ranks(np.where(both, grid, np.nan)) for grid in (mean, actual))
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    count = both.sum(axis=1)
    return np.where(both, first * second * ratio(count.astype("float64"), spread)[:, None], np.nan)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """One over other, NaN where other is 0 or either is NaN."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
