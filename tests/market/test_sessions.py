from __future__ import annotations

import pandas as pd
import pytest

from stockkit.errors import ParamError
from stockkit.market import sessions


def days(*texts):
    return pd.Series(pd.to_datetime(list(texts)))


def test_a_year_has_the_sessions_that_the_exchange_held():
    assert len(sessions.between("2022-01-01", "2022-12-31")) == 251


@pytest.mark.parametrize("day", ["2001-09-11", "2001-09-14", "2012-10-29", "2012-10-30", "2025-01-09", "2023-09-04"])
def test_an_extraordinary_closing_is_no_session(day):
    assert pd.Timestamp(day) not in sessions.every()


def test_shifting_steps_over_weekends_and_holidays():
    assert sessions.shift("2023-09-01", 1) == pd.Timestamp("2023-09-05")
    assert sessions.shift("2023-09-03", 1) == pd.Timestamp("2023-09-05")
    assert sessions.shift("2023-09-05", -1) == pd.Timestamp("2023-09-01")


@pytest.mark.parametrize(
    ("instant", "last"),
    [
        ("2023-09-21 19:59", "2023-09-20"),
        ("2023-09-21 20:00", "2023-09-21"),
        ("2023-11-24 17:59", "2023-11-22"),  # the day after Thanksgiving closes at 13:00
        ("2023-11-24 18:00", "2023-11-24"),
        ("2023-09-24 12:00", "2023-09-22"),
    ],
)
def test_a_session_counts_once_its_closing_bell_has_rung(instant, last):
    assert sessions.last_closed(pd.Timestamp(instant, tz="UTC")) == pd.Timestamp(last)


def test_a_gap_is_a_session_without_a_bar():
    assert list(sessions.gaps(days("2023-09-01", "2023-09-06"))) == [pd.Timestamp("2023-09-05")]
    assert len(sessions.gaps(days())) == 0


def test_another_exchange_has_its_own_days():
    labor_day, national_day = pd.Timestamp("2023-09-04"), pd.Timestamp("2023-10-02")
    assert labor_day in sessions.every("XHKG")
    assert national_day not in sessions.every("XHKG")
    assert national_day in sessions.every("XNYS")


def test_an_unknown_exchange_is_refused_with_the_nearest():
    with pytest.raises(ParamError, match=r"'XNYZ' is not an exchange calendar. Did you mean"):
        sessions.every("XNYZ")
