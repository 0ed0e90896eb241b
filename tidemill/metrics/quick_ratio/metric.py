"""Quick ratio: MRR gained over MRR lost."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, func

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
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.flows import Flow, flow_table
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.vocabulary import MovementType

__all__ = ["QuickRatio"]

_RATIO: Final = ratio(
    "quick_ratio",
    "MRR gained for each unit of MRR lost.",
    undefined="nothing was lost, by contraction or by churn",
)


@metric(
    "quick_ratio",
    title="Quick ratio",
    knobs={"quick_ratio_reactivation": ("yes", "no")},
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
        calendar = Calendar.of(start, end, None, q.policy.tz)
        return flow_table(q, calendar, lambda _, flow: _ratio(q, flow))

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

        def columns(period: CTE, flow: Flow) -> list[ColumnElement[Any]]:
            return [period.c.key.label("period"), *_ratio(q, flow)]

        return flow_table(q, Calendar.of(start, end, grain, q.policy.tz), columns)


def _ratio(q: Query, flow: Flow) -> list[ColumnElement[Any]]:
    gains = [MovementType.NEW, MovementType.EXPANSION]
    if q.policy.quick_ratio_reactivation == "yes":
        gains.append(MovementType.REACTIVATION)
    gained = flow.of(*gains)
    lost = -flow.of(MovementType.CONTRACTION, MovementType.CHURN)
    return [
        (gained / func.nullif(lost, 0)).label("quick_ratio"),
        gained.label("quick_ratio_numerator"),
        lost.label("quick_ratio_denominator"),
    ]
