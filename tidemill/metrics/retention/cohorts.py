"""Cohorts: what became, period by period, of the customers who came in the same one.

A table of cohorts is made of signed rows: rows added up by cohort and period, then summed over a
cohort's periods. Whoever leaves takes away what it brought, so nobody is counted who has gone, and
no table of customers times periods is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    case,
    cast,
    func,
    or_,
    select,
)

from tidemill.metrics.base import RateNeed
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.months import by_cohort, new_once
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day
from tidemill.metrics.retention.membership import members

__all__ = ["Cohorts"]

_MONTHLY = frozenset({"month", "quarter", "year"})


@dataclass(frozen=True)
class Cohorts:
    """The cohorts that came in the periods of a calendar, through the later ones."""

    q: Query
    calendar: Calendar

    @cached_property
    def member(self) -> CTE:
        """Who belongs to which cohort: group columns, customer_id, joined_on, cohort."""
        return self._members().cte("member")

    def members_again(self) -> FromClause:
        """As `member`, to be joined with much: several processes read it, if they need not share.

        Where finding members is more than reading rows, it is done once.
        """
        rows_tell = new_once(self.q) and self.q.policy.cohort_key == "first_paid"
        return self._members().subquery() if rows_tell else self.member

    def _members(self) -> Select[Any]:
        found = members(self.q, self.calendar.end)
        key = self.calendar.key_of(found.c.joined_on)
        if self.calendar.grain == "month" and "cohort_month" in found.c:
            # The same, and the planner knows how many of it there are.
            key = found.c.cohort_month
        names = [*self.q.groups, "customer_id", "joined_on"]
        told = select(*(found.c[name] for name in names), key.label("cohort"))
        return told.where(self.calendar.within(found.c.joined_on))

    @cached_property
    def sizes(self) -> CTE:
        """How many they were: group columns, cohort, size."""
        if self.by_month is not None:
            return self._sizes_by_month(self.by_month)
        member = self.member
        keys = [*self.q.group_columns(member), member.c.cohort]
        return select(*keys, func.count().label("size")).group_by(*keys).cte("cohort_size")

    def _sizes_by_month(self, q: Query) -> CTE:
        rows = q.rows.c
        key = self.calendar.key_of(rows.cohort_month).label("cohort")
        told = q.select(self.calendar.end, lambda _: [key, rows.joined])
        row = told.where(rows.cohort_month >= self.calendar.start).subquery("joined_row")
        size = func.sum(row.c.joined)
        grouped = select(row.c.cohort, cast(size, BigInteger).label("size")).group_by(row.c.cohort)
        return grouped.having(size > 0).cte("cohort_size")

    @cached_property
    def by_month(self) -> Query | None:
        """The question of what months added to cohorts, where that is kept."""
        return by_cohort(self.q, self.calendar.end) if self.told_by_month else None

    @property
    def told_by_month(self) -> bool:
        """Whether rows say themselves which cohort they are of."""
        plain = self.q.policy.cohort_key == "first_paid" and not self.q.cuts_by("item")
        return plain and self.calendar.grain in _MONTHLY

    # --- what tables of them are made of ---------------------------------------------------------

    @cached_property
    def period(self) -> CTE:
        """The periods of the calendar as rows; place 0 is the time before them."""
        return self.calendar.cte()

    def grid(self, flow: CTE, along: Sequence[str]) -> tuple[FromClause, FromClause]:
        """Every line of a flow in each period from its cohort's on: the lines, and the join."""
        names = [*self.q.groups, "cohort", *along]
        line = select(*(flow.c[name] for name in names)).distinct().subquery("line")
        period = self.period
        later = line.join(period, and_(period.c.place > 0, period.c.key >= line.c.cohort))
        same = and_(flow.c.key == period.c.key, *(flow.c[name] == line.c[name] for name in names))
        return line, later.outerjoin(flow, same)

    def offset(self, line: FromClause) -> ColumnElement[int]:
        """How many periods after the first of its line a row stands."""
        names = list(line.c)
        place = func.row_number().over(partition_by=names, order_by=self.period.c.place)
        return cast(place - 1, Integer).label("offset")

    def not_before(self, day: ColumnElement[Any], cohort: ColumnElement[Any]) -> ColumnElement[Any]:
        """The period of a day; what is older than the cohort belongs to its first one."""
        return func.greatest(self.calendar.key_of(day), cohort)

    def valued(
        self, rows: CTE, day: str, along: str | None, rates: FromClause
    ) -> tuple[CTE, RateNeed]:
        """Native amounts in base currency: group columns, cohort, `along`, value.

        rates: those of the policy for what levels are worth, of the days for money that moved.
        """
        q, name = self.q, rows.name
        rate = rates_by_day(rates, rows, ("native_currency", day), f"{name}_rate")
        same = and_(rate.c.currency == rows.c.native_currency, rate.c.day == rows.c[day])
        source = rows.outerjoin(rate, same)
        known = or_(rows.c.amount == 0, rate.c.factor.is_not(None))
        total = func.coalesce(func.sum(rows.c.amount * rate.c.factor), 0)
        keys = [*q.group_columns(rows), rows.c.cohort, *([rows.c[along]] if along else [])]
        value = case((func.bool_and(known).is_(False), None), else_=total)
        cells = (
            select(*keys, value.label("value"))
            .select_from(source)
            .group_by(*keys)
            .cte(f"{name}_value")
        )
        lacking = select(rows.c.native_currency, rows.c[day]).select_from(source)
        return cells, RateNeed(lacking.where(known.is_(False)).distinct())

    def with_opening(self, cells: CTE, opening: CTE, name: str) -> CTE:
        """The cells with what their rates divide by; a cohort that began with nothing has 0."""
        same = and_(opening.c.cohort == cells.c.cohort, self.q.same_group(opening, cells))
        began = case((opening.c.cohort.is_(None), 0), else_=opening.c[name])
        found: Select[Any] = select(cells, began.label("opening"))
        return found.select_from(cells.outerjoin(opening, same)).cte("cohort_cell")
