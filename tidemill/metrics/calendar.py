"""The periods of an answer as SQL: every one present, also the quiet ones, and the time before.

Periods are worked out in Python (`periods.periods`) and handed to the statement as three arrays.
A movement finds its period by its stored calendar day alone, so the session's time zone cannot
matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    DateTime,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.metrics.base import Grain
from tidemill.periods import Period, instants, periods

__all__ = ["BEFORE", "Calendar"]

BEFORE: Final = date(1, 1, 1)
"""Key of the time before the range; its level is the opening."""


@dataclass(frozen=True)
class Calendar:
    """The periods of a range of days; without a grain the whole range is one."""

    periods: tuple[Period, ...]
    grain: Grain | None

    @classmethod
    def of(cls, start: date, end: date, grain: Grain | None, tz: str) -> Calendar:
        """The calendar of the days from `start` to `end`, both included."""
        if grain is None:
            over = instants(start, end, tz).end_exclusive
            return cls((Period(start, start, end, over),), None)
        return cls(tuple(periods(start, end, grain, tz=tz)), grain)

    @property
    def start(self) -> date:
        """The first day."""
        return self.periods[0].start

    @property
    def end(self) -> date:
        """The last day."""
        return self.periods[-1].end

    def cte(self) -> CTE:
        """One row a period: place (0 is the time before), key, closes_on (its last day)."""
        eve = self.start - timedelta(days=1)
        keys = [BEFORE, *(period.key for period in self.periods)]
        closes = [eve, *(period.end for period in self.periods)]
        days = ARRAY(Date)
        listed = func.unnest(cast(literal(keys, days), days), cast(literal(closes, days), days))
        rows = listed.table_valued(
            column("key", Date), column("closes_on", Date), with_ordinality="number", name="listed"
        ).render_derived()
        return select((rows.c.number - 1).label("place"), rows.c.key, rows.c.closes_on).cte(
            "period"
        )

    def key_of(self, day: ColumnElement[Any]) -> ColumnElement[Any]:
        """The key of the period that a calendar day belongs to."""
        before = cast(literal(BEFORE), Date)
        return case((day < self.start, before), else_=self._key(day))

    def within(self, day: ColumnElement[Any]) -> ColumnElement[bool]:
        """That a calendar day is in the range."""
        return and_(day >= self.start, day <= self.end)

    def _key(self, day: ColumnElement[Any]) -> ColumnElement[Any]:
        if self.grain is None:
            return cast(literal(self.start), Date)
        if self.grain == "day":
            return day
        # Through a timestamp without zone: a bare date would be read in the session's zone.
        return cast(func.date_trunc(self.grain, cast(day, DateTime)), Date)
