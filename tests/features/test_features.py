from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import talib

from stockkit import features
from stockkit.errors import FeatureError, ParamError, SchemaError
from stockkit.features import cross, windows
from stockkit.market import schema, simulate


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate.bars(["AAA", "BBB"], count=400, rng=np.random.default_rng(7))


EACH = features.names("all")
ALONE = [name for name in EACH if features.CATALOGUE[name].group != "cross"]


@pytest.mark.parametrize("name", EACH)
def test_a_feature_is_valid_from_its_look_back_on_and_not_before(bars, name):
    table = features.compute(bars, [name])
    known = table.loc[table["symbol"] == "AAA", name].notna().to_numpy()
    look_back = features.CATALOGUE[name].look_back
    assert not known[:look_back].any()
    assert known[look_back:].all()


@pytest.mark.parametrize("kind", ["object", "string[python]", "category"])
def test_bars_of_other_dtypes_give_the_same_features(bars, kind):
    other = bars.assign(name="x", date=bars["date"].astype("datetime64[s]"), volume=bars["volume"].astype("int32"))
    given = other.astype({"symbol": kind})
    pd.testing.assert_frame_equal(
        features.compute(given, ["ret_5", "rank_ret_5"]), features.compute(bars, ["ret_5", "rank_ret_5"])
    )


def test_shuffled_rows_give_the_same_features_and_stay_as_they_were(bars):
    shuffled = bars.sample(frac=1, random_state=1)
    before = shuffled.copy()
    pd.testing.assert_frame_equal(features.compute(shuffled, EACH), features.compute(bars, EACH))
    pd.testing.assert_frame_equal(shuffled, before)


def test_a_symbol_does_not_leak_into_its_neighbour(bars):
    both = features.compute(bars, ALONE)
    alone = features.compute(bars[bars["symbol"] == "BBB"], ALONE)
    pd.testing.assert_frame_equal(both[both["symbol"] == "BBB"].reset_index(drop=True), alone)


def test_a_split_changes_no_scale_free_feature(bars):
    split = bars.assign(**{c: bars[c] / 4 for c in ("open", "high", "low", "close")}, volume=bars["volume"] * 4)
    names = features.names("all", scale_free=True)
    pd.testing.assert_frame_equal(features.compute(split, names), features.compute(bars, names), rtol=1e-6, atol=1e-6)
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
    one = bars[bars["symbol"] == "AAA"].reset_index(drop=True)
    values = features.compute(one, [name])[name]
    np.testing.assert_allclose(values, by_hand(one), rtol=1e-6, atol=1e-9)


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


@pytest.fixture
def catalogue(monkeypatch):
    monkeypatch.setattr(features, "CATALOGUE", dict(features.CATALOGUE))


def test_a_new_day_is_bit_for_bit_what_the_whole_history_gives(bars):
    ragged = bars.drop(bars.index[[30, 395, 399, 500, 780]])  # sessions that one symbol lacks
    complete = features.compute(ragged, EACH)
    for back in (1, 2, 7, 150, 399):
        since = bars["date"].unique()[-back]
        late = features.compute(ragged, EACH, since=since)
        pd.testing.assert_frame_equal(
            late, complete[complete["date"] >= since].reset_index(drop=True), check_exact=True
        )


def test_what_lies_before_the_look_back_does_not_matter_to_a_windowed_feature(bars):
    complete = features.compute(bars, ALONE)
    for name in (n for n in ALONE if not features.CATALOGUE[n].smoothed):
        near = bars.groupby("symbol").tail(features.CATALOGUE[name].look_back + 1)
        last = features.compute(near, [name]).groupby("symbol")[name].last()
        pd.testing.assert_series_equal(last, complete.groupby("symbol")[name].last(), check_exact=True)


def test_smoothed_features_start_anew_and_nobody_can_tell():
    """What is older than the restarts weighs nothing, and the bits of a new day are those of all days."""
    bars = simulate.bars(["AAA", "BBB"], count=4700, rng=np.random.default_rng(7))
    names = [name for name in EACH if features.CATALOGUE[name].smoothed]
    complete = features.compute(bars, names)
    second = bars[bars["symbol"] == "BBB"]
    high, low, close = (second[column].to_numpy() for column in ("high", "low", "close"))
    plain = {"to_ema_20": close / talib.EMA(close, 20) - 1, "macd_hist": talib.MACD(close)[2] / close,
             "rsi_14": talib.RSI(close, 14), "natr_14": talib.NATR(high, low, close, 14),
             "adx_14": talib.ADX(high, low, close, 14)}  # fmt: skip
    assert set(plain) == set(names)
    for name, expected in plain.items():
        values = complete.loc[complete["symbol"] == "BBB", name]
        np.testing.assert_allclose(values, expected, rtol=1e-11, atol=1e-13)
    for at in (1535, 1536, 2047, 2048, 2049, 4096, 4699):
        since = bars["date"].unique()[at]
        late = features.compute(bars, names, since=since)
        pd.testing.assert_frame_equal(
            late, complete[complete["date"] >= since].reset_index(drop=True), check_exact=True
        )


def test_since_a_day_after_the_last_is_no_row_and_before_the_first_is_all(bars):
    assert features.compute(bars, EACH, since="2100-01-01").empty
    pd.testing.assert_frame_equal(features.compute(bars, EACH, since="1990-01-01"), features.compute(bars, EACH))


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_row_without_a_price_has_no_features_and_harms_no_later_one(bars, column):
    hole = [100, 101, 650]
    holed = bars.astype({column: "float64"})
    holed.loc[hole, column] = np.nan
    table = features.compute(holed, EACH)
    assert table.loc[hole, EACH].isna().all(axis=None)
    without = features.compute(bars.drop(hole), EACH)
    pd.testing.assert_frame_equal(table.drop(hole).reset_index(drop=True), without)
    late = features.compute(holed, EACH, since=bars["date"].iloc[90])
    pd.testing.assert_frame_equal(late, table[table["date"] >= bars["date"].iloc[90]].reset_index(drop=True))


def test_an_unknown_volume_costs_the_features_that_look_at_it_and_only_while_they_do(bars):
    hole = [100, 101, 650]
    holed = bars.astype({"volume": "float64"})
    holed.loc[hole, "volume"] = np.nan
    complete, table = features.compute(bars, ALONE), features.compute(holed, ALONE)
    other = features.compute(bars.assign(volume=bars["volume"].to_numpy()[::-1]), ALONE)
    looks = [name for name in ALONE if not other[name].equals(complete[name])]
    assert {"mfi_14", "obv_20", "volume_z_20", "vma5", "corr60", "vsumd10"} <= set(looks)
    now = [name for name in looks if not name.startswith(("cord", "volume_z_20_lag"))]  # CORD leaves such pairs out
    assert table.loc[hole, now].isna().all(axis=None)
    blind = [name for name in ALONE if name not in looks]
    pd.testing.assert_frame_equal(table[blind], complete[blind], check_exact=True)
    for name in looks:
        reach = {at + k for at in hole for k in range(features.CATALOGUE[name].look_back + 1)}
        clear = [k for k in range(800) if k not in reach]
        pd.testing.assert_series_equal(table.loc[clear, name], complete.loc[clear, name], check_exact=True)
    late = features.compute(holed, EACH, since=bars["date"].iloc[90])
    every = features.compute(holed, EACH)
    pd.testing.assert_frame_equal(late, every[every["date"] >= bars["date"].iloc[90]].reset_index(drop=True))


def test_a_symbol_without_any_volume_has_all_features_of_its_prices(bars):
    index = bars.assign(volume=np.where(bars["symbol"] == "AAA", np.nan, bars["volume"]))
    counts = features.compute(index, ["ret_1", "rsi_14", "mfi_14", "volume_z_20"]).groupby("symbol").count()
    assert counts["ret_1"].tolist() == [399, 399]
    assert counts["rsi_14"].tolist() == [386, 386]
    assert (counts.loc["AAA", ["mfi_14", "volume_z_20"]] == 0).all()
    assert (counts.loc["BBB", ["mfi_14", "volume_z_20"]] > 0).all()


def test_float32_is_float64_rounded(bars):
    short, long = features.compute(bars, EACH, dtype="float32"), features.compute(bars, EACH)
    assert set(short[EACH].dtypes.astype(str)) == {"float32"}
    pd.testing.assert_frame_equal(short[EACH], long[EACH].astype("float32"))
    with pytest.raises(ParamError, match="float16"):
        features.compute(bars, dtype="float16")


def test_a_feature_of_ones_own_is_one_line(bars, catalogue):
    features.register("body", lambda a: a.close / a.open - 1, look_back=0)
    table = features.compute(bars, ["body", "ret_1"])
    np.testing.assert_array_equal(table["body"], bars["close"] / bars["open"] - 1)
    assert features.names("user") == ["body"]
    features.forget("body")
    assert "body" not in features.CATALOGUE


def test_the_look_back_of_a_feature_of_ones_own_is_kept(bars, catalogue):
    features.register("up", lambda a: np.ones(len(a.close)), look_back=5)
    assert features.compute(bars, ["up"]).groupby("symbol")["up"].apply(lambda v: v.isna().sum()).eq(5).all()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda a: a.close[1:], r"shape \(399,\) for 400 sessions"),
        (lambda a: 1 / 0, "division by zero"),
        (lambda a: ["x"] * len(a.close), "could not convert"),
        (lambda a: np.multiply(a.close, 2, out=a.close), "read-only"),
    ],
)
def test_a_function_of_ones_own_that_fails_is_named_and_harms_nothing(bars, catalogue, function, words):
    before = bars.copy()
    features.register("mine", function, look_back=0)
    with pytest.raises(FeatureError, match=words):
        features.compute(bars, ["mine"])
    pd.testing.assert_frame_equal(bars, before)


@pytest.mark.parametrize(
    ("name", "function", "look_back", "words"),
    [
        ("rsi_14", abs, 3, "in the catalogue already"),
        ("Date", abs, 3, "small letters"),
        ("date", abs, 3, "small letters"),
        ("../x", abs, 3, "small letters"),
        ("x", 5, 3, "callable"),
        ("x", abs, -1, "look_back"),
        ("x", abs, 1.5, "look_back"),
    ],
)
def test_what_cannot_be_registered_is_refused(catalogue, name, function, look_back, words):
    with pytest.raises(ParamError, match=words):
        features.register(name, function, look_back=look_back)


def test_an_unknown_group_is_refused_with_the_nearest():
    with pytest.raises(ParamError, match="Did you mean 'basic'"):
        features.names("basics")


def test_ranks_are_those_of_pandas():
    rng = np.random.default_rng(4)
    day, value = rng.integers(0, 9, 400), rng.integers(0, 12, 400).astype("float64")
    value[rng.integers(0, 400, 40)] = np.nan
    groups = pd.Series(value).groupby(day)
    expected = (groups.rank() - 0.5) / groups.transform("count")
    np.testing.assert_allclose(cross.rank(value, day), expected)
    assert np.isnan(cross.rank(np.full(3, np.nan), np.zeros(3, "int64"))).all()


def test_beta_and_residual_are_those_of_least_squares(bars):
    table = features.compute(bars, ["beta_60", "residual_60", "ret_1"])
    returns = table.pivot(index="date", columns="symbol", values="ret_1")
    x, y = returns.mean(axis=1).to_numpy()[-60:], returns["AAA"].to_numpy()[-60:]
    slope, start = np.polyfit(x, y, 1)
    last = table[table["symbol"] == "AAA"].iloc[-1]
    np.testing.assert_allclose(
        [last["beta_60"], last["residual_60"]], [slope, y[-1] - start - slope * x[-1]], rtol=1e-9
    )


def test_bars_that_carry_what_the_others_of_the_day_are_need_no_others(bars):
    names = features.names("cross")
    base = features.compute(bars, features.bases(names))
    carried = pd.concat([bars, features.compare(base, names)], axis=1)
    alone = features.compute(carried[carried["symbol"] == "BBB"], names)
    both = features.compute(bars, names)
    pd.testing.assert_frame_equal(alone, both[both["symbol"] == "BBB"].reset_index(drop=True))


def test_the_calendar_knows_only_what_was_known_beforehand():
    days = pd.to_datetime(["2012-10-26", "2012-11-30", "2018-11-30", "2021-07-02", "2021-12-31"])
    bars = simulate.bars(["AAA"], count=5, rng=np.random.default_rng(1)).assign(date=days)
    table = features.compute(bars, features.names("calendar"))
    assert table["weekday"].tolist() == [4, 4, 4, 4, 4]
    assert table["month_left"].tolist() == [3, 0, 0, 19, 0]  # Hurricane Sandy closed two of the three: unknown then
    assert table["month_session"].tolist() == [20, 21, 21, 2, 22]
    assert table["holiday_left"].tolist() == [18, 16, 16, 0, 10]  # not the funeral of 2018-12-05
    assert table["days_since"].tolist()[1:] == [35, 2191, 945, 182]


@pytest.mark.parametrize("n", [5, 20, 60])
def test_windows_are_exact_for_equal_values_and_forget_what_left_them(n):
    x = np.r_[np.full(80, 0.1), np.nan, np.inf, np.full(80, 0.3)]
    assert (windows.deviation(x, n)[n - 1 : 80] == 0).all()
    assert (windows.deviation(x, n)[81 + n :] == 0).all()
    np.testing.assert_allclose(windows.mean(x, n)[81 + n :], 0.3)
    assert windows.highest(x, n)[-1] == 0.3


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 20, 60, 252])
def test_windows_are_those_of_pandas(n):
    x = pd.Series(np.random.default_rng(n).normal(100, 1, 300))
    for ours, theirs in [
        (windows.total, "sum"),
        (windows.mean, "mean"),
        (windows.highest, "max"),
        (windows.lowest, "min"),
    ]:
        np.testing.assert_allclose(ours(x.to_numpy(), n), getattr(x.rolling(n), theirs)(), rtol=1e-12)
    np.testing.assert_allclose(windows.deviation(x.to_numpy(), n), x.rolling(n).std(ddof=0), rtol=1e-7, atol=1e-9)


def test_no_bars_at_all_give_no_rows():
    assert list(features.compute(schema.empty(schema.BARS), EACH)) == ["symbol", "date", *EACH]


def test_bars_that_lack_a_column_are_refused(bars):
    with pytest.raises(SchemaError, match="close"):
        features.compute(bars.drop(columns="close"))
    with pytest.raises(SchemaError, match="symbol"):
        features.compute(bars.drop(columns="symbol"))


@pytest.mark.parametrize(("column", "kind"), [("close", "string"), ("volume", "string"), ("date", "string")])
def test_a_column_of_another_type_is_named(bars, column, kind):
    with pytest.raises(SchemaError, match=f"'{column}' must be .* found {kind}"):
        features.compute(bars.astype({column: kind}))


def test_a_price_that_cannot_be_is_named_with_its_row(bars):
    for wrong in (0.0, -1.0, np.inf):
        with pytest.raises(SchemaError, match="symbol AAA"):
            features.compute(bars.assign(low=bars["low"].where(bars.index != 7, wrong)))
