"""The magic number: what a quarter's sales and marketing brought in the quarter after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Final, Literal

from sqlalchemy import func, select

from tidemill.metrics.annual import times_a_year
from tidemill.metrics.base import Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.query import Query
from tidemill.metrics.recurring import recurring_revenue
from tidemill.metrics.retained import Retained
from tidemill.metrics.spending import FULLY_LOADED, Spending
from tidemill.metrics.windows import Part, Rate, Windows, rate_table
from tidemill.periods import add_months, next_period_start, period_start

__all__ = ["Basis", "Quarters", "magic_table"]

Basis = Literal["revenue", "arr"]
"""What growth is of: recurring revenue, or ARR."""

Quarters = Literal["quarter"]
"""The one grain of the magic number."""

_QUARTERS: Final = 4
_MONTHS: Final = 3
_DAY: Final = timedelta(days=1)


def magic_table(q: Query, start: date, end: date, grain: Quarters, basis: Basis) -> Table:
    """One row a quarter: period, magic_number with both sides.

    Formula: 4 x (revenue of the quarter - revenue of the one before) / sales and marketing of the
             one before; by ARR, net new ARR of the quarter / the same.
    """
    first = period_start(start, grain)
    last = next_period_start(period_start(end, grain), grain) - _DAY
    before = (add_months(first, -_MONTHS) - _DAY, first - _DAY)
    windows = Windows(Calendar.of(first, last, grain, q.policy.tz), False, (before,))
    spending = Spending(q, windows, lag=_MONTHS)
    if basis == "arr":
        moved = Retained(q, windows).net_new()
        top, parts = moved.top * times_a_year(q), moved.parts
    else:
        part = _growth(q, windows)
        top, parts = part.of("growth") * _QUARTERS, (part,)
    rate = Rate(top, spending.of(FULLY_LOADED), (spending.part, *parts))
    table = rate_table(q, windows, [("magic_number", rate)])
    return replace(table, checks=(spending.known("magic_number_denominator"),))


def _growth(q: Query, windows: Windows) -> Part:
    """By how much recurring revenue grew from the quarter before each: place, growth."""
    part, window = recurring_revenue(q, windows), windows.cte
    revenue = part.of("revenue")
    before = func.lag(revenue).over(order_by=window.c.eve)
    rows = select(window.c.place, (revenue - before).label("growth"))
    same = part.rows.c.place == window.c.place
    return Part(rows.select_from(window.outerjoin(part.rows, same)).cte("growth"), part.needs)
