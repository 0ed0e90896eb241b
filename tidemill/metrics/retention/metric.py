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
    day,
    metric,
    question,
    ratio,
)
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.windows import Windows, rate_table

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


@metric(
    "retention",
    title="Revenue retention",
    knobs={
        "window": ("calendar", "rolling_30d"),
        "rate_population": ("start_cohort", "all_movements"),
        "grr_method": ("cohort_min", "movements"),
        "reactivation_in_nrr": ("yes", "no"),
        "nrr_window": ("month", "12m_cohort", "chained"),
        "partial_period": ("none", "linear", "compound"),
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
