"""The group `calendar`: where a session stands in its week, its month and before holidays.

Only what was known beforehand counts: the exchange's regular weekdays and rule-bound holidays. What its calendar
records as ad hoc, such as the closing for a storm or a funeral, is no holiday here: nobody knew a week earlier. (So
are the lunar holidays of exchanges whose calendar lists them one by one.) Nothing here knows of earnings dates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from stockkit.features.feature import Arrays, Feature
from stockkit.features.windows import change
from stockkit.imports import numpy as np
from stockkit.market import sessions


def _weekday(a: Arrays) -> np.ndarray:
    return ((a.day + 3) % 7).astype("float64")  # 1970-01-01 was a Thursday


@lru_cache(maxsize=8)
def _known(calendar: str) -> dict[str, np.ndarray]:
    """For every day from `FIRST` on: the number of its session in the month, those left of it, and to a holiday."""
    days = np.arange(sessions.FIRST, sessions.LAST, dtype="datetime64[D]")
    number, month = days.astype("int64"), days.astype("datetime64[M]")
    open_days, holidays = sessions.scheduled(calendar), sessions.scheduled_holidays(calendar)
    done = open_days.searchsorted(number, side="right")
    before = open_days.searchsorted(month.astype("datetime64[D]").astype("int64"))
    after = open_days.searchsorted((month + 1).astype("datetime64[D]").astype("int64"))
    at = holidays.searchsorted(number, side="right")
    holiday = np.append(open_days.searchsorted(holidays).astype("float64"), np.nan)[at]
    return {"done": done - before, "left": after - done, "holiday": holiday - done}


def _of(what: str) -> Callable[[Arrays], np.ndarray]:
    """A look-up in what is known beforehand of each day; NaN for days out of its range."""

    def look_up(a: Arrays) -> np.ndarray:
        known = _known(a.calendar)[what]
        at = a.day - int(np.datetime64(sessions.FIRST, "D").astype("int64"))
        inside = (at >= 0) & (at < len(known))
        return np.where(inside, known[np.where(inside, at, 0)], np.nan)

    return look_up


FEATURES = (
    Feature("weekday", _weekday, 0, "0 Monday to 6", "day of the week", "calendar", "calendar"),
    Feature("month_session", _of("done"), 0, "sessions", "number of the session in its month, from 1",
            "exchange calendar", "calendar"),
    Feature("month_left", _of("left"), 0, "sessions", "sessions left in the month, 0 on its last",
            "exchange calendar; Ariel 1987", "calendar"),
    Feature("holiday_left", _of("holiday"), 0, "sessions", "sessions left before the next scheduled holiday",
            "exchange calendar; Ariel 1990", "calendar"),
    Feature("days_since", lambda a: change(a.day, 1), 1, "days", "calendar days since the symbol's last session",
            "French 1980", "calendar"),
)  # fmt: skip
