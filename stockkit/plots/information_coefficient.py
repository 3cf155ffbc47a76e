"""Figures of what features say: of each other, and of the return that follows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from stockkit.forecast.judge import information_coefficient
from stockkit.plots.features import group_of
from stockkit.plots.figure import DOWN, INK, UP, Plot, blank, boxes, chart, finish, heading, panels

ALIKE = 0.9  # from this absolute correlation on two features say the same
READABLE = 40  # names that fit at the side of a map
ROWS = 20_000  # of a table are enough for a correlation: its error is then below 0.01


def rank_correlation(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman correlations between the features of a table, over all symbols and evenly spread sessions.

    Ranks are taken over all values of a feature and paired where both are there, so that 200 features take a second.

    Returns:
        A square frame; the rows and columns of a feature without two different values are left out.
    """
    some = table.iloc[:: max(1, -(-len(table) // ROWS))]  # first, or a large table is copied whole
    values = some.drop(columns=["symbol", "date"]).astype("float64")
    ranks = values.where(np.isfinite(values)).rank()
    ranks = ranks.loc[:, ranks.nunique() > 1]
    centred = (ranks - ranks.mean()).to_numpy()
    known = np.isfinite(centred).astype("float64")
    filled = np.where(known > 0, centred, 0.0)
    count = np.maximum(known.T @ known, 1)
    sums, squares = filled.T @ known, (filled**2).T @ known  # of the row's feature, where the column's is known
    cross = filled.T @ filled - sums * sums.T / count
    spread = np.maximum(squares - sums**2 / count, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = cross / np.sqrt(spread * spread.T)
    np.fill_diagonal(matrix, 1.0)
    return pd.DataFrame(np.clip(matrix, -1, 1), index=ranks.columns, columns=ranks.columns)


def _clusters(matrix: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Names in the order of a hierarchical clustering by 1 - |correlation|, and the number of each one's cluster."""
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return list(matrix), np.ones(len(matrix), dtype=int)
    apart = 1 - matrix.abs().fillna(0).to_numpy(copy=True)
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(squareform((apart + apart.T) / 2, checks=False), "average")
    order = hierarchy.leaves_list(tree)
    return [str(matrix.columns[k]) for k in order], hierarchy.fcluster(tree, 0.5, "distance")[order]


def feature_correlation(table: pd.DataFrame) -> Plot:
    """Spearman correlation between features over all symbols and sessions, those that say the same side by side.

    Up to 40 features have their names at the side; of more, each cluster (mean absolute correlation over one half) has
    that of its most central feature, within the groups of the catalogue.

    Args:
        table: as `features.compute`.
    """
    matrix = rank_correlation(table)
    if len(matrix) < 2:
        return blank("No correlation to show: it takes two features with values that change")
    many = len(matrix) > READABLE
    groups = list(dict.fromkeys(group_of(str(name)) for name in matrix)) if many else ["all"]
    members = [[name for name in matrix if not many or group_of(str(name)) == group] for group in groups]
    parts = [_clusters(matrix.loc[some, some]) for some in members]
    ordered = matrix.loc[(names := [name for part, _ in parts for name in part]), names]
    plot, axis = chart(6.6 if many else 1.6 + 0.2 * len(names))
    mesh = axis.pcolormesh(ordered.to_numpy(), cmap="RdBu", vmin=-1, vmax=1)
    axis.set(ylim=(len(names), 0))
    axis.grid(visible=False)
    bar = plot.colorbar(mesh, ax=axis, aspect=35, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("rank correlation" if many else "rank correlation (minus signs: below -0.2)", fontsize=8)
    if many:
        _label_clusters(axis, matrix, parts, groups)
    else:
        axis.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90, fontsize=7)
        axis.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=7)
        for row, column in np.argwhere(ordered.to_numpy() < -0.2):  # else grey paper does not tell the sign
            ink = "white" if ordered.iat[row, column] < -0.6 else INK
            axis.text(column + 0.5, row + 0.5, "−", ha="center", va="center", fontsize=9, color=ink, in_layout=False)
    return finish(plot, _alike(matrix), f"Heat map of {len(names)} by {len(names)} correlations, ordered by cluster.")


def _label_clusters(
    axis: Any, matrix: pd.DataFrame, parts: list[tuple[list[str], np.ndarray]], groups: list[str]
) -> None:
    ticks, labels, start = [], [], 0
    for names, numbers in parts:
        edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
        for first, end in itertools.pairwise(edges):
            cluster = names[first:end]
            centre = str(matrix.loc[cluster, cluster].abs().sum().idxmax())
            if len(cluster) > 1 + len(matrix) // 60:  # a label needs that many rows
                ticks.append(start + (first + end) / 2)
                labels.append(f"{centre} and {len(cluster) - 1} like it")
        start += len(names)
        axis.axhline(start, color=INK, linewidth=0.8)
        axis.axvline(start, color=INK, linewidth=0.8)
    sizes = np.array([len(names) for names, _ in parts])
    axis.set_yticks(ticks, labels, fontsize=7)
    axis.set_xticks(np.cumsum(sizes) - sizes / 2, [f"{g}\n{n}" for g, n in zip(groups, sizes, strict=True)])


def _alike(matrix: pd.DataFrame) -> str:
    upper = matrix.where(np.triu(np.ones(matrix.shape, dtype=bool), 1)).stack().dropna()
    if upper.empty:
        return "No two features have values on the same sessions"
    alike = int((upper.abs() > ALIKE).sum())
    (first, second), most = upper.abs().idxmax(), float(upper[upper.abs().idxmax()])
    pairs = "1 says" if alike == 1 else f"{alike or 'none'} say"
    nearest = f"{first} and {second} are nearest ({most:+.2f})"
    return f"Of {len(upper):,} pairs of features, {pairs} almost the same (correlation beyond {ALIKE}); {nearest}"


def ic_by_year(coefficients: pd.DataFrame, *, count: int = 12) -> Plot:
    """The information coefficient by year with its 95 % band, a panel for each of the features with the largest |t|.

    Args:
        coefficients: as from `information_coefficient.by_year`, whole: the title counts what was tried.
        count: panels at most.
    """
    from scipy import stats

    overall = information_coefficient.overall(coefficients).dropna(subset="p")
    overall = overall.iloc[np.argsort(-(overall["ic"] / overall["se"]).abs().to_numpy(), kind="stable")]
    if overall.empty:
        reasons = coefficients["reason"]
        why = f": {reasons.value_counts().index[0]}" if len(reasons) else ""
        return blank(f"No information coefficient to show{why}")
    shown = [str(name) for name in overall["feature"][:count]]
    plot, pairs = panels(shown, 1.35, sharex=True, sharey=True)
    for name, axis in pairs:
        bars = coefficients[(coefficients["feature"] == name) & coefficients["ic"].notna()]
        band = stats.t.ppf(0.975, bars["df"]) * bars["se"]
        boxes(axis, bars["year"], bars["ic"], 0.7, facecolors=np.where(bars["ic"] < 0, DOWN, UP), alpha=0.6)
        axis.errorbar(bars["year"], bars["ic"], band, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
        axis.axhline(0, color=INK, linewidth=0.8)
        row = overall[overall["feature"] == name].iloc[0]
        heading(axis, f"{name}: {row['ic']:+.3f}, t {row['ic'] / row['se']:+.1f}", 8)
    years = coefficients.loc[coefficients["ic"].notna(), "year"]
    ticks = np.unique(np.linspace(years.min(), years.max(), 4).round().astype(int))
    pairs[0][1].set_xticks(ticks, [str(year) for year in ticks])
    plot.supylabel("rank information coefficient of the year, bar: 95 % band", fontsize=8, color=INK)
    rest = f"The {len(shown)} of {len(overall)} features with the largest |t| over all years, from {years.min()} to "
    rest += f"{years.max()}: {', '.join(shown)}."
    return finish(plot, information_coefficient.verdict(coefficients).text.rstrip("."), rest)
