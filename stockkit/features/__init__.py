"""The catalogue of features: each a function of one symbol's bars, with its look-back, unit and source.

A feature at row t uses rows up to and including t, never a later one; `stockkit.causality` tests it for
each. `look_back` is the number of sessions before t that it needs; rows before that are NaN.

Groups: `basic` (indicators), `lags`, `calendar`, `cross` (a symbol against the others of its day), `alpha158` (the 158
that Qlib publishes) and `user` (what `register` added).

Example:
    >>> from stockkit import features, open_lake
    >>> prices = open_lake("data/lake").read("prices")
    >>> list(features.compute(prices, ["ret_1", "rsi_14"]))
    ['symbol', 'date', 'ret_1', 'rsi_14']
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from stockkit.errors import ParamError, did_you_mean
from stockkit.features import alpha158, basic, calendar, cross, engine
from stockkit.features.engine import SymbolPanel
from stockkit.features.feature import COLUMNS, Arrays, Feature
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.market import schema, sessions

__all__ = [
    "CATALOGUE", "COLUMNS", "GROUPS", "Arrays", "Feature", "bases", "catalogue", "check_names", "compare", "compute",
    "forget", "label", "named", "names", "of_one_symbol", "register",
]  # fmt: skip

PRICES = COLUMNS[:4]
GROUPS = ("basic", "lags", "calendar", "cross", alpha158.GROUP, "user")
CATALOGUE: dict[str, Feature] = {
    feature.name: feature
    for feature in (*basic.FEATURES, *basic.LAGGED, *calendar.FEATURES, *cross.FEATURES, *alpha158.FEATURES)
}


def names(*groups: str, scale_free: bool = False) -> list[str]:
    """The names of the groups' features, in the catalogue's order; of `basic` where no group is named.

    Args:
        groups: names of groups, or "all".
        scale_free: only those that a split leaves unchanged.

    Raises:
        ParamError: no such group.
    """
    for group in groups:
        _known(group, (*GROUPS, "all"), "group of features")
    wanted = GROUPS if "all" in groups else groups or ("basic",)
    return [f.name for f in CATALOGUE.values() if f.group in wanted and (f.scale_free or not scale_free)]


def named(some: Sequence[str]) -> list[str]:
    """Names of features out of names of features and of groups, each once.

    Raises:
        ParamError: one that is neither; names the nearest.
    """
    known = [_known(name, [*GROUPS, "all", *CATALOGUE], "feature, nor a group of them") for name in some]
    expanded = (names(name) if name in (*GROUPS, "all") else [name] for name in known)
    return list(dict.fromkeys(name for group in expanded for name in group))


def catalogue(*groups: str) -> pd.DataFrame:
    """The catalogue as a table: name, group, look_back (sessions), unit, meaning, source; all groups by default."""
    rows = [CATALOGUE[name] for name in names(*(groups or ("all",)))]
    return pd.DataFrame(
        [(f.name, f.group, f.look_back, f.unit, f.meaning, f.source) for f in rows],
        columns=["name", "group", "look_back", "unit", "meaning", "source"],
    ).set_index("name")


def register(
    name: str,
    function: Callable[[Arrays], np.ndarray],
    *,
    look_back: int,
    unit: str = "ratio",
    meaning: str = "",
    source: str = "user",
) -> Feature:
    """Add a feature of one's own to the catalogue, in the group `user`; it is computed and audited like the rest.

    ``features.register("body", lambda a: a.close / a.open - 1, look_back=0)``

    Args:
        name: small letters, digits and _; a name in use is replaced only if it was registered, too.
        function: one symbol's `Arrays` in, an array of the same length out, NaN where there is no value. It may not
            change what it gets.
        look_back: the sessions before the current one that a value needs; earlier rows become NaN.
        unit: "price" or "shares" where a split changes the value.
        meaning, source: a line each for the catalogue.

    Raises:
        ParamError: a name, function or look-back that cannot be.
    """
    if not (name.isidentifier() and name == name.lower()) or name in ("symbol", "date"):
        raise ParamError(f"{name!r} cannot name a feature: use small letters, digits and _, a letter first.")
    if name in CATALOGUE and CATALOGUE[name].group != "user":
        raise ParamError(f"{name!r} is in the catalogue already (group {CATALOGUE[name].group!r}): use another name.")
    if not callable(function):
        raise ParamError(f"feature {name!r}: the function must be callable, found {type(function).__name__}.")
    if isinstance(look_back, bool) or not isinstance(look_back, int) or look_back < 0:
        raise ParamError(f"feature {name!r}: look_back must be a number of sessions from 0 on, found {look_back!r}.")
    CATALOGUE[name] = Feature(name, function, look_back, unit, meaning or name, source)
    return CATALOGUE[name]


def forget(name: str) -> None:
    """Take a registered feature out of the catalogue again.

    Raises:
        ParamError: it is not a registered one.
    """
    if name not in CATALOGUE or CATALOGUE[name].group != "user":
        raise ParamError(f"{name!r} was not registered; of your own there are {', '.join(names('user')) or 'none'}.")
    del CATALOGUE[name]


def compute(
    bars: pd.DataFrame,
    wanted: Sequence[str] | None = None,
    *,
    since: pd.Timestamp | str | None = None,
    dtype: str = "float64",
    calendar: str = sessions.DEFAULT,
    warm_up: bool = False,
    threads: int = 2,
) -> pd.DataFrame:
    """Compute features of daily bars, symbol by symbol.

    A row that lacks a price has no features, and later rows are computed as if it were not there. A volume that is not
    known is NaN, and so are the features that look at it.

    Args:
        bars: as `schema.BARS` (more columns are allowed; NaN too), rows in any order; left untouched.
        wanted: names from the catalogue; the group `basic` by default.
        since: only rows of this session and later ones; the earlier ones are context, whose values are not checked
            again. What comes out is, bit for bit, what a computation of all rows gives.
        dtype: "float64" or "float32".
        calendar: the exchange, for the group `calendar`.
        warm_up: also what windows that are not yet full say, for those features that define it (alpha158, where
            Qlib does so); else every row within the look-back is NaN.
        threads: how many threads compute.

    Returns:
        symbol, date and one column a feature, sorted by symbol then date.

    Raises:
        ParamError: an unknown name or dtype. SchemaError: bars that break their contract. FeatureError: a registered
            function that failed.
    """
    chosen = check_names(wanted, dtype)
    start = None if since is None else pd.Timestamp(since)
    bars, edges = _sorted(bars)
    full = _complete(bars)
    known = bars if full is None else bars[full].reset_index(drop=True)
    panel = SymbolPanel.from_bars(
        known, edges if full is None else schema.symbol_edges(known["symbol"]), since=start, calendar=calendar
    )
    late = panel.rows_from(panel.starts)
    schema.check_values(known.iloc[late])
    given = {f.within: known[label(*f.within)].to_numpy() for f in chosen if f.within and label(*f.within) in known}
    block = np.empty((len(chosen), int(panel.counts.sum())), dtype)
    engine.fill(panel, chosen, block, given=given, warm_up=warm_up, threads=threads)
    values = pd.DataFrame(block.T, columns=[feature.name for feature in chosen], copy=False)
    if full is None:
        keys = bars[["symbol", "date"]].iloc[late]
        keys.index = values.index
        return pd.concat([keys, values], axis=1, copy=False)
    return _with_gaps(bars, np.flatnonzero(full)[late], values, start)


def of_one_symbol(bars: pd.DataFrame, wanted: Sequence[str]) -> np.ndarray:
    """What `compute` makes of bars of one symbol, one row a feature: quick, as their contract is not checked.

    Args:
        bars: as `schema.BARS`, sorted by date, known to be valid.
        wanted: names from the catalogue, of features that need no other symbol.
    """
    chosen, edges = check_names(wanted), np.array([0, len(bars)])
    panel = SymbolPanel.from_bars(bars, edges, since=None, calendar=sessions.DEFAULT)
    block = np.empty((len(chosen), len(bars)))
    engine.fill(panel, chosen, block, given={})
    return block


def _with_gaps(bars: pd.DataFrame, rows: np.ndarray, values: pd.DataFrame, since: pd.Timestamp | None) -> pd.DataFrame:
    """The values at their rows, and NaN at those that lack a price."""
    keys = bars[["symbol", "date"]].reset_index(drop=True)
    keys = keys if since is None else keys[keys["date"] >= since]
    return pd.concat([keys, values.set_axis(rows).reindex(keys.index)], axis=1).reset_index(drop=True)


def check_names(wanted: Sequence[str] | None, dtype: str = "float64") -> list[Feature]:
    """The features of these names, of the group `basic` for None.

    Raises:
        ParamError: an unknown name, one that is named twice, or a dtype that features cannot have.
    """
    _known(dtype, ("float64", "float32"), "dtype of a feature")
    if wanted is None:
        wanted = names()
    if isinstance(wanted, str) or len(set(wanted)) < len(wanted):
        raise ParamError(f"features must be a list of names, each once: found {wanted!r}.")
    return [CATALOGUE[_known(name, CATALOGUE, "feature")] for name in wanted]


def label(kind: str, name: str) -> str:
    """The column of `compare` that holds a feature's rank or mean within the day, e.g. "rank(ret_5)"."""
    return f"{kind}({name})"


def compare(table: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """What the features `wanted` of the group `cross` need of the other symbols of a day, for `compute` elsewhere.

    Bars that carry these columns need no other symbols: so Spark computes days first and symbols after.

    Args:
        table: date, and the features that `bases` names; all symbols of each of its days.

    Returns:
        A column each of "rank(ret_5)" and the like, with the index of `table`.
    """
    pairs = dict.fromkeys(CATALOGUE[name].within for name in wanted)
    day = schema.day_numbers(table["date"].to_numpy())
    columns = {label(*pair): cross.WITHIN[pair[0]](table[pair[1]].to_numpy(), day) for pair in pairs if pair}
    return pd.DataFrame(columns, index=table.index)


def bases(wanted: Sequence[str]) -> list[str]:
    """The features that those `wanted` of the group `cross` compare within the day."""
    pairs = (CATALOGUE[name].within for name in wanted)
    return list(dict.fromkeys(pair[1] for pair in pairs if pair))


def _known(name: str, among: Collection[str], what: str) -> str:
    if name not in among:
        raise ParamError(f"{name!r} is no {what}.{did_you_mean(name, among)}")
    return name


def _complete(bars: pd.DataFrame) -> np.ndarray | None:
    """Which rows have all prices; None where all have."""
    complete = np.ones(len(bars), bool)
    for column in PRICES:
        complete &= ~np.isnan(bars[column].to_numpy())
    return None if complete.all() else complete


def _sorted(bars: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The bars in order of symbol and date, themselves where they are already; and where symbols start."""
    bars = schema.conform(bars)
    edges = schema.symbol_edges(bars["symbol"])
    if schema.disorder(bars, edges) is not None:
        bars = bars.sort_values(["symbol", "date"], ignore_index=True)
        schema.check_order(bars)
        edges = schema.symbol_edges(bars["symbol"])
    return bars, edges
