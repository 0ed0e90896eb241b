"""Retention: what became of the MRR that was there."""

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
from tidemill.metrics.columns import Column, count, day, ratio
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.retention.cohort_table import CohortMeasure, cohort_table
from tidemill.metrics.windows import Windows, rate_table
from tidemill.periods import period_start

__all__ = ["Retention"]

_NRR: Final = ratio(
    "nrr",
    "The opening MRR with all that became of it; 1 is unchanged.",
    undefined="there was no MRR when the window opened",
    share=True,
)
_GRR: Final = ratio(
    "grr",
    "What is left of the opening MRR, growth put aside.",
    undefined="there was no MRR when the window opened",
    share=True,
)
_COHORT: Final = day("cohort", "The first day of the period in which its customers joined.")
_SIZE: Final = (
    count("size", "How many customers joined."),
    count("opening", "What rate divides by: the size, the new MRR, or the first period's cash."),
)
_VALUE: Final = (
    count("value", "Customers, or MRR, at the period's close; or the cash of the period."),
    Column(
        "rate",
        "ratio",
        "value over opening.",
        nullable=True,
        undefined="the cohort began with nothing to divide by",
        share=True,
    ),
)


@metric(
    "retention",
    title="Retention",
    knobs={
        "window": ("calendar", "rolling_30d"),
        "rate_population": ("start_cohort", "all_movements"),
        "grr_method": ("cohort_min", "movements"),
        "reactivation_in_nrr": ("yes", "no"),
        "nrr_window": ("month", "12m_cohort", "chained"),
        "partial_period": ("none", "linear", "compound"),
        "cohort_key": ("first_paid", "signup"),
        "cohort_activity": ("at_close", "any_in_period"),
    },
)
class Retention(Metric):
    """How much of the MRR at the start of a range of days the same customers pay at its end."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(*_NRR, default=True)
    def nrr(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Net revenue retention: the opening MRR with expansion, contraction and churn.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        windows = Windows.of(q, start, end, None, nrr=True)
        return rate_table(q, windows, [("nrr", Retained(q, windows).nrr())])

    @question(*_GRR)
    def grr(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Gross revenue retention: what is left of the opening MRR, growth put aside.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        windows = Windows.of(q, start, end, None)
        return rate_table(q, windows, [("grr", Retained(q, windows).grr())])

    @question(day("period"), *_NRR, *_GRR)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Net and gross revenue retention of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        windows = Windows.of(q, start, end, grain, nrr=True)
        retained = Retained(q, windows)
        return rate_table(q, windows, [("nrr", retained.nrr()), ("grr", retained.grr())])

    @question(_COHORT, *_SIZE, count("offset", "How many periods after the first."), *_VALUE)
    def cohorts(
        self,
        q: Query,
        start: Day = YEAR_OF_MONTHS,
        end: Day = TODAY,
        grain: Grain = "month",
        measure: CohortMeasure = "customers",
    ) -> Table:
        """What became of the customers who joined in each period, at every age.

        Args:
            start: a day of the first cohort's period.
            end: the last day looked at, included.
            grain: how long a cohort's period is.
            measure: the customers left, the MRR they pay, or the cash that came from them.
        """
        return cohort_table(q, _calendar(q, start, end, grain), measure)

    @question(_COHORT, *_SIZE, *_VALUE)
    def at_age(
        self,
        q: Query,
        age: int = 1,
        start: Day = YEAR_OF_MONTHS,
        end: Day = TODAY,
        grain: Grain = "month",
        measure: CohortMeasure = "customers",
    ) -> Table:
        """Cohort by cohort, what was left at one age: whether retention gets better.

        Args:
            age: how many periods after the first one.
            start: a day of the first cohort's period.
            end: the last day looked at, included.
            grain: how long a cohort's period is.
            measure: the customers left, the MRR they pay, or the cash that came from them.
        """
        return cohort_table(q, _calendar(q, start, end, grain), measure, age=age)


def _calendar(q: Query, start: Day, end: Day, grain: Grain) -> Calendar:
    """Whole periods from the first on: half a cohort would look like a small one."""
    return Calendar.of(period_start(start, grain), end, grain, q.policy.tz)
