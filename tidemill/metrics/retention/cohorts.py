"""Cohorts: what became, period by period, of the customers who came in the same one.

A table of cohorts is made of signed rows: rows added up by cohort and period, then summed over a
cohort's periods. Whoever leaves takes away what it brought, so nobody is counted who has gone, and
no table of customers times periods is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    or_,
    select,
)

from tidemill.errors import InvalidQuery, Issue
from tidemill.ledger.movements import FX_TYPE
from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cash_flow import TRANSACTIONS, cash_rows
from tidemill.metrics.columns import Column
from tidemill.metrics.months import by_cohort, new_once
from tidemill.metrics.presence import Presence
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day
from tidemill.metrics.retention.membership import members
from tidemill.metrics.windows import Windows
from tidemill.vocabulary import MovementType

__all__ = ["CohortMeasure", "Cohorts", "cohort_table"]

CohortMeasure = Literal["customers", "mrr", "cash"]
"""What a cohort is looked at by: its customers, their MRR, or the money they paid."""

_MONTHLY = frozenset({"month", "quarter", "year"})


def cohort_table(
    q: Query, calendar: Calendar, measure: CohortMeasure, *, age: int | None = None
) -> Table:
    """One row a group, cohort and age: cohort, size, opening, offset, value, rate.

    age: only the rows of this age, and no column for it.
    """
    found = Cohorts(q, calendar)
    cells, needs = found.cells(measure)
    size = found.sizes
    of_size = and_(size.c.cohort == cells.c.cohort, q.same_group(size, cells))
    opening: ColumnElement[Any] = size.c.size if measure == "customers" else cells.c.opening
    rate = cast(cells.c.value, Numeric) / func.nullif(opening, 0)
    offset = [] if age is not None else [cells.c.offset.label("offset")]
    statement = (
        select(
            *q.shown_groups(cells),
            cells.c.cohort,
            size.c.size,
            opening.label("opening"),
            *offset,
            cells.c.value,
            rate.label("rate"),
        )
        .select_from(cells.join(size, of_size))
        .order_by(*q.group_order(cells), cells.c.cohort, cells.c.offset)
    )
    if age is not None:
        statement = statement.where(cells.c.offset == age)
    behind = Behind(None, calendar.end, TRANSACTIONS if measure == "cash" else None)
    table = q.table(statement, periods=calendar.periods, behind=behind, needs=needs)
    return replace(table, columns=tuple(_in_unit(each, q, measure) for each in table.columns))


def _in_unit(column: Column, q: Query, measure: CohortMeasure) -> Column:
    """The column as this measure has it: customers are counted, the others are money."""
    if measure == "customers" or column.name not in {"opening", "value"}:
        return column
    return replace(column, unit="money").in_base(q.base_currency)


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
        if self._by_month is not None:
            return self._sizes_by_month(self._by_month)
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

    def cells(self, measure: CohortMeasure) -> tuple[CTE, tuple[RateNeed, ...]]:
        """What there is of each cohort at each age.

        Shape: group columns, cohort, offset, value, and for money opening.
        """
        match measure:
            case "customers":
                return self._customers(), ()
            case "mrr":
                return self._mrr()
            case "cash":
                return self._cash()

    # --- the cells of the table -----------------------------------------------------------------

    @cached_property
    def _period(self) -> CTE:
        return self.calendar.cte()

    def _grid(self, flow: CTE, along: Sequence[str]) -> tuple[FromClause, FromClause]:
        """Every line of a flow in each period from its cohort's on: the lines, and the join."""
        names = [*self.q.groups, "cohort", *along]
        line = select(*(flow.c[name] for name in names)).distinct().subquery("line")
        period = self._period
        later = line.join(period, and_(period.c.place > 0, period.c.key >= line.c.cohort))
        same = and_(flow.c.key == period.c.key, *(flow.c[name] == line.c[name] for name in names))
        return line, later.outerjoin(flow, same)

    def _offset(self, line: FromClause) -> ColumnElement[int]:
        """How many periods after the first of its line a row stands."""
        names = list(line.c)
        place = func.row_number().over(partition_by=names, order_by=self._period.c.place)
        return cast(place - 1, Integer).label("offset")

    # --- customers ------------------------------------------------------------------------------

    def _customers(self) -> CTE:
        """Customers of each cohort, by the knob `cohort_activity`."""
        any_time = self.q.policy.cohort_activity == "any_in_period"
        flow = self._turned(any_time=any_time)
        line, source = self._grid(flow, ())
        order = self._period.c.place
        names = list(line.c)
        stood = func.sum(func.coalesce(flow.c.moved, 0)).over(partition_by=names, order_by=order)
        value: ColumnElement[Any] = stood
        if any_time:
            # Those there when the period began, and those who came in it.
            value = stood - func.coalesce(flow.c.moved, 0) + func.coalesce(flow.c.entered, 0)
        return (
            select(*line.c, self._offset(line), cast(value, BigInteger).label("value"))
            .select_from(source)
            .cte("cohort_cell")
        )

    def _turned(self, *, any_time: bool) -> CTE:
        """Comings and goings of members by period.

        Shape: group columns, cohort, key, moved and, if asked for, entered (came inside it).
        """
        if self._told_by_month and not any_time:
            return self._turned_by_month()
        presence = Presence(self.q, Windows(self.calendar, rolling=False))
        turn, member = presence.turns, self.member
        mine = and_(member.c.customer_id == turn.c.customer_id, self.q.same_group(member, turn))
        key = self._not_before(turn.c.day, member.c.cohort)
        told = select(
            *self.q.group_columns(member), member.c.cohort, key.label("key"),
            turn.c.customer_id, turn.c.moment, turn.c.delta,
        ).select_from(turn.join(member, mine))  # fmt: skip
        row = told.where(turn.c.day <= self.calendar.end).subquery("member_turn")
        keys = [*self.q.group_columns(row), row.c.cohort, row.c.key]
        moved = func.sum(row.c.delta)
        if not any_time:
            return select(*keys, moved.label("moved")).group_by(*keys).cte("cohort_turn")
        came, left = row.c.delta > 0, row.c.delta < 0
        first_came = func.min(row.c.moment).filter(came)
        first_left = func.min(row.c.moment).filter(left)
        each = (
            select(
                *keys,
                moved.label("moved"),
                func.coalesce(first_came < first_left, first_left.is_(None)).label("entered"),
            )
            .group_by(*keys, row.c.customer_id)
            .subquery("customer_turn")
        )
        keys = [*self.q.group_columns(each), each.c.cohort, each.c.key]
        entered = func.sum(cast(each.c.entered, Integer))
        return (
            select(*keys, func.sum(each.c.moved).label("moved"), entered.label("entered"))
            .group_by(*keys)
            .cte("cohort_turn")
        )

    def _turned_by_month(self) -> CTE:
        """As `_turned`, where rows say themselves which cohort they are of."""
        q = self._by_month or self.q
        rows = q.rows.c
        cohort = self.calendar.key_of(rows.cohort_month)
        turned = rows.customer_delta != 0
        if "joined" in rows:
            # Where all who came left in the same month, the sum is nothing, and they were a cohort.
            turned = or_(turned, rows.joined != 0)
        told = q.select(
            self.calendar.end,
            lambda _: [
                cohort.label("cohort"),
                self._not_before(rows.day, cohort).label("key"),
                rows.customer_delta.label("delta"),
            ],
        ).where(turned, rows.cohort_month >= self.calendar.start)
        row = told.subquery("cohort_turn_row")
        keys = [*q.group_columns(row), row.c.cohort, row.c.key]
        moved = func.sum(row.c.delta).label("moved")
        return select(*keys, moved).group_by(*keys).cte("cohort_turn")

    def _not_before(
        self, day: ColumnElement[Any], cohort: ColumnElement[Any]
    ) -> ColumnElement[Any]:
        """The period of a day; what is older than the cohort belongs to its first one."""
        return func.greatest(self.calendar.key_of(day), cohort)

    # --- money ----------------------------------------------------------------------------------

    def _mrr(self) -> tuple[CTE, tuple[RateNeed, ...]]:
        """MRR at each close at that day's rates; the opening is what they were new with."""
        q, moved = self.q, self._moved()
        change = moved if self._by_month is None else self._changed_by_month(self._by_month)
        keys = [*q.group_columns(change), change.c.cohort, change.c.key, change.c.native_currency]
        moves = func.sum(change.c.level).label("moved")
        flow = select(*keys, moves).group_by(*keys).cte("cohort_flow")
        line, source = self._grid(flow, ["native_currency"])
        period = self._period
        names = list(line.c)
        total = func.sum(func.coalesce(flow.c.moved, 0)).over(
            partition_by=names, order_by=period.c.place
        )
        level = (
            select(*line.c, self._offset(line), period.c.closes_on, total.label("amount"))
            .select_from(source)
            .cte("cohort_level")
        )
        cells, need = self.valued(level, "closes_on", "offset", q.rates)
        began = (
            select(
                *q.group_columns(moved),
                moved.c.cohort,
                moved.c.won_currency.label("native_currency"),
                moved.c.day,
                func.sum(moved.c.won).label("amount"),
            )
            .where(moved.c.won != 0)
            .group_by(*q.group_columns(moved), moved.c.cohort, moved.c.won_currency, moved.c.day)
            .cte("cohort_new")
        )
        opening, lacking = self.valued(began, "day", None, q.rates)
        return self._with_opening(cells, opening, "value"), (need, lacking)

    def _changed_by_month(self, q: Query) -> FromClause:
        """What months changed levels by: cohort, key, native_currency, level."""
        rows, worth = q.rows.c, q.worth
        cohort = self.calendar.key_of(rows.cohort_month)
        told = q.select(
            self.calendar.end,
            lambda _: [
                cohort.label("cohort"),
                self._not_before(rows.day, cohort).label("key"),
                worth.currency.label("native_currency"),
                worth.amount.label("level"),
            ],
        )
        return told.where(rows.cohort_month >= self.calendar.start).subquery("cohort_change")

    def _moved(self) -> CTE:
        """Members' rows added up by day; where months tell what levels are, only the new ones.

        Shape: group columns, cohort, key, day, native_currency, level (what levels change by),
               won_currency, won (new MRR of the cohort).
        """
        if self._told_by_month:
            return self._placed(self._rows(None), None)
        return self._placed(self._rows("customer_id"), self.member)

    @cached_property
    def _by_month(self) -> Query | None:
        """The question of what months added to cohorts, where that is kept."""
        return by_cohort(self.q, self.calendar.end) if self._told_by_month else None

    @property
    def _told_by_month(self) -> bool:
        """Whether rows say themselves which cohort they are of."""
        plain = self.q.policy.cohort_key == "first_paid" and not self.q.cuts_by("item")
        return plain and self.calendar.grain in _MONTHLY

    def _rows(self, along: str | None) -> FromClause:
        """The base rows added up by day: group columns, `along` or cohort_month, day, amounts."""
        q, rows = self.q, self.q.rows.c
        who = rows.cohort_month if along is None else rows[along]
        told = q.select(
            self.calendar.end,
            lambda _: [
                who.label("who"),
                rows.day.label("day"),
                rows.type.label("movement_type"),
                q.worth.currency.label("native_currency"),
                q.worth.amount.label("level"),
                q.moved.currency.label("won_currency"),
                q.moved.amount.label("won"),
            ],
        )
        if along is None:
            told = told.where(rows.cohort_month >= self.calendar.start)
        if self._by_month is not None:
            told = told.where(rows.type == MovementType.NEW.value)
        row = told.subquery("cohort_row")
        new = row.c.movement_type == MovementType.NEW.value
        keys = [
            *q.group_columns(row), row.c.who, row.c.day, row.c.native_currency, row.c.won_currency,
        ]  # fmt: skip
        return (
            select(
                *keys,
                func.sum(row.c.level).label("level"),
                func.coalesce(func.sum(row.c.won).filter(new), 0).label("new"),
                func.coalesce(func.sum(row.c.won).filter(row.c.movement_type != FX_TYPE), 0).label(
                    "won"
                ),
            )
            .group_by(*keys)
            .subquery("cohort_day")
        )

    def _placed(self, row: FromClause, member: CTE | None) -> CTE:
        """Rows with their cohort and the period they belong to; see `_moved`."""
        q, calendar = self.q, self.calendar
        cohort: ColumnElement[Any]
        won: ColumnElement[Any]
        if member is None:
            cohort = calendar.key_of(row.c.who)
            source = row
        else:
            cohort = member.c.cohort
            mine = and_(member.c.customer_id == row.c.who, q.same_group(member, row))
            source = row.join(member, mine)
        key = self._not_before(row.c.day, cohort)
        if q.cuts_by("item") and member is not None:
            # Where a customer comes from another plan, what it begins with there is not "new".
            won = case((row.c.day == member.c.joined_on, row.c.won), else_=0)
        elif q.policy.cohort_key == "signup":
            won = row.c.new
        else:
            won = case((key == cohort, row.c.new), else_=0)
        return (
            select(
                *q.group_columns(row),
                cohort.label("cohort"),
                key.label("key"),
                row.c.day,
                row.c.native_currency,
                row.c.level,
                row.c.won_currency,
                won.label("won"),
            )
            .select_from(source)
            .cte("cohort_move")
        )

    def _cash(self) -> tuple[CTE, tuple[RateNeed, ...]]:
        """The money of each period at its days' rates; the opening is that of the first."""
        q, member = self.q, self.member
        if q.cuts_by("item"):
            problem = "a payment is of a customer, not of a plan or another part of one"
            raise InvalidQuery([Issue("measure", problem, "Cut cash by what customers have.")])
        paid = cash_rows(q, self.calendar.end)
        key = self._not_before(paid.c.day, member.c.cohort)
        keys = [*q.group_columns(member), member.c.cohort, key.label("key"), paid.c.day]
        flow = (
            select(*keys, paid.c.native_currency, func.sum(paid.c.amount).label("amount"))
            .select_from(paid.join(member, member.c.customer_id == paid.c.customer_id))
            .group_by(*keys, paid.c.native_currency)
            .cte("cohort_payment")
        )
        by_period, need = self.valued(flow, "day", "key", q.rates_of_days)
        size = self.sizes
        line = select(*q.group_columns(size), size.c.cohort).subquery("line")
        period = self._period
        same = and_(
            by_period.c.cohort == line.c.cohort,
            by_period.c.key == period.c.key,
            q.same_group(by_period, line),
        )
        later = line.join(period, and_(period.c.place > 0, period.c.key >= line.c.cohort))
        value = case((by_period.c.cohort.is_(None), 0), else_=by_period.c.value)
        cells = (
            select(*line.c, self._offset(line), value.label("value"))
            .select_from(later.outerjoin(by_period, same))
            .cte("cash_cell")
        )
        first = select(*q.group_columns(cells), cells.c.cohort, cells.c.value)
        opening = first.where(cells.c.offset == 0).cte("cash_opening")
        return self._with_opening(cells, opening, "value"), (need,)

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

    def _with_opening(self, cells: CTE, opening: CTE, name: str) -> CTE:
        """The cells with what their rates divide by; a cohort that began with nothing has 0."""
        same = and_(opening.c.cohort == cells.c.cohort, self.q.same_group(opening, cells))
        began = case((opening.c.cohort.is_(None), 0), else_=opening.c[name])
        found: Select[Any] = select(cells, began.label("opening"))
        return found.select_from(cells.outerjoin(opening, same)).cte("cohort_cell")
