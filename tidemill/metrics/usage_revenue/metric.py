"""Usage revenue: what was charged for usage, by the month of the invoice."""

from __future__ import annotations

from typing import Final

from tidemill.metrics.base import (
    MONTH_START,
    TODAY,
    YEAR_OF_MONTHS,
    Day,
    Grain,
    Metric,
    Rows,
    Table,
    metric,
    question,
)
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.columns import day, instant, money, text
from tidemill.metrics.listing import amounts, listed
from tidemill.metrics.query import Query
from tidemill.metrics.sums import sum_table
from tidemill.metrics.usage_revenue.cube import USAGE, USAGE_LINE, usage_rows

__all__ = ["UsageRevenue"]

_COLUMN: Final = money("usage_revenue", "Finalised usage charges, as invoiced.")
_AMOUNTS: Final = {"usage_revenue": (USAGE_LINE,)}


@metric("usage_revenue", title="Usage revenue")
class UsageRevenue(Metric):
    """What customers were charged for usage, as invoiced; it is no part of MRR by default."""

    cube = USAGE
    rows = Rows(usage_rows)
    listing = ("usage_revenue", "charges")

    @question(_COLUMN, default=True)
    def total(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Usage revenue of a range of days.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return sum_table(q, Calendar.of(start, end, None, q.policy.tz), _AMOUNTS)

    @question(day("period"), _COLUMN)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Usage revenue of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return sum_table(q, Calendar.of(start, end, grain, q.policy.tz), _AMOUNTS)

    @question(
        day("day", "The calendar day of the invoice."),
        instant("occurred_at", "When the invoice was issued."),
        text("customer", "The customer's id in the billing system."),
        text("plan", "The plan's id in the billing system."),
        money("amount", "In base currency, at the rate of the day."),
        text("currency", "The currency it was charged in."),
        money("native_amount", "In its own currency.", currency_column="currency"),
        text("invoice", "The invoice it is on."),
        text("item", "The item of the subscription it is for."),
        text("event_id", "The event that told of the invoice last."),
        lists=True,
    )
    def charges(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Every usage charge of a range.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return listed(q, start, end, amounts(q, "plan", "invoice", "item"))
