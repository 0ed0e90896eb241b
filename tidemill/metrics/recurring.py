"""Recurring revenue: MRR day by day, as far as subscriptions alone can tell revenue.

A day brings the share of the MRR at its close that it is of its month, at the rate of the day. MRR
that stays the same for a whole month is exactly that month's revenue. It is neither what was
invoiced nor what accountants recognise: nothing that does not recur is in it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, DateTime, Integer, case, cast, extract, func, select

from tidemill.metrics.annual import times_a_year
from tidemill.metrics.base import RateNeed
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.levels import money_of, running, valued
from tidemill.metrics.query import Query
from tidemill.metrics.rates import whole_sum
from tidemill.metrics.windows import Part, Windows

__all__ = ["recurring_revenue"]

_MONTHS = 12


def recurring_revenue(q: Query, windows: Windows) -> Part:
    """The recurring revenue of every window.

    Formula: the sum over its days of MRR at the day's close / days of the day's month.
    Shape:   group columns, place, revenue (base currency, exact minor units).
    """
    calendar = Calendar.of(windows.first_day, windows.end, "day", q.policy.tz)
    summed = q.summed
    level = valued(q, running(summed, calendar, calendar.cte(), money_of(summed)))
    day = windows.days
    month = cast(func.date_trunc("month", cast(day.c.day, DateTime)), DateTime)
    keys = [*q.group_columns(level), day.c.place, month.label("month")]
    # By months first: their days divide a sum of them, and a whole month comes out even.
    monthly = (
        select(*keys, whole_sum(level.c.level, level.c.factor).label("daily"))
        .join_from(level, day, day.c.day == level.c.closes_on)
        .group_by(*keys)
        .subquery("month_of_days")
    )
    line = [*q.group_columns(monthly), monthly.c.place]
    value = monthly.c.daily * times_a_year(q) / (_days(monthly.c.month) * _MONTHS)
    rows = (
        select(*line, case((func.bool_and(value.is_not(None)), func.sum(value))).label("revenue"))
        .group_by(*line)
        .cte("recurring_revenue")
    )
    lacking = select(level.c.native_currency, level.c.closes_on).where(
        level.c.place > 0, level.c.level != 0, level.c.factor.is_(None)
    )
    return Part(rows, (RateNeed(lacking.distinct()),))


def _days(month: ColumnElement[Any]) -> ColumnElement[int]:
    """How many days a month has."""
    return cast(extract("day", month + func.make_interval(0, 1, 0, -1)), Integer)
