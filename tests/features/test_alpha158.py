from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ParamError
from stockkit.features import alpha158, rolling
from stockkit.features.alpha158 import COLUMNS, NAMES, WINDOWS
from stockkit.market import simulate

GOLDEN = np.load(Path(__file__).with_name("golden") / "alpha158.npz")
TOLERANCE = 1e-6  # absolute or relative to Qlib's value, whichever is larger
# where Qlib's running sums still carry what has left the window: the README beside the golden values
NOISY = {
    ("NASTY", "wvma5"): {58, 81, 82, 83}, ("NASTY", "wvma10"): {58, 87, 88}, ("NASTY", "wvma20"): {96, 97, 98},
    ("STILL", "rsqr5"): {31}, ("STILL", "rsqr10"): {31}, ("STILL", "corr20"): {31},
}  # fmt: skip
ROLLING = [name for name in NAMES if name not in alpha158.SHAPES]

Columns = dict[str, np.ndarray]


def columns(values: np.ndarray) -> Columns:
    return {name: np.ascontiguousarray(values[:, k]) for k, name in enumerate(COLUMNS)}


def run(bars: Columns, names=NAMES, *, edges=None, starts=None, dtype="float64", threads=1) -> np.ndarray:
    edges = np.array([0, len(bars["close"])] if edges is None else edges)
    out = np.full((len(names), len(bars["close"])), -999.0, dtype=dtype)
    alpha158.fill(bars, edges, edges[:-1] if starts is None else np.array(starts), names, out, threads=threads)
    return out


def one(bars: Columns, name: str) -> np.ndarray:
    return run(bars, [name])[0]


@pytest.fixture(scope="module")
def walk() -> Columns:
    """5,000 rows of one symbol, more than two blocks, with ties, flat stretches and sessions without volume."""
    rng = np.random.default_rng(5)
    bars = simulate.bars(["AAA"], count=5000, rng=rng)[list(COLUMNS)].astype("float64")
    bars = bars.round(1)
    bars.loc[rng.random(5000) < 0.03, "volume"] = 0
    for first in (1000, 2040, 4090):
        bars.iloc[first : first + 70] = bars.iloc[first].to_numpy()
    return columns(bars.to_numpy())


def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Which cells are further apart than the tolerance, or NaN on one side only."""
    limit = TOLERANCE * np.maximum(1, np.abs(theirs))
    return (np.isnan(ours) != np.isnan(theirs)) | (np.abs(ours - theirs) > limit)


@pytest.mark.parametrize("symbol", ["AAPL", "NVDA", "NASTY", "STILL"])
def test_every_cell_is_what_qlib_answers(symbol):
    wrong = apart(run(columns(GOLDEN[f"{symbol}_bars"])), GOLDEN[f"{symbol}_values"])
    differing = {(symbol, NAMES[k]): set(np.flatnonzero(wrong[k]).tolist()) for k in np.flatnonzero(wrong.any(axis=1))}
    assert differing == {cell: rows for cell, rows in NOISY.items() if cell[0] == symbol}


def statistic(bars: Columns, family: str, d: int, row: int) -> float:
    """What the definition says of one window, by NumPy."""
    window = slice(row - d + 1, row + 1)
    close, before, volume = bars["close"][window], bars["close"][row - d : row], bars["volume"][window]
    if family == "wvma":
        moved = np.abs(close / before - 1) * volume
        return float(np.std(moved, ddof=1) / (np.mean(moved) + 1e-12))
    if family == "corr":
        return float(np.corrcoef(close, np.log(volume + 1))[0, 1])
    return float(np.corrcoef(close, np.arange(d))[0, 1] ** 2)


def test_where_qlib_is_noisy_ours_is_the_statistic_of_the_window_itself():
    for (symbol, name), rows in NOISY.items():
        bars, (family, d) = columns(GOLDEN[f"{symbol}_bars"]), (name[:4], int(name[4:]))
        for row in rows:
            assert one(bars, name)[row] == pytest.approx(statistic(bars, family, d, row), rel=1e-9), (name, row)


@pytest.mark.parametrize("fault", [lambda x: x * (1 + 2e-6), lambda x: x + 2e-6, lambda x: np.nan])
def test_the_comparison_catches_a_planted_difference(fault):
    theirs = GOLDEN["AAPL_values"]
    ours = theirs.copy()
    ours[NAMES.index("klen"), 70] = fault(1.0)
    assert np.argwhere(apart(ours, theirs)).tolist() == [[NAMES.index("klen"), 70]]


def test_the_names_are_those_of_qlib_in_its_order():
    assert tuple(GOLDEN["names"].tolist()) == NAMES
    assert len(set(NAMES)) == 158


def pieces(bars: Columns, rows: np.ndarray, context: int, name: str, dtype: str) -> np.ndarray:
    """The feature at each of the rows, computed from `context` rows before it and no others."""
    positions = np.concatenate([np.arange(row - context, row + 1) for row in rows])
    cut = {column: values[positions] for column, values in bars.items()}
    edges = np.arange(len(rows) + 1) * (context + 1)
    return run(cut, [name], edges=edges, starts=edges[1:] - 1, dtype=dtype)[0, edges[1:] - 1]


def changed(bars: Columns, name: str, dtype: str, missing: int = 0) -> int:
    """In how many of 300 rows the feature hangs on more than its look-back, to the last bit."""
    rows = np.random.default_rng(11).choice(np.arange(66, 5000), 300, replace=False)
    context = alpha158.look_back(name) - missing
    full = run(bars, [name], dtype=dtype)[0, rows]
    bits = "int64" if dtype == "float64" else "int32"
    alone = pieces(bars, rows, context, name, dtype)
    same = (full.view(bits) == alone.view(bits)) | (np.isnan(full) & np.isnan(alone))
    return int((~same).sum())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_value_hangs_on_its_own_window_alone_to_the_last_bit(walk, dtype):
    assert {name: changed(walk, name, dtype) for name in NAMES} == dict.fromkeys(NAMES, 0)


def test_a_context_one_row_short_is_noticed_so_look_back_is_no_longer_than_needed(walk):
    assert [name for name in ROLLING if changed(walk, name, "float64", missing=1) == 0] == []


def test_a_later_start_leaves_earlier_rows_alone_and_changes_no_bit(walk):
    full = run(walk, edges=[0, 1500, 1500, 5000])
    starts = [70, 1500, 3777]
    later = run(walk, edges=[0, 1500, 1500, 5000], starts=starts)
    for first, start, last in ((0, 70, 1500), (1500, 3777, 5000)):
        assert (later[:, first:start] == -999).all()
        np.testing.assert_array_equal(later[:, start:last], full[:, start:last])


def test_a_symbol_does_not_leak_into_its_neighbour(walk):
    both = run(walk, edges=[0, 40, 5000])
    second = {name: values[40:] for name, values in walk.items()}
    np.testing.assert_array_equal(both[:, 40:], run(second))


def test_no_feature_sees_the_future(walk):
    early = {name: values[:3000] for name, values in walk.items()}
    np.testing.assert_array_equal(run(walk)[:, :3000], run(early))


@pytest.mark.parametrize("name", NAMES)
def test_a_feature_alone_is_what_it_is_among_all(name):
    bars = columns(GOLDEN["NASTY_bars"])
    np.testing.assert_array_equal(one(bars, name), run(bars)[NAMES.index(name)])


def test_float32_is_float64_rounded_and_threads_change_nothing(walk):
    edges = [0, 900, 1000, 1001, 1003, 4000, 5000]
    full = run(walk, edges=edges)
    np.testing.assert_array_equal(run(walk, edges=edges, dtype="float32"), full.astype("float32"))
    np.testing.assert_array_equal(run(walk, edges=edges, threads=2), full)
    np.testing.assert_array_equal(run(walk, edges=edges, threads=50), full)


@pytest.mark.parametrize("d", WINDOWS)
def test_families_agree_with_their_plain_pandas_definitions(d):
    bars = simulate.bars(["AAA"], count=3000, rng=np.random.default_rng(2))
    c, h, v = bars["close"], bars["high"], bars["volume"].astype("float64")
    rolled = c.rolling(d, min_periods=1)
    plain = {
        "roc": c.shift(d) / c,
        "ma": rolled.mean() / c,
        "std": rolled.std() / c,
        "max": h.rolling(d, min_periods=1).max() / c,
        "qtlu": rolled.quantile(0.8) / c,
        "rank": rolled.rank(pct=True),
        "corr": rolled.corr(np.log(v + 1)),
        "imax": h.rolling(d, min_periods=1).apply(np.argmax, raw=True).add(1) / d,
        "cntp": (c.diff() > 0).rolling(d, min_periods=1).mean(),
    }
    ours = run(columns(bars[list(COLUMNS)].to_numpy("float64")), [f"{name}{d}" for name in plain])
    np.testing.assert_allclose(ours, pd.DataFrame(plain).to_numpy().T, rtol=1e-7, atol=1e-7)  # pandas carries rounding


def constant(n: int, *, volume: float = 1000.0) -> Columns:
    return columns(np.tile([50.1, 50.1, 50.1, 50.1, volume], (n, 1)))


def test_constant_bars_have_no_spread_no_slope_and_no_correlation():
    bars = constant(100)
    for family, value in {"std": 0, "beta": 0, "vstd": 0, "wvma": 0, "sumd": 0, "cntp": 0, "rsv": 0, "rsqr": np.nan,
                          "corr": np.nan, "cord": np.nan}.items():  # fmt: skip
        for d in WINDOWS:
            np.testing.assert_array_equal(one(bars, f"{family}{d}")[60:], np.full(40, float(value)))
    assert one(bars, "rank5")[-1] == 0.6  # five equals share the mean of the ranks 1 to 5
    assert one(bars, "imax5")[-1] == 0.2  # the first of equals


def test_no_volume_gives_zero_over_the_smallest_number_and_no_correlation():
    bars = constant(70, volume=0)
    for name in ("vma5", "vstd60", "wvma20", "vsump10"):
        assert one(bars, name)[-1] == 0
    bars["volume"][0] = 10
    assert one(bars, "vma5")[1] == pytest.approx(5e12)
    assert np.isnan(one(bars, "cord30")).all()


def test_a_symbol_of_one_row_or_two_gives_what_there_is():
    bars = columns(np.array([[1.0, 4.0, 1.0, 2.0, 10], [2.0, 4.0, 2.0, 4.0, 30]]))
    first, second = run(bars)[:, 0], dict(zip(NAMES, run(bars)[:, 1], strict=True))
    np.testing.assert_array_equal(first, run({name: x[:1] for name, x in bars.items()})[:, 0])
    assert dict(zip(NAMES, first, strict=True))["ma60"] == 1
    expected = {"ma5": 0.75, "sump60": 1, "cntp5": 0.5, "beta30": 0.5, "rsqr10": 1, "corr5": 1, "vma20": 2 / 3}
    assert {name: second[name] for name in expected} == pytest.approx(expected)
    assert np.isnan([second[name] for name in ("roc5", "wvma5", "cord5")]).all()


def test_nothing_in_is_nothing_out():
    assert run(constant(0)).shape == (158, 0)
    assert run(constant(0), edges=[0]).shape == (158, 0)
    assert run(constant(3), []).shape == (0, 3)


def test_bars_that_may_not_be_written_do():
    bars = constant(10)
    bars["close"].flags.writeable = False
    np.testing.assert_array_equal(run(bars), run(constant(10)))
    assert bars["open"].flags.writeable


def test_look_back_is_what_a_full_window_needs():
    expected = {"kmid": 0, "vwap0": 0, "ma5": 4, "roc5": 5, "cord60": 60, "cntp5": 5, "imxd30": 29, "vsumd10": 10}
    assert {name: alpha158.look_back(name) for name in expected} == expected


def test_every_name_has_a_meaning_and_a_source():
    assert alpha158.meaning("ma5") == "mean close of 5 sessions, over close"
    assert alpha158.source("kmid2") == "Qlib Alpha158 KMID2"
    assert len({alpha158.meaning(name) for name in NAMES}) == 158


@pytest.mark.parametrize("fault", [
    {"names": ["ma6"]},
    {"names": ["ma05"]},
    {"starts": [-1]},
    {"starts": [11]},
    {"starts": [0, 0]},
    {"edges": [0, 11]},
    {"edges": [-1, 10]},
    {"edges": [5, 3], "starts": [5]},
    {"threads": 0},
    {"dtype": "int64"},
])  # fmt: skip
def test_bad_input_is_refused(fault):
    with pytest.raises(ParamError):
        run(constant(10), **fault)


@pytest.mark.parametrize("fault", [np.ones(9), np.ones(10, dtype="float32"), np.ones(20)[::2], np.ones((10, 1)), None])
def test_a_column_of_the_wrong_kind_is_refused(fault):
    with pytest.raises(ParamError, match=r"volume|length"):
        run(constant(10) | {"volume": fault})


def test_an_out_of_the_wrong_kind_is_refused():
    edges, starts = np.array([0, 10]), np.array([0])
    for out in (np.empty((1, 9)), np.empty((2, 10)), np.empty((10, 1)).T[:, ::-1], np.empty((1, 10), dtype="int32")):
        with pytest.raises(ParamError, match="out must be"):
            alpha158.fill(constant(10), edges, starts, ["ma5"], out)


def test_importing_the_names_loads_no_compiler():
    code = "import sys; from stockkit.features import alpha158; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_machine_code_on_disk_belongs_to_one_version_of_the_kernels_it_calls(monkeypatch):
    from stockkit.features import rolling

    before = rolling.fingerprint()
    assert before == rolling.fingerprint()
    monkeypatch.setattr(rolling, "KERNELS", (*rolling.KERNELS[:-1], rolling.KERNELS[0]))
    assert rolling.fingerprint() != before


def test_where_no_folder_can_hold_the_machine_code_it_is_compiled_all_the_same():
    room: dict = {}
    exec("def twice(x):\n    return 2 * x", room)  # a function of no file: numba finds no place for its cache
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(room["twice"])
    assert rolling.compiled(room["twice"])(21) == 42
