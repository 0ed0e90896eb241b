"""ARR: annual recurring revenue."""

from __future__ import annotations

from tidemill.ledger import Measure
from tidemill.metrics.annual import ARR_BASES, annual_measure, times_a_year
from tidemill.metrics.base import TODAY, YEAR_OF_MONTHS, Day, Grain, Metric, Table, metric, question
from tidemill.metrics.columns import day, money
from tidemill.metrics.levels import money_at, money_by_period
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.policy import Policy

__all__ = ["Arr"]


@metric(
    "arr",
    title="Annual recurring revenue",
    knobs={"arr_basis": ARR_BASES},
)
class Arr(Metric):
    """What all counted subscriptions are worth a year: twelve times MRR."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @classmethod
    def ledger_measure(cls, policy: Policy) -> Measure:
        """Under the contract bases the ledger itself measures a year's value."""
        return annual_measure(policy)

    @question(money("arr", "ARR at the close of the day."), default=True, standing=True)
    def current(self, q: Query, at: Day = TODAY) -> Table:
        """ARR at the close of a day.

        Args:
            at: the day; a later one than today gives what is committed so far.
        """
        return money_at(q, at, "arr", times=times_a_year(q))

    @question(day("period"), money("arr", "ARR at the period's close."))
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """ARR at the close of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return money_by_period(q, start, end, grain, "arr", times=times_a_year(q))
