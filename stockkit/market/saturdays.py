"""The Saturdays on which New York traded, until the end of September 1952; the calendar library knows none of them.

Source: "NYSE Closings", the exchange's own list of special closings, for those that no yearly rule gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

LAST = "1952-09-27"
SUMMERS = (
    ("1944-08-19", "1944-09-02"), ("1945-07-07", "1945-09-01"), ("1946-06-01", "1946-09-28"),
    ("1947-05-31", "1947-09-27"), ("1948-05-29", "1948-09-25"), ("1949-05-28", "1949-09-24"),
    ("1950-06-03", "1950-09-30"), ("1951-06-02", "1951-09-29"), ("1952-05-31", "1952-09-27"),
)  # fmt: skip
CLOSED = (
    "1928-04-07", "1928-04-21", "1928-05-05", "1928-05-12", "1928-05-19", "1928-05-26", "1928-11-24", "1929-02-09",
    "1929-02-23", "1929-03-30", "1929-08-31", "1929-11-02", "1929-11-09", "1929-11-16", "1929-11-23", "1929-11-30",
    "1930-04-19", "1930-05-31", "1930-07-05", "1930-08-30", "1931-09-05", "1931-12-26", "1932-07-02", "1933-01-07",
    "1933-03-04", "1933-03-11", "1933-07-29", "1933-08-05", "1933-08-12", "1933-08-19", "1933-08-26", "1933-09-02",
    "1936-12-26", "1937-05-29", "1937-07-03", "1945-04-14", "1945-10-13", "1945-10-27", "1946-02-23", "1946-05-25",
    "1948-01-03", "1949-12-24", "1950-12-23",
)  # fmt: skip
HOLIDAYS = ("01-01", "02-12", "02-22", "05-30", "07-04", "10-12", "11-11", "12-25")  # Armistice Day since 1934


def traded(calendar: Any) -> pd.DatetimeIndex:
    """The Saturdays with a session, from the first session of the library's `calendar` of New York on."""
    days = pd.date_range(calendar.first_session, LAST, freq="W-SAT")
    feast = days.strftime("%m-%d").isin(HOLIDAYS) & ~((days.strftime("%m-%d") == "11-11") & (days.year < 1934))
    summer = np.zeros(len(days), bool)
    for start, end in SUMMERS:
        summer |= (days >= start) & (days <= end)
    return days[~(feast | summer | days.isin(pd.DatetimeIndex(list(CLOSED))))].as_unit("ns")
