"""One run a session, never two, never none, whatever zone the machine is in and whatever its clocks do."""

from __future__ import annotations

import functools
import itertools
from datetime import UTC
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ParamError
from stockkit.market import sessions
from stockkit.workbook.scheduling import timetable
from stockkit.workbook.scheduling.timetable import State, ask

FIRST, LAST = pd.Timestamp("2024-06-03", tz="UTC"), pd.Timestamp("2026-06-03", tz="UTC")
MINUTES = pd.date_range(FIRST, LAST, freq="min", unit="ns")
CALENDARS = ["XNYS", "XLON", "XTKS", "XSAU", "24/7", "XNYS +2024-11-30 -2024-12-02 -2024-12-03"]
ZONES = ["UTC", "America/New_York", "Australia/Sydney"]
MACHINES = [*itertools.product(CALENDARS, ZONES), ("XNYS", "Australia/Lord_Howe"), ("XNYS", "Asia/Kathmandu")]


def table_of(calendar, at="close+30m", around=FIRST, ahead=LAST - FIRST):
    return timetable.timetable(calendar, timetable.parse(at), around, ahead)


@functools.cache
def two_years(calendar, at="close+30m"):
    return table_of(calendar, at)


@functools.cache
def clock(zone):
    """Minute of the hour and minute of the day, on a zone's clock, of every minute of two years."""
    there = MINUTES.tz_convert(zone)
    return there.minute, there.hour * 60 + there.minute


def asked(table, moments, state):
    """The answers of one schedule that is asked at these moments: those that say something, with their moment."""
    given = []
    for now in moments:
        answer = ask(table, state, now)
        state = answer.state
        if answer.text:
            given.append((now, answer))
    return given


@functools.cache
def through_two_years(calendar, at, fires):
    """The same, where it is asked at these minutes, by number; several zones have the same."""
    return asked(two_years(calendar, at), MINUTES[np.frombuffer(fires, "int64")], State(FIRST))


def check_runs(given, calendar, at):
    """Each session that is due within the two years has one run, at its minute."""
    table = two_years(calendar, at)
    among = (table.due > FIRST) & (table.due <= LAST)
    ran = [(answer.session, now) for now, answer in given if answer.session]
    assert [now for _, now in ran] == list(table.due[among])
    assert [session for session, _ in ran] == [str(day.date()) for day in table.days[among]]
    assert len(ran) > 450


@pytest.mark.parametrize(("calendar", "zone"), MACHINES)
def test_cron_makes_one_run_a_session_at_the_minute_it_is_due(calendar, zone):
    minutes = two_years(calendar).minutes(FIRST, ZoneInfo(zone))
    fires = np.flatnonzero(np.isin(clock(zone)[0], minutes))
    given = through_two_years(calendar, "close+30m", fires.astype("int64").tobytes())
    check_runs(given, calendar, "close+30m")
    closed = [answer.state.closed for _, answer in given if not answer.session]
    assert len(set(closed)) == len(closed)
    assert len(given) == pytest.approx((LAST - FIRST).days, abs=1)  # of each day one word


@pytest.mark.parametrize(
    ("calendar", "at"),
    [*itertools.product(CALENDARS[1:], ["18:30"]), ("XNYS", "close+12h"), ("24/7", "close+12h"), ("CMES", "02:30")],
)
def test_systemd_makes_one_run_a_session_at_the_minute_it_is_due(calendar, at):
    table = two_years(calendar, at)
    times = [60 * int(time[:2]) + int(time[3:]) for time in table.times(FIRST)]
    fires = MINUTES[np.isin(clock(table.zone)[1], times)]
    check_runs(asked(table, fires, State(FIRST)), calendar, at)


def test_an_early_close_brings_its_run_forward_and_a_time_of_the_clock_stays():
    on = pd.Timestamp("2026-11-27")
    for at, due in (("close+30m", "2026-11-27 18:30"), ("18:30", "2026-11-27 23:30")):
        table = table_of("XNYS", at, pd.Timestamp("2026-11-20", tz="UTC"))
        assert table.due[table.days.get_loc(on)] == pd.Timestamp(due, tz="UTC")


def test_a_time_before_the_close_is_of_the_day_after():
    table = table_of("XNYS", "06:00", pd.Timestamp("2026-11-20", tz="UTC"))
    assert table.due[table.days.get_loc("2026-11-20")] == pd.Timestamp("2026-11-21 11:00", tz="UTC")


THANKSGIVING = "XNYS is closed on 2026-11-26 (Thanksgiving), the next session is 2026-11-27."


def test_a_closed_day_is_named_once_with_its_holiday_and_the_next_session():
    table = table_of("XNYS", around=pd.Timestamp("2026-11-20", tz="UTC"))
    hours = pd.date_range("2026-11-25 22:00", "2026-11-27 12:00", freq="30min", tz="UTC", unit="ns")
    shown = asked(table, hours, State(hours[0], "2026-11-25"))
    assert [(now, answer.text) for now, answer in shown] == [(pd.Timestamp("2026-11-26 21:30", tz="UTC"), THANKSGIVING)]


@pytest.mark.parametrize(
    ("calendar", "day", "says"),
    [
        ("XNYS", "2026-11-28", "(Saturday), the next session is 2026-11-30"),
        ("XSAU", "2026-11-27", "(Friday), the next session is 2026-11-29"),
        ("XTKS", "2026-11-03", "(Culture Day), the next session is 2026-11-04"),
        ("XNYS -2026-11-25", "2026-11-25", "XNYS is closed on 2026-11-25, the next session is 2026-11-27"),
    ],
)
def test_a_closed_day_has_the_reason_that_the_calendar_knows(calendar, day, says):
    noon = pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=23)
    table = table_of(calendar, around=noon)
    (_, answer), *_ = asked(table, [noon], State(noon - pd.Timedelta(hours=20), "2026-10-01"))
    assert says in answer.text


def at(text):
    return pd.Timestamp(text, tz="UTC")


def test_a_machine_that_was_off_makes_one_run_for_all_the_sessions_and_says_how_many_had_none():
    table = table_of("XNYS", around=at("2026-11-20"))
    monday = at("2026-11-23 14:00")  # before the session of that day
    given = asked(table, [monday, monday, monday + pd.Timedelta(hours=1)], State(at("2026-11-01"), "2026-11-18"))
    assert [answer.session for _, answer in given] == ["2026-11-20", ""]  # and that Sunday was closed
    answer = given[0][1]
    assert "1 before it had no run" in answer.text


def test_what_was_due_before_the_schedule_was_made_is_not_run():
    table, saturday = table_of("XNYS", around=at("2026-11-20")), at("2026-11-21 12:00")
    assert not any(answer.session for _, answer in asked(table, [saturday], State(saturday)))
    assert ask(table, None, saturday).session == ""
    assert ask(table, None, at("2026-11-20 21:45")).session == "2026-11-20"  # pasted by hand, asked for the first time


def test_a_clock_that_is_set_back_makes_no_second_run():
    table, evening = table_of("XNYS", around=at("2026-11-20")), at("2026-11-20 21:30")
    moments = [evening, evening - pd.Timedelta(days=2), evening, evening + pd.Timedelta(hours=1)]
    assert [answer.session for _, answer in asked(table, moments, State(at("2026-11-20"))) if answer.session] == [
        "2026-11-20"
    ]


def test_a_calendar_whose_record_ends_says_so_and_is_no_success():
    last = sessions.every("XSAU")[-1]
    day = last + pd.Timedelta(days=6)
    table = table_of("XSAU", around=day.tz_localize("UTC"))
    answer = ask(table, State(last.tz_localize("UTC"), str(last.date())), day.tz_localize("UTC"))
    assert answer.ended
    assert f"recorded until {last.date()}" in answer.text
    with pytest.raises(ParamError, match="is recorded until"):
        table_of("XSAU", around=at("2034-01-01"))


@pytest.mark.parametrize(
    "text", ["", "close+", "close-5m", "close+13h", "close+30", "open+5m", "24:00", "9:30", "18:30 UTC", "18:3０"]
)
def test_what_is_no_time_after_a_session_is_refused(text):
    with pytest.raises(ParamError, match="is no time after a session"):
        timetable.parse(text)


def test_the_minutes_are_those_of_the_machines_clock():
    table = two_years("XNYS")
    assert table.minutes(FIRST, UTC) == [30]
    assert table.minutes(FIRST, ZoneInfo("Asia/Kathmandu")) == [15]
    assert table.minutes(FIRST, ZoneInfo("Australia/Lord_Howe")) == [0, 30]
    assert table.times(FIRST) == ["13:30", "16:30"]
