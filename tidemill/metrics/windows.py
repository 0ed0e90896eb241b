"""Windows: the days that a rate looks at, and the table of one rate a window.

A rate compares what was there at the close of the day before the window (its *eve*) with what
became of it by the window's last day. By the knob `window` that is the asked period itself, or the
30 days that end with it, whatever the period's length; such windows may overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    FromClause,
    Integer,
    Numeric,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    select,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.metrics.base import Behind, Grain, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.query import Query
from tidemill.periods import Period

__all__ = ["Part", "Rate", "Windows", "rate_table"]

_ROLLING: Final = timedelta(days=30)
_DAY: Final = timedelta(days=1)
_DATES: Final = ARRAY(Date)


@dataclass(frozen=True)
class Windows:
    """The windows of a range's periods, in the order of time; without a grain there is one."""

    calendar: Calendar
    rolling: bool

    @classmethod
    def of(cls, q: Query, start: date, end: date, grain: Grain | None) -> Windows:
        """The windows that a query's policy gives the periods of an inclusive range of days."""
        calendar = Calendar.of(start, end, grain, q.policy.tz)
        return cls(calendar, rolling=q.policy.window == "rolling_30d")

    @cached_property
    def eves(self) -> tuple[date, ...]:
        """For every window, the day at whose close it opens."""
        return tuple(self._eve(period) for period in self.calendar.periods)

    @property
    def first_day(self) -> date:
        """The first day that any window looks at."""
        return self.eves[0] + _DAY

    @property
    def end(self) -> date:
        """The last day of the last window."""
        return self.calendar.end

    @property
    def warnings(self) -> tuple[str, ...]:
        """Says so where the days looked at are not the ones that were asked for."""
        asked = [period.start - _DAY for period in self.calendar.periods]
        if asked == list(self.eves):
            return ()
        if len(asked) == 1:
            return (f"By window = rolling_30d the rate looks at {self.first_day} to {self.end}.",)
        return ("By window = rolling_30d each rate looks at the 30 days to its period's end.",)

    @cached_property
    def cte(self) -> CTE:
        """One row a window: place (from 1), key (the period's), eve, last (its last day)."""
        periods = self.calendar.periods
        lists = ([each.key for each in periods], self.eves, [each.end for each in periods])
        listed = func.unnest(*(cast(literal(list(days), _DATES), _DATES) for days in lists))
        rows = listed.table_valued(
            column("key", Date),
            column("eve", Date),
            column("last", Date),
            with_ordinality="place",
            name="listed",
        ).render_derived()
        return select(rows.c.place, rows.c.key, rows.c.eve, rows.c.last).cte("rate_window")

    @cached_property
    def days(self) -> CTE:
        """Every day of every window: place, eve, day."""
        window = self.cte
        number = cast(window.c.last - window.c.eve, Integer)
        numbers = func.generate_series(1, number).table_valued(
            column("number", Integer), name="each"
        )
        each = numbers.render_derived().lateral()
        day = cast(window.c.eve + each.c.number, Date).label("day")
        on_each = window.join(each, literal(True))
        return select(window.c.place, window.c.eve, day).select_from(on_each).cte("window_day")

    def opened_before(self, day: ColumnElement[Any]) -> ColumnElement[int]:
        """How many windows had opened when a day began: what happens then is past for the rest."""
        firsts = [eve + _DAY for eve in self.eves]
        return func.width_bucket(day, cast(literal(firsts, _DATES), _DATES))

    def closed_before(self, day: ColumnElement[Any]) -> ColumnElement[int]:
        """How many windows were over when a day began: what happens then is no part of them."""
        firsts = [each.end + _DAY for each in self.calendar.periods]
        return func.width_bucket(day, cast(literal(firsts, _DATES), _DATES))

    def within(self, day: ColumnElement[Any]) -> ColumnElement[bool]:
        """That a day lies between the first window's opening and the last one's end."""
        return and_(day >= self.first_day, day <= self.end)

    def _eve(self, period: Period) -> date:
        return period.end - _ROLLING if self.rolling else period.start - _DAY


@dataclass(frozen=True)
class Part:
    """Something that a rate is made of: group columns, place and amounts, a row where not zero."""

    rows: CTE
    #: What it would need rates for.
    needs: tuple[RateNeed, ...] = ()

    def of(self, name: str) -> ColumnElement[Any]:
        """An amount; 0 where there is no row, null where a rate is missing."""
        return case((self.rows.c.place.is_(None), 0), else_=self.rows.c[name])


@dataclass(frozen=True)
class Rate:
    """A numerator over a denominator, and the parts that both are made of."""

    top: ColumnElement[Any]
    bottom: ColumnElement[Any]
    parts: tuple[Part, ...]

    def lost(self) -> Rate:
        """What is missing from the whole: 1 less this rate."""
        return Rate(self.bottom - self.top, self.bottom, self.parts)

    def columns(self, name: str) -> list[ColumnElement[Any]]:
        """The rate, null where nothing can be divided by, with both of its sides."""
        return [
            (cast(self.top, Numeric) / func.nullif(self.bottom, 0)).label(name),
            self.top.label(f"{name}_numerator"),
            self.bottom.label(f"{name}_denominator"),
        ]


def rate_table(
    q: Query,
    windows: Windows,
    rates: Iterable[tuple[str, Rate]],
    *,
    behind: Behind | None = None,
    warnings: Sequence[str] = (),
) -> Table:
    """One row a group and window: the period where the question has it, then named rates.

    behind: what the rates rest on, when that is not the days of the windows.
    """
    named = list(rates)
    parts = list(dict.fromkeys(part for _, rate in named for part in rate.parts))
    window = windows.cte
    line = _lines(q, parts)
    source: FromClause = window if line is None else line.join(window, literal(True))
    for part in parts:
        same = part.rows.c.place == window.c.place
        if line is not None:
            same = and_(same, q.same_group(part.rows, line))
        source = source.outerjoin(part.rows, same)
    shown = [] if line is None else q.shown_groups(line)
    order = [] if line is None else q.group_order(line)
    if windows.calendar.grain is not None:
        shown.append(window.c.key.label("period"))
    statement = (
        select(*shown, *(each for name, rate in named for each in rate.columns(name)))
        .select_from(source)
        .order_by(*order, window.c.place)
    )
    return q.table(
        statement,
        periods=windows.calendar.periods,
        behind=behind or Behind(windows.first_day, windows.end),
        needs=tuple(need for part in parts for need in part.needs),
        warnings=(*windows.warnings, *warnings),
    )


def _lines(q: Query, parts: Sequence[Part]) -> FromClause | None:
    """Every group that any part has something of; None without groups."""
    if not q.groups:
        return None
    # Distinct in itself: a union of one statement would remove nothing.
    each = (select(*q.group_columns(part.rows)).distinct() for part in parts)
    return union(*each).subquery("line")
