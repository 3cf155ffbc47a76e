from __future__ import annotations

import pandas as pd
import pytest

from stockkit.errors import ParamError
from stockkit.market import sessions


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


def test_another_exchange_has_its_own_days():
    labor_day, national_day = pd.Timestamp("2023-09-04"), pd.Timestamp("2023-10-02")
    assert labor_day in sessions.every("XHKG")
    assert national_day not in sessions.every("XHKG")
    assert national_day in sessions.every("XNYS")


def test_an_unknown_exchange_is_refused_with_the_nearest():
    with pytest.raises(ParamError, match=r"'XNYZ' is not an exchange calendar. Did you mean"):
        sessions.every("XNYZ")


@pytest.mark.parametrize(("code", "use"), [("XNSE", "Use XBOM"), ("XSHE", "Use XSHG"), ("xnys", "Did you mean 'XNYS'")])
def test_a_real_market_that_is_not_recorded_is_not_taken_for_another_city(code, use):
    with pytest.raises(ParamError, match=use):
        sessions.every(code)


@pytest.mark.parametrize("calendar", ["XNYS +2023-09-16 -2023-09-18", "NYSE -2023-09-18 +2023-09-16"])
def test_single_days_can_be_overruled(calendar):
    days = sessions.between("2023-09-15", "2023-09-19", calendar)
    assert list(days.strftime("%m-%d")) == ["09-15", "09-16", "09-19"]
    assert sessions.shift("2023-09-15", 2, calendar) == pd.Timestamp("2023-09-19")
    assert sessions.last_closed(pd.Timestamp("2023-09-17 03:59", tz="UTC"), calendar) == pd.Timestamp("2023-09-15")
    assert sessions.last_closed(pd.Timestamp("2023-09-17 04:00", tz="UTC"), calendar) == pd.Timestamp("2023-09-16")


@pytest.mark.parametrize("word", ["2023-09-16", "+2023-02-30", "+16/09/2023", "open"])
def test_a_day_that_overrules_nothing_is_refused(word):
    with pytest.raises(ParamError, match="overrules no day"):
        sessions.every(f"XNYS {word}")


def test_new_york_is_known_since_1928_with_its_saturdays():
    assert sessions.first() == pd.Timestamp("1928-01-01")
    october = sessions.between("1929-10-21", "1929-11-04")
    assert list(october.strftime("%m-%d")) == [
        "10-21", "10-22", "10-23", "10-24", "10-25", "10-26", "10-28", "10-29", "10-30", "10-31", "11-04"
    ]  # fmt: skip
    assert sessions.shift("1960-01-04", -1) == pd.Timestamp("1959-12-31")
    for holiday in ("1929-07-04", "1936-12-25", "1944-11-07", "1959-01-01", "1963-02-22", "1968-05-30"):
        assert pd.Timestamp(holiday) not in sessions.every()
    assert not (sessions.between("1952-09-29", "1959-12-31").dayofweek == 5).any()


def test_what_never_closes_has_every_day_or_every_weekday():
    assert len(sessions.between("2023-01-01", "2023-12-31", "24/7")) == 365
    assert len(sessions.between("2023-01-01", "2023-12-31", "24/5")) == 260
    assert sessions.last_closed(pd.Timestamp("2023-09-17 00:00", tz="UTC"), "24/7") == pd.Timestamp("2023-09-16")


@pytest.mark.parametrize(
    ("day", "calendar", "stretches"),
    [
        ("2023-09-21", "XNYS", [("13:30", "20:00")]),
        ("2022-11-25", "XNYS", [("14:30", "18:00")]),  # the day after Thanksgiving
        ("2022-11-25", "XHKG", [("01:30", "04:00"), ("05:00", "08:00")]),
        ("2022-11-25", "24/7", [("00:00", "00:00")]),
        ("2023-09-16", "XNYS +2023-09-16", [("04:00", "04:00")]),  # what the library does not record: all day
    ],
)
def test_a_session_has_hours_with_its_breaks_and_early_closes(day, calendar, stretches):
    hours = sessions.hours(day, calendar)
    assert [tuple(f"{pd.Timestamp(moment, unit='us'):%H:%M}" for moment in part) for part in hours] == stretches
    assert all(0 < end - start <= 86_400_000_000 for start, end in hours)


@pytest.mark.parametrize("calendar", ["XNYS", "XHKG", "24/7", "XNYS +2023-09-16 -2023-09-18"])
def test_the_closings_are_the_ends_of_the_hours(calendar):
    days = sessions.between("2023-09-10", "2023-12-31", calendar)
    ends = [sessions.hours(day, calendar)[-1][1] * 1_000 for day in days]
    assert sessions.closings(days, calendar).asi8.tolist() == ends
    assert str(sessions.closings(days, calendar).dtype) == "datetime64[ns, UTC]"


def test_a_closed_day_has_the_name_that_the_rules_give_it():
    days = ["2026-11-26", "2026-11-28", "2012-10-29", "2026-11-27"]
    assert [sessions.closed_for(day) for day in days] == ["Thanksgiving", "Saturday", "", ""]
