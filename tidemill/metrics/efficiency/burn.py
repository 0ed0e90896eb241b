"""The burn multiple: what it cost, in cash, to grow ARR."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from sqlalchemy import case

from tidemill.metrics.annual import times_a_year
from tidemill.metrics.base import Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cash_flow import net_cash
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.spending import ALL_COSTS, Spending
from tidemill.metrics.windows import Rate, Windows, window_table
from tidemill.periods import Grain

__all__ = ["burn_table"]


def burn_table(q: Query, start: date, end: date, grain: Grain) -> Table:
    """One row a period: burn_multiple with both sides; null where ARR did not grow.

    Formula: (all costs - net cash flow) / net new ARR.
    """
    windows = Windows(Calendar.of(start, end, grain, q.policy.tz), rolling=False)
    spending = Spending(q, windows, among=ALL_COSTS)
    cash, moved = net_cash(q, windows), Retained(q, windows).net_new()
    gained = moved.top * times_a_year(q)
    parts = (spending.part, cash, *moved.parts)
    multiple = Rate(spending.of(ALL_COSTS) - cash.of("net"), gained, parts)
    value = case((gained > 0, multiple.value))
    table = window_table(q, windows, multiple.columns("burn_multiple", value), parts)
    # A rate that is missing for cash would look like costs that are not known.
    needs = (*(replace(need, eager=True) for need in cash.needs), *table.needs)
    return replace(table, needs=needs, checks=(spending.known("burn_multiple_numerator"),))
