"""Customers: how many pay."""

from __future__ import annotations

from tidemill.metrics.base import TODAY, YEAR_OF_MONTHS, Day, Grain, Metric, Table, metric, question
from tidemill.metrics.columns import count, day
from tidemill.metrics.levels import customers_at, customers_by_period
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query

__all__ = ["Customers"]


@metric("customers", title="Active customers")
class Customers(Metric):
    """How many customers are active, each counted once however many subscriptions they hold."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(count("customers", "Active at the close of the day."), default=True, standing=True)
    def current(self, q: Query, at: Day = TODAY) -> Table:
        """Active customers at the close of a day.

        Args:
            at: the day; a later one than today gives what is committed so far.
        """
        return customers_at(q, at)

    @question(day("period"), count("customers", "Active at the period's close."))
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Active customers at the close of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return customers_by_period(q, start, end, grain)
