from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ParamError, SchemaError
from stockkit.market import features, simulate


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate.bars(["AAA", "BBB"], count=400, rng=np.random.default_rng(7))


@pytest.mark.parametrize("name", features.names())
def test_a_feature_is_valid_from_its_look_back_on_and_not_before(bars, name):
    own = features.compute(bars[bars["symbol"] == "AAA"], [name])[name].notna().to_numpy()
    look_back = features.CATALOGUE[name].look_back
    assert not own[:look_back].any()
    assert own[look_back:].all()


def test_no_feature_sees_the_future(bars):
    whole = features.compute(bars)
    days = bars["date"].unique()
    for cut in np.random.default_rng(3).choice(days[10:], 20, replace=False):
        early = features.compute(bars[bars["date"] <= cut])
        pd.testing.assert_frame_equal(early, whole[whole["date"] <= cut].reset_index(drop=True), check_exact=True)


def test_the_causality_test_catches_a_planted_leak(bars, monkeypatch):
    leak = features.Feature("leak", lambda a: np.append(a.close[1:], np.nan), 0, "price", "tomorrow", "a fault")
    monkeypatch.setitem(features.CATALOGUE, "leak", leak)
    with pytest.raises(AssertionError):
        test_no_feature_sees_the_future(bars)


def test_shuffled_rows_give_the_same_features_and_stay_as_they_were(bars):
    shuffled = bars.sample(frac=1, random_state=1)
    before = shuffled.copy()
    pd.testing.assert_frame_equal(features.compute(shuffled), features.compute(bars))
    pd.testing.assert_frame_equal(shuffled, before)


def test_a_symbol_does_not_leak_into_its_neighbour(bars):
    both = features.compute(bars)
    alone = features.compute(bars[bars["symbol"] == "BBB"])
    pd.testing.assert_frame_equal(both[both["symbol"] == "BBB"].reset_index(drop=True), alone)


def test_a_split_changes_no_scale_free_feature(bars):
    split = bars.assign(**{c: bars[c] / 4 for c in ("open", "high", "low", "close")}, volume=bars["volume"] * 4)
    names = features.names(scale_free=True)
    pd.testing.assert_frame_equal(features.compute(split, names), features.compute(bars, names), rtol=1e-7)
    priced = features.compute(split, ["sma_5"])["sma_5"] * 4
    pd.testing.assert_series_equal(priced, features.compute(bars, ["sma_5"])["sma_5"])


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("ret_1", lambda b: np.log(b.close).diff()),
        ("gap", lambda b: np.log(b.open / b.close.shift(1))),
        ("sma_20", lambda b: b.close.rolling(20).mean()),
        ("vol_20", lambda b: np.log(b.close).diff().rolling(20).std()),
        ("volume_z_20", lambda b: (b.volume - b.volume.rolling(20).mean()) / b.volume.rolling(20).std(ddof=0)),
        ("bollinger_20", lambda b: (b.close - b.close.rolling(20).mean()) / b.close.rolling(20).std(ddof=0) / 4 + 0.5),
        ("pos_252", lambda b: (b.close - b.low.rolling(252).min())
         / (b.high.rolling(252).max() - b.low.rolling(252).min())),
        ("to_ema_20", lambda b: b.close / _ema(b.close, 20) - 1),
    ],
)  # fmt: skip
def test_a_feature_equals_its_definition_in_pandas(bars, name, by_hand):
    own = bars[bars["symbol"] == "AAA"].reset_index(drop=True)
    found = features.compute(own, [name])[name]
    np.testing.assert_allclose(found, by_hand(own), rtol=1e-6, atol=1e-9)


def _ema(close: pd.Series, n: int) -> pd.Series:
    """TA-Lib starts the average at the first n-session mean."""
    out, k = close.rolling(n).mean(), 2 / (n + 1)
    for at in range(n, len(close)):
        out.iloc[at] = out.iloc[at - 1] + k * (close.iloc[at] - out.iloc[at - 1])
    return out


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_short_history_gives_nan_and_no_error(count):
    short = simulate.bars(["AAA"], count=count, rng=np.random.default_rng(1))
    assert features.compute(short)["pos_252"].isna().all()


def test_a_flat_market_gives_nan_where_a_range_is_zero():
    flat = simulate.bars(["AAA"], count=300, volatility=0.0, rng=np.random.default_rng(1))
    table = features.compute(flat, ["bollinger_20", "pos_252", "ret_1"])
    assert table["bollinger_20"].isna().all()
    assert (table["ret_1"].iloc[1:] == 0).all()


def test_an_unknown_feature_is_refused_with_the_nearest(bars):
    with pytest.raises(ParamError, match="Did you mean 'rsi_14'"):
        features.compute(bars, ["rsi14"])


def test_bars_with_a_repeated_day_are_refused(bars):
    with pytest.raises(SchemaError, match="repeats"):
        features.compute(pd.concat([bars, bars.iloc[[5]]]))
