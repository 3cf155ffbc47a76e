"""Sorting by key, which skips what is sorted already."""

from __future__ import annotations

import pandas as pd
import pytest

from stockkit.lake import frames


def rows(*pairs):
    frame = pd.DataFrame(pairs, columns=["symbol", "date"]).astype({"symbol": "string[pyarrow]"})
    return frame.assign(date=pd.to_datetime(frame["date"]), value=range(len(frame)))


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("A", "2020-01-02")],
        [("A", "2020-01-02"), ("A", "2020-01-03"), ("B", "2020-01-01")],
        [("A", "2020-01-02"), ("A", "2020-01-02"), ("A", None)],
    ],
)
def test_a_sorted_frame_is_itself(pairs):
    frame = rows(*pairs)
    assert frames.by_key(frame, ("symbol", "date", "absent")) is frame


@pytest.mark.parametrize(
    "pairs",
    [
        [("B", "2020-01-01"), ("A", "2020-01-02")],
        [("A", "2020-01-03"), ("A", "2020-01-02"), ("B", "2020-01-01")],
        [("A", None), ("A", "2020-01-02")],
        [("B", "2020-01-01"), ("A", "2020-01-09"), ("B", "2020-01-01")],
    ],
)
def test_any_other_is_sorted_as_pandas_does(pairs):
    frame = rows(*pairs)
    expected = frame.sort_values(["symbol", "date"], ignore_index=True)
    pd.testing.assert_frame_equal(frames.by_key(frame, ("symbol", "date")), expected)
