"""ASP: average sale price."""

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
from tidemill.metrics.columns import average, day
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.windows import Windows, rate_table

__all__ = ["Asp"]

_ASP: Final = average(
    "asp", "New MRR for each new customer.", undefined="nobody was new in the window"
)


@metric("asp", title="Average sale price", knobs={"window": ("calendar", "rolling_30d")})
class Asp(Metric):
    """What a new customer pays a month when it joins, on average."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(*_ASP, default=True)
    def current(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """The average sale price over a range of days.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return _table(q, Windows.of(q, start, end, None))

    @question(day("period"), *_ASP)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """The average sale price of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return _table(q, Windows.of(q, start, end, grain))


def _table(q: Query, windows: Windows) -> Table:
    retained = Retained(q, windows)
    sale = retained.sale_price()
    return rate_table(q, windows, [("asp", sale)], warnings=retained.presence.warnings)
