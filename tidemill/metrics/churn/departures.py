"""Departures: the churn inside the windows, by why it happened.

Every churn movement has one reason (the customer chose to leave, could not pay, or nobody knows),
so what the reasons add up to is all the MRR that was lost by churn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.levels import overlap
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day
from tidemill.metrics.windows import Windows
from tidemill.vocabulary import ChurnReason, MovementType

__all__ = ["departures", "reason_table"]

_REASONS: Final = tuple(each.value for each in ChurnReason)


def departures(q: Query, windows: Windows, along: Sequence[str] = ()) -> CTE:
    """The churn rows of all windows' days.

    Shape: group columns, `along` (of the rows), native_currency, day, reason, moved (0 where the
           customer left but another type of movement says so), left_count.
    """
    rows = q.rows.c
    churned = rows.type == MovementType.CHURN.value
    told = q.select(
        windows.end,
        lambda _: [
            *(rows[name].label(name) for name in along),
            rows.customer_id.label("churned_id"),
            q.moved.currency.label("native_currency"),
            rows.day.label("day"),
            func.coalesce(rows.churn_reason, ChurnReason.UNKNOWN.value).label("reason"),
            case((churned, q.moved.amount), else_=0).label("moved"),
            rows.customer_delta.label("delta"),
        ],
    ).where(windows.within(rows.day), or_(churned, rows.customer_delta < 0))
    told_row = told.subquery("churn_row")
    kept = [each for each in told_row.c if each.name not in ("churned_id", "delta")]
    return select(*kept, _left(q, told_row).label("left_count")).cte("departure")


def _left(q: Query, row: FromClause) -> ColumnElement[int]:
    """1 on one row of each departure: a group of items is left once a day by each customer."""
    if not q.cuts_by("item"):
        return cast(row.c.delta < 0, Integer)
    line = [*q.group_columns(row), row.c.churned_id, row.c.day]
    place = func.row_number().over(partition_by=line, order_by=row.c.reason)
    return cast(place == 1, Integer)


def reason_table(q: Query, windows: Windows) -> Table:
    """The departures of every window by reason.

    Shape: one row a group, window and reason: the period where the question has it, reason, churns,
           churn. Without groups every reason is there; groups have the reasons they ever have.
    """
    flow, need = _by_reason(q, windows)
    window, reason = windows.cte, _each_reason()
    line: FromClause = reason
    if q.groups:
        having = select(*q.group_columns(flow), reason.c.reason, reason.c.number)
        line = having.where(reason.c.reason == flow.c.reason).distinct().subquery("line")
    same = and_(
        flow.c.place == window.c.place, flow.c.reason == line.c.reason, q.same_group(flow, line)
    )
    source = line.join(window, literal(True))
    shown, order = q.shown_groups(line), q.group_order(line)
    if windows.calendar.grain is not None:
        shown.append(window.c.key.label("period"))
    churn = case((flow.c.place.is_(None), 0), else_=flow.c.churn)
    churns = func.coalesce(flow.c.churns, 0)
    statement = (
        select(*shown, line.c.reason, churns.label("churns"), churn.label("churn"))
        .select_from(source.outerjoin(flow, same))
        .order_by(*order, window.c.place, line.c.number)
    )
    return q.table(
        statement,
        periods=windows.calendar.periods,
        behind=Behind(windows.first_day, windows.end),
        needs=(need,),
        warnings=(*windows.warnings, *overlap(q)),
    )


def _by_reason(q: Query, windows: Windows) -> tuple[CTE, RateNeed]:
    """Group columns, place, reason, churns, churn (null where a rate is missing)."""
    told = departures(q, windows)
    keys = [*q.group_columns(told), told.c.native_currency, told.c.day, told.c.reason]
    daily = (
        select(
            *keys,
            func.sum(told.c.moved).label("moved"),
            func.sum(told.c.left_count).label("left_count"),
        )
        .group_by(*keys)
        .cte("daily_departure")
    )
    rate = rates_by_day(q.rates, daily, ("native_currency", "day"), "departure_rate")
    days = windows.days
    on_day = and_(rate.c.currency == daily.c.native_currency, rate.c.day == daily.c.day)
    known = or_(daily.c.moved == 0, rate.c.factor.is_not(None))
    lost = func.coalesce(func.sum(daily.c.moved * rate.c.factor), 0)
    line = [*q.group_columns(daily), days.c.place, daily.c.reason]
    flow = (
        select(
            *line,
            cast(func.sum(daily.c.left_count), BigInteger).label("churns"),
            case((func.bool_and(known).is_(False), None), else_=lost).label("churn"),
        )
        .select_from(daily.join(days, days.c.day == daily.c.day).outerjoin(rate, on_day))
        .group_by(*line)
        .cte("reason_flow")
    )
    lacking = select(daily.c.native_currency, daily.c.day).outerjoin_from(daily, rate, on_day)
    return flow, RateNeed(lacking.where(known.is_(False)).distinct())


def _each_reason() -> FromClause:
    """The reasons in their order: reason, number."""
    listed = func.unnest(cast(literal(list(_REASONS), ARRAY(Text)), ARRAY(Text)))
    return listed.table_valued(
        column("reason", Text), with_ordinality="number", name="each_reason"
    ).render_derived()
