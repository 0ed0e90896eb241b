"""Payments that failed, and how many of them were recovered."""

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
from tidemill.metrics.columns import count, day, money, ratio
from tidemill.metrics.payment_cube import PAYMENTS
from tidemill.metrics.payments.attempts import (
    ATTEMPTS,
    FAILED,
    FAILURE,
    FAILURE_SUMS,
    FOLLOWED,
    RECOVERED,
)
from tidemill.metrics.query import Query
from tidemill.metrics.sums import sum_table

__all__ = ["Payments"]

_COLUMNS: Final = (
    count("attempts", "Attempts that failed."),
    count("failed", "Invoices of which an attempt failed, on the day of the first."),
    money("failed_amount", "What these were about."),
    count(
        "followed", "Those that say what they were for, so that it can be told what became of them."
    ),
    count("recovered", "Those that were paid afterwards, so far."),
    money("recovered_amount", "What those were about."),
    *ratio(
        "recovery_rate",
        "Share of what failed and can be followed that was paid afterwards, so far.",
        undefined="no failed payment says what it was for, if any failed",
        of="count",
        share=True,
    ),
)
_AMOUNTS: Final = {"failed_amount": (FAILED,), "recovered_amount": (RECOVERED,)}
_COUNTS: Final = {
    "attempts": (FAILURE,),
    "failed": (FAILED,),
    "followed": (FOLLOWED,),
    "recovered": (RECOVERED,),
}
_RATIOS: Final = {"recovery_rate": ("recovered", "followed")}


@metric("payments", title="Failed payments")
class Payments(Metric):
    """Payments that failed, and what became of them."""

    cube = PAYMENTS
    rows = ATTEMPTS
    facts = (FAILURE_SUMS,)
    listing = ("cash", "transactions")

    @question(*_COLUMNS, default=True)
    def failed(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """What failed first in a range of days, and how much of it has been recovered since.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        calendar = Calendar.of(start, end, None, q.policy.tz)
        return sum_table(q, calendar, _AMOUNTS, _COUNTS, _RATIOS)

    @question(day("period"), *_COLUMNS)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """What failed first in every period, and how much of it has been recovered since.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        calendar = Calendar.of(start, end, grain, q.policy.tz)
        return sum_table(q, calendar, _AMOUNTS, _COUNTS, _RATIOS)
