"""Cash: what customers paid, and what went back to them."""

from __future__ import annotations

from typing import Final

from tidemill.metrics.base import (
    MONTH_START,
    TODAY,
    YEAR_OF_MONTHS,
    Day,
    Grain,
    Metric,
    Table,
    metric,
    question,
)
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.columns import day, instant, money, text
from tidemill.metrics.listing import amounts, listed
from tidemill.metrics.payment_cube import (
    DISPUTE,
    FEE,
    NET_CASH,
    PAYMENT,
    PAYMENT_ROWS,
    PAYMENT_SUMS,
    PAYMENTS,
    REFUND,
)
from tidemill.metrics.query import Query
from tidemill.metrics.sums import sum_table

__all__ = ["Cash"]

_COLUMNS: Final = (
    money("net", "Payments less refunds and disputes; fees are not taken off."),
    money("payments", "Gross volume: all successful payments."),
    money("refunds", "Negative."),
    money("disputes", "Negative."),
    money("fees", "What the payment provider kept, as far as it says; negative."),
)
_AMOUNTS: Final = {
    "net": NET_CASH,
    "payments": (PAYMENT,),
    "refunds": (REFUND,),
    "disputes": (DISPUTE,),
    "fees": (FEE,),
}


@metric("cash", title="Net cash flow")
class Cash(Metric):
    """What customers paid, less what went back to them, on the days it moved."""

    cube = PAYMENTS
    rows = PAYMENT_ROWS
    facts = (PAYMENT_SUMS,)
    listing = ("cash", "transactions")

    @question(*_COLUMNS, default=True)
    def net(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Net cash flow of a range of days, and what it is made of.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return sum_table(q, Calendar.of(start, end, None, q.policy.tz), _AMOUNTS)

    @question(day("period"), *_COLUMNS)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Net cash flow of every period, and what it is made of.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return sum_table(q, Calendar.of(start, end, grain, q.policy.tz), _AMOUNTS)

    @question(
        day("day", "The calendar day on which it moved."),
        instant("occurred_at", "When it moved, or failed to."),
        text("customer", "The customer's id in the billing system."),
        text("kind", "payment, refund, dispute, fee, or failure (which moved nothing)."),
        money("amount", "In base currency, at the rate of the day; signed."),
        text("currency", "The currency it was in."),
        money("native_amount", "In its own currency; signed.", currency_column="currency"),
        text("invoice", "The invoice it was for."),
        text("payment", "Its id in the billing system."),
        text("event_id", "The event that told of it."),
        lists=True,
    )
    def transactions(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Every payment, refund, dispute, fee and failed attempt of a range.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return listed(q, start, end, amounts(q, "kind", "invoice", "payment"))
