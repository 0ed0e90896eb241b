"""Quick ratio: MRR gained over MRR lost."""

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
from tidemill.metrics.columns import day, ratio
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.windows import Windows, rate_table

__all__ = ["QuickRatio"]

_RATIO: Final = ratio(
    "quick_ratio",
    "MRR gained for each unit of MRR lost.",
    undefined="nothing was lost, by contraction or by churn",
)


@metric(
    "quick_ratio",
    title="Quick ratio",
    knobs={
        "window": ("calendar", "rolling_30d"),
        "quick_ratio_reactivation": ("yes", "no"),
    },
)
class QuickRatio(Metric):
    """How much MRR was gained for each unit of MRR lost."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(*_RATIO, default=True)
    def current(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """The quick ratio over a range of days.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        windows = Windows.of(q, start, end, None)
        return rate_table(q, windows, [("quick_ratio", Retained(q, windows).quick_ratio())])

    @question(day("period"), *_RATIO)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """The quick ratio of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        windows = Windows.of(q, start, end, grain)
        return rate_table(q, windows, [("quick_ratio", Retained(q, windows).quick_ratio())])
