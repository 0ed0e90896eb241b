"""Windows: the days that a rate looks at, and the table of one rate a window.

A rate compares what was there at the close of the day before the window (its *eve*) with what
became of it by the window's last day. By the knob `window` that is the asked period itself, or the
30 days that end with it, whatever the period's length; such windows may overlap. Net revenue
retention may look further back (the knob `nrr_window`): windows of its own come after the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final, Literal

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
from tidemill.metrics.years import months_to, nrr_windows
from tidemill.periods import Period, add_months, next_period_start

__all__ = ["Part", "Rate", "Windows", "rate_table", "whole_value", "window_table"]

_ROLLING: Final = timedelta(days=30)
_DAY: Final = timedelta(days=1)
_DATES: Final = ARRAY(Date)


@dataclass(frozen=True)
class Windows:
    """The windows of a range's periods, in the order of time; without a grain there is one."""

    calendar: Calendar
    rolling: bool
    #: Windows beside those of the periods, as eve and last day, for rates that look elsewhere.
    further: tuple[tuple[date, date], ...] = ()
    #: What to say where there are any that one would not expect.
    further_said: str = ""
    #: Whose days are looked at, by place; None for all.
    places: frozenset[int] | None = None

    @classmethod
    def of(
        cls, q: Query, start: date, end: date, grain: Grain | None, *, nrr: bool = False
    ) -> Windows:
        """The windows that a query's policy gives the periods of an inclusive range of days.

        nrr: with those that net revenue retention looks at, where they are others.
        """
        calendar = Calendar.of(start, end, grain, q.policy.tz)
        further = nrr_windows(calendar, q.policy) if nrr else ()
        said = "By nrr_window net revenue retention looks at the twelve months to the period's end."
        return cls(calendar, q.policy.window == "rolling_30d", further, said)

    @cached_property
    def eves(self) -> tuple[date, ...]:
        """For every window, the day at whose close it opens."""
        return tuple(self._eve(period) for period in self.calendar.periods)

    @cached_property
    def openings(self) -> tuple[date, ...]:
        """The eves of all windows in the order of time; many may open on one."""
        return tuple(sorted((*self.eves, *(eve for eve, _ in self.further))))

    @cached_property
    def spans(self) -> tuple[tuple[date, date], ...]:
        """Eve and last day of every window, in the order of their places."""
        lasts = (period.end for period in self.calendar.periods)
        return (*zip(self.eves, lasts, strict=True), *self.further)

    @property
    def _looked_at(self) -> list[tuple[date, date]]:
        if self.places is None:
            return [*self.spans]
        return [self.spans[place - 1] for place in self.places]

    @property
    def months(self) -> tuple[int, ...]:
        """The places of the windows that are calendar months."""
        return tuple(
            place
            for place, (eve, last) in enumerate(self.spans, start=1)
            if (eve + _DAY).day == 1 and add_months(eve + _DAY, 1) == last + _DAY
        )

    def of_places(self, places: frozenset[int]) -> Windows:
        """The same windows, of which only some have their days looked at."""
        found = replace(self, places=places)
        vars(found)["cte"] = self.cte  # a statement may need both
        return found

    @property
    def first_day(self) -> date:
        """The first day that any window looks at."""
        return min(eve for eve, _ in self._looked_at) + _DAY

    @property
    def end(self) -> date:
        """The last day of the last window."""
        return max(last for _, last in self._looked_at)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Says so where the days looked at are not the ones that were asked for."""
        return (*self._rolled, *([self.further_said] if self.further and self.further_said else []))

    @property
    def _rolled(self) -> tuple[str, ...]:
        asked = [period.start - _DAY for period in self.calendar.periods]
        if asked == list(self.eves):
            return ()
        if len(asked) == 1:
            first = self.eves[0] + _DAY
            return (f"By window = rolling_30d the rate looks at {first} to {self.end}.",)
        return ("By window = rolling_30d each rate looks at the 30 days to its period's end.",)

    @cached_property
    def cte(self) -> CTE:
        """One row a window: place (from 1), key (the period's), eve, last (its last day), opens.

        `opens` is its place by eve, beside which `opened_before` is to be held.
        """
        periods = self.calendar.periods
        keys = (*(each.key for each in periods), *(last for _, last in self.further))
        lists = (keys, *zip(*self.spans, strict=True))
        listed = func.unnest(*(cast(literal(list(days), _DATES), _DATES) for days in lists))
        rows = listed.table_valued(
            column("key", Date),
            column("eve", Date),
            column("last", Date),
            with_ordinality="place",
            name="listed",
        ).render_derived()
        opens = self.opened_before(rows.c.eve + 1).label("opens")
        return select(rows.c.place, rows.c.key, rows.c.eve, rows.c.last, opens).cte("rate_window")

    @cached_property
    def asked(self) -> FromClause:
        """Those of `cte` that are the periods' own."""
        own = self.cte.c.place <= len(self.calendar.periods)
        return select(self.cte).where(own).subquery("asked_window")

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
        days = select(window.c.place, window.c.eve, day).select_from(on_each)
        if self.places is None:
            return days.cte("window_day")
        return days.where(window.c.place.in_(sorted(self.places))).cte("day_of_some")

    @cached_property
    def chain(self) -> CTE:
        """Which further windows follow one another to a period's end: place, step (1-12), window.

        Only for windows of `nrr_window = chained`.
        """
        count = len(self.calendar.periods)
        number = {month: count + place for place, month in enumerate(self.further, start=1)}
        links = [
            (place, step, number[month])
            for place, period in enumerate(self.calendar.periods, start=1)
            for step, month in enumerate(months_to(period.end), start=1)
        ]
        integers = ARRAY(Integer)
        lists = (cast(literal(list(each), integers), integers) for each in zip(*links, strict=True))
        names = (column(name, Integer) for name in ("place", "step", "window"))
        rows = func.unnest(*lists).table_valued(*names, name="link").render_derived()
        return select(rows.c.place, rows.c.step, rows.c.window).cte("nrr_chain")

    def opened_before(self, day: ColumnElement[Any]) -> ColumnElement[int]:
        """How many windows had opened when a day began: what happens then is past for the rest."""
        firsts = [eve + _DAY for eve in self.openings]
        return func.width_bucket(day, cast(literal(firsts, _DATES), _DATES))

    def closed_before(self, day: ColumnElement[Any]) -> ColumnElement[int]:
        """How many windows were over when a day began: what happens then is no part of them."""
        firsts = [each.end + _DAY for each in self.calendar.periods]
        return func.width_bucket(day, cast(literal(firsts, _DATES), _DATES))

    def within(self, day: ColumnElement[Any]) -> ColumnElement[bool]:
        """That a day lies between the first window's opening and the last one's end."""
        return and_(day >= self.first_day, day <= self.end)

    @property
    def whole_ends(self) -> tuple[date, ...]:
        """For every period's window, its last day, also where the range ends before."""
        grain = self.calendar.grain
        return tuple(
            period.end
            if self.rolling or grain is None
            else next_period_start(period.key, grain) - _DAY
            for period in self.calendar.periods
        )

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
    #: What share of the opening it is, for rates that grow with the days of their window.
    share: Literal["kept", "lost"] | None = None

    @property
    def value(self) -> ColumnElement[Any]:
        """The quotient, null where nothing can be divided by."""
        return cast(self.top, Numeric) / func.nullif(self.bottom, 0)

    def lost(self) -> Rate:
        """What is missing from the whole: 1 less this rate."""
        flipped: Literal["lost"] | None = None if self.share is None else "lost"
        return Rate(self.bottom - self.top, self.bottom, self.parts, flipped)

    def columns(self, name: str, value: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """The rate as shown, with both of its sides as counted."""
        return [
            value.label(name),
            self.top.label(f"{name}_numerator"),
            self.bottom.label(f"{name}_denominator"),
        ]


@dataclass(frozen=True)
class _Partial:
    """The knob `partial_period`: what a rate of an unfinished window would be over all its days.

    Formula: with x the share lost in d of D days, linear: x D / d; compound: 1 - (1 - x)^(D / d).
             What is kept is 1 less what is lost. More than all cannot be lost again and again: a
             rate above 1 is not compounded.
    """

    how: str
    #: Place of a window → days looked at, and days it will have had.
    spans: Mapping[int, tuple[int, int]]
    keys: Mapping[int, date]

    @classmethod
    def of(cls, q: Query, windows: Windows) -> _Partial:
        """The windows of a query that are not over on the day on which it is asked."""
        how, today = q.policy.partial_period, q.today
        if how == "none" or today is None:
            return cls(how, {}, {})
        spans, keys = {}, {}
        for place, last in enumerate(windows.whole_ends, start=1):
            period, eve = windows.calendar.periods[place - 1], windows.eves[place - 1]
            looked, whole = min(period.end, today) - eve, last - eve
            if last >= today > eve and looked < whole:
                spans[place] = looked.days, whole.days
                keys[place] = period.key
        return cls(how, spans, keys)

    def rate(self, rate: Rate, window: FromClause) -> ColumnElement[Any]:
        """The rate in each window, scaled where its window is not over."""
        if rate.share is None or not self.spans:
            return rate.value
        one = cast(literal(1), Numeric)
        lost = rate.value if rate.share == "lost" else one - rate.value
        scaled = []
        for place, (looked, whole) in self.spans.items():
            all_days = lost * whole / looked
            if self.how == "compound":
                power = cast(literal(whole), Numeric) / looked
                all_days = case((lost > 1, lost), else_=one - func.power(one - lost, power))
            shown = all_days if rate.share == "lost" else one - all_days
            scaled.append((window.c.place == place, shown))
        return case(*scaled, else_=rate.value)

    def warnings(self, rates: Iterable[Rate]) -> tuple[str, ...]:
        """Says what was scaled; numerators and denominators never are."""
        if not any(rate.share for rate in rates):
            return ()
        return tuple(
            f"By partial_period = {self.how} rates of {self.keys[place]} are those of {whole} days,"
            f" made from the {looked} looked at; numerators and denominators are as counted."
            for place, (looked, whole) in self.spans.items()
        )


def whole_value(
    q: Query, windows: Windows, rate: Rate
) -> tuple[ColumnElement[Any], tuple[str, ...]]:
    """A rate as the knob `partial_period` shows it, and what to say of that."""
    partial = _Partial.of(q, windows)
    return partial.rate(rate, windows.asked), partial.warnings([rate])


def rate_table(
    q: Query,
    windows: Windows,
    rates: Iterable[tuple[str, Rate]],
    *,
    more: tuple[Sequence[ColumnElement[Any]], Sequence[Part]] = ((), ()),
    behind: Behind | None = None,
    warnings: Sequence[str] = (),
) -> Table:
    """One row a group and window: the period where the question has it, then named rates.

    more:   columns after them, and further parts that these are made of.
    behind: what the rates rest on, when that is not the days of the windows.
    """
    named = list(rates)
    partial = _Partial.of(q, windows)
    columns = [
        each
        for name, rate in named
        for each in rate.columns(name, partial.rate(rate, windows.asked))
    ]
    added, further = more
    columns += added
    parts = [*(part for _, rate in named for part in rate.parts), *further]
    said = (*partial.warnings(rate for _, rate in named), *warnings)
    return window_table(q, windows, columns, parts, behind=behind, warnings=said)


def window_table(
    q: Query,
    windows: Windows,
    columns: Sequence[ColumnElement[Any]],
    parts: Sequence[Part],
    *,
    behind: Behind | None = None,
    warnings: Sequence[str] = (),
) -> Table:
    """One row a group and window: the period where the question has it, then columns of parts."""
    window, parts = windows.asked, list(dict.fromkeys(parts))
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
    return q.table(
        select(*shown, *columns).select_from(source).order_by(*order, window.c.place),
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
