"""Twelve months to a day, and those that net revenue retention may look at (`nrr_window`)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from tidemill.metrics.calendar import Calendar
from tidemill.periods import add_months
from tidemill.policy import Policy

__all__ = ["months_to", "nrr_windows", "year_to"]

_DAY: Final = timedelta(days=1)
_YEAR: Final = 12


def nrr_windows(calendar: Calendar, policy: Policy) -> tuple[tuple[date, date], ...]:
    """The windows that `nrr_window` adds, as eve and last day, in the order of time.

    12m_cohort: for every period the twelve months that end with it. chained: each of these months,
    once; two periods share some.
    """
    if policy.nrr_window == "month":
        return ()
    ends = [period.end for period in calendar.periods]
    if policy.nrr_window == "12m_cohort":
        return tuple((_back(end, _YEAR), end) for end in ends)
    return tuple(sorted({month for end in ends for month in months_to(end)}))


def months_to(end: date) -> tuple[tuple[date, date], ...]:
    """The twelve months that end with a day, the first one first."""
    return tuple((_back(end, months), _back(end, months - 1)) for months in range(_YEAR, 0, -1))


def year_to(end: date) -> date:
    """The first day of the twelve months that end with a day.

    >>> year_to(date(2025, 6, 30))
    datetime.date(2024, 7, 1)
    """
    return _back(end, _YEAR) + _DAY


def _back(day: date, months: int) -> date:
    """The day at whose close a span of some months that ends with `day` opens.

    >>> _back(date(2025, 6, 30), 1), _back(date(2025, 2, 28), 12)
    (datetime.date(2025, 5, 31), datetime.date(2024, 2, 29))
    """
    return add_months(day + _DAY, -months) - _DAY
