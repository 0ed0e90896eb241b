"""ARPA: average revenue per account."""

from __future__ import annotations

from typing import Final

from tidemill.metrics.base import (
    TODAY,
    YEAR_OF_MONTHS,
    Behind,
    Day,
    Grain,
    Metric,
    Table,
    metric,
    question,
)
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.columns import average, day
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.paying import Paying
from tidemill.metrics.query import Query
from tidemill.metrics.windows import Windows, rate_table

__all__ = ["Arpa"]

_ARPA: Final = average(
    "arpa", "MRR for each active customer.", undefined="there was no customer to divide by"
)


@metric("arpa", title="Average revenue per account")
class Arpa(Metric):
    """What a paying customer pays a month, on average."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(*_ARPA, default=True)
    def current(self, q: Query, at: Day = TODAY) -> Table:
        """ARPA at the close of a day.

        Args:
            at: the day; a later one than today gives what is committed so far.
        """
        return _table(q, Calendar.of(at, at, None, q.policy.tz))

    @question(day("period"), *_ARPA)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """ARPA at the close of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return _table(q, Calendar.of(start, end, grain, q.policy.tz))


def _table(q: Query, calendar: Calendar) -> Table:
    # A level stands at a close: no window of days, and no knob about one, bears on it.
    windows = Windows(calendar, rolling=False)
    paying = Paying(q, windows)
    return rate_table(
        q,
        windows,
        [("arpa", paying.arpa())],
        behind=Behind(None, calendar.end),
        warnings=paying.warnings,
    )
