from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit.lake import frames
from stockkit.market import corporate_actions, jumps, schema, simulate
from stockkit.market.jumps import ADJUSTED, NO_RATIO, REAL, SPLIT

AT = 60  # the row at which something happens


def bars(count: int = 120, *, sd: float = 0.02, price: float = 100.0, seed: int = 3) -> pd.DataFrame:
    """An ordinary history: one symbol, `sd` a day, volume about a million."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(sd * rng.standard_normal(count)))
    opened = np.r_[price, close[:-1]] * np.exp(0.3 * sd * rng.standard_normal(count))
    volume = np.rint(1e6 * np.exp(0.3 * rng.standard_normal(count))).astype("int64")
    days = simulate.bars(["A"], count=count, rng=rng)["date"]
    return pd.DataFrame({"symbol": "A", "date": days, "open": opened, "close": close, "volume": volume})


def split(frame: pd.DataFrame, ratio: float, *, at: int = AT, day: float = 0.0, heavy: float = 1.0) -> pd.DataFrame:
    """A split (new shares for one old) that nobody listed, on a day that moves by `day` in log terms besides."""
    now = np.arange(len(frame)) >= at
    scale = np.where(now, np.exp(day) / ratio, 1.0)
    opened = frame["open"] * np.where(np.arange(len(frame)) == at, np.exp(0.3 * day) / ratio, scale)
    volume = frame["volume"] * np.where(now, ratio, 1.0) * np.where(np.arange(len(frame)) == at, heavy, 1.0)
    return frame.assign(open=opened, close=frame["close"] * scale, volume=volume.round().astype("int64"))


def news(frame: pd.DataFrame, move: float, *, at: int = AT, heavy: float = 12.0) -> pd.DataFrame:
    """A real move: the price stays there, the share count does not change, the day's trading is heavy."""
    moved = split(frame, float(np.exp(-move)), at=at)
    trading = np.where(np.arange(len(frame)) == at, heavy, 1.0)
    return moved.assign(volume=(frame["volume"] * trading).round().astype("int64"))


def suggested(frame: pd.DataFrame, known: pd.DataFrame | None = None) -> pd.DataFrame:
    level = np.log(frame["close"].to_numpy())
    borders = jumps.stretches(level, np.zeros(len(level), bool)).borders
    days = pd.DataFrame({"symbol": "A", "date": frame["date"].iloc[borders]})
    return jumps.suggest(frame, days, corporate_actions.none() if known is None else known)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("ratio", "more"),
    [(4, {}), (2, {}), (3, {"day": 0.04}), (1.5, {}), (5 / 3, {}), (20, {}), (0.1, {"heavy": 5.0}), (0.5, {}),
     (1 / 15, {}), (1 / 20, {"day": -0.25, "heavy": 8.0}), (1 / 50, {"day": -0.1, "heavy": 10.0})],
)  # fmt: skip
def test_a_missing_split_is_found_with_its_ratio(ratio, more, seed):
    suggestions = suggested(split(bars(seed=seed, sd=0.05 if more.get("day", 0) < 0 else 0.02), ratio, **more))
    assert suggestions["kind"].tolist() == [SPLIT]
    assert suggestions["ratio"].tolist() == [pytest.approx(ratio)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("history", "kind"),
    [(lambda seed: news(bars(seed=seed), -0.7), REAL),
     (lambda seed: news(bars(seed=seed), 0.7, heavy=30), REAL),
     (lambda seed: news(bars(seed=seed), -0.58, heavy=3), NO_RATIO),  # a spin-off: no ratio fits
     (lambda seed: news(bars(seed=seed, sd=0.12), -0.65, heavy=1), REAL),  # a wild one: such days happen
     (lambda seed: bars(seed=seed).assign(close=lambda f: f["close"] * np.where(f.index < 1, 100, 1)), NO_RATIO)],
)  # fmt: skip
def test_what_is_no_split_is_not_called_one(history, kind, seed):
    suggestions = suggested(history(seed))
    assert set(suggestions["kind"].tolist()[:1]) <= {kind}
    assert SPLIT not in suggestions["kind"].tolist()


def test_a_fall_of_a_third_on_news_is_not_taken_for_a_split_of_three_for_two():
    assert suggested(news(bars(), -0.41)).empty
    assert suggested(split(bars(), 1.5))["evidence"].str.contains("3:2 leaves").all()


def test_a_penny_stock_that_moves_by_a_tick_is_not_called_a_split_and_its_reverse_split_is():
    rng = np.random.default_rng(4)
    ticks = 0.01 * np.clip(3 + np.cumsum(rng.choice([-1, 0, 0, 0, 0, 0, 1], 200)) // 3, 2, 4)
    ticks[90:] = np.where(ticks[90:] < 0.02, 0.02, ticks[90:])
    ticks[AT - 5 : AT], ticks[AT : AT + 12] = 0.02, 0.04
    penny = bars(200).assign(open=ticks, close=ticks)
    assert SPLIT not in suggested(penny)["kind"].tolist()
    assert suggested(split(penny.assign(volume=1_000_000), 0.02, at=150))["ratio"].tolist()[-1] == pytest.approx(0.02)


@pytest.mark.parametrize("count", [6, 12, 20])
def test_in_a_short_history_a_clear_split_is_suggested_and_a_fall_that_fits_none_is_not(count):
    clear = suggested(split(bars(count), 4, at=count // 2))
    assert (clear["kind"].tolist(), clear["ratio"].tolist()) == ([SPLIT], [4.0])
    assert suggested(news(bars(count), -0.55, at=count // 2, heavy=2))["kind"].tolist() == [NO_RATIO]


def test_a_listed_split_that_the_prices_do_not_show_is_said_to_be_in_them_already():
    frame = bars()
    day = frame["date"].iloc[AT]
    known = corporate_actions.parse(f"symbol,ex_date,kind,value\nA,{day:%Y-%m-%d},split,4\n".encode(), file="a")
    wrong = frame.assign(high=frame["close"], low=frame["open"])
    adjusted = corporate_actions.adjust(wrong, known)
    assert suggested(adjusted, known)["kind"].tolist() == [ADJUSTED]


def test_a_wrong_ratio_or_news_on_the_day_of_a_listed_split_is_said_and_the_split_not_called_false():
    frame = split(bars(), 4)
    known = corporate_actions.parse(
        f"symbol,ex_date,kind,value\nA,{frame['date'].iloc[AT]:%Y-%m-%d},split,2\n".encode(), file="a"
    )
    suggestions = suggested(
        corporate_actions.adjust(frame.assign(high=frame["close"], low=frame["open"]), known), known
    )
    assert suggestions["kind"].tolist() == [NO_RATIO]
    assert "its ratio is wrong, or news" in suggestions["evidence"][0]


def test_a_jump_of_a_series_without_volume_is_told_from_its_prices():
    index = split(bars(), 4).assign(volume=np.nan)
    assert suggested(index)["ratio"].tolist() == [4.0]
    assert suggested(split(bars(), 100).assign(volume=np.nan))["kind"].tolist() == [NO_RATIO]


def kept(*lengths: int) -> list[tuple[int, int]]:
    """The rows that are trusted, first and one past the last, where each stretch has another scale."""
    level = np.concatenate([np.full(n, 2.0 * k) for k, n in enumerate(lengths)])
    rule = jumps.stretches(level, np.zeros(len(level), bool)).rule
    rows = np.flatnonzero(rule == "")
    return [(int(rows[0]), int(rows[-1]) + 1)] if len(rows) == rows[-1] - rows[0] + 1 else []


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [((500, 300), (500, 800)), ((5000, 250), (5000, 5250)), ((5000, 249), (0, 5000)), ((5000, 300, 30), (5000, 5300)),
     ((60, 40), (0, 60)), ((40, 60), (40, 100)), ((1, 99), (1, 100)), ((99, 1), (0, 99)), ((50, 50), (50, 100))],
)  # fmt: skip
def test_the_newest_stretch_that_can_stand_by_itself_is_kept_else_the_longest(lengths, rows):
    assert kept(*lengths) == [rows]


def test_every_row_is_kept_or_has_a_rule_and_none_is_kept_across_a_border():
    rng = np.random.default_rng(1)
    for _ in range(50):
        level = np.cumsum(np.where(rng.random(400) < 0.02, rng.choice([-1.4, 0.7, 1.1], 400), 0.0))
        judged = jumps.stretches(level, np.zeros(400, bool))
        trusted = level[judged.rule == ""]
        assert len(trusted)
        assert (np.abs(np.diff(trusted)) <= jumps.MAX_JUMP).all()
        assert set(judged.rule) <= {"", "unexplained_jump", "before_jump", "after_jump"}


def test_the_file_of_suggestions_reads_as_actions_with_the_evidence_as_comments():
    suggestions = pd.concat([suggested(split(bars(), 4)), suggested(news(bars(), -0.7))], ignore_index=True)
    text = jumps.csv_lines(schema.cast(suggestions, jumps.SUGGESTED))
    listed = corporate_actions.parse(text.encode(), file="actions.suggested.csv")
    assert listed[["kind", "value"]].values.tolist() == [["split", 4.0]]
    assert text.count("\n#") == 3


def test_no_cell_of_the_file_of_suggestions_is_taken_for_a_formula():
    kinds = [split(bars(), 4), news(bars(), -0.7), split(bars(), 0.1)]
    frame = split(bars(), 6)
    known = pd.DataFrame({"symbol": ["A"], "ex_date": frame["date"].iloc[[AT]], "kind": ["split"], "value": [2.0]})
    beside = suggested(frame.assign(close_raw=frame["close"]), known)
    assert "beside the split" in beside["evidence"].iloc[0]
    suggestions = pd.concat([*map(suggested, kinds), beside], ignore_index=True)
    cells = [cell for line in jumps.csv_lines(suggestions).splitlines() for cell in line.split(",")]
    assert len(cells) > 20
    assert not [cell for cell in cells if cell.strip().startswith(frames.FORMULA)]
