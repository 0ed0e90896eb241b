"""How many customers of each cohort are there, period by period."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, BigInteger, ColumnElement, Integer, and_, cast, func, or_, select

from tidemill.metrics.presence import Presence
from tidemill.metrics.retention.cohorts import Cohorts
from tidemill.metrics.windows import Windows

__all__ = ["customer_cells"]


def customer_cells(found: Cohorts) -> CTE:
    """Customers of each cohort, by the knob `cohort_activity`."""
    any_time = found.q.policy.cohort_activity == "any_in_period"
    flow = _turned(found, any_time=any_time)
    line, source = found.grid(flow, ())
    order = found.period.c.place
    names = list(line.c)
    stood = func.sum(func.coalesce(flow.c.moved, 0)).over(partition_by=names, order_by=order)
    value: ColumnElement[Any] = stood
    if any_time:
        # Those there when the period began, and those who came in it.
        value = stood - func.coalesce(flow.c.moved, 0) + func.coalesce(flow.c.entered, 0)
    return (
        select(*line.c, found.offset(line), cast(value, BigInteger).label("value"))
        .select_from(source)
        .cte("cohort_cell")
    )


def _turned(found: Cohorts, *, any_time: bool) -> CTE:
    """Comings and goings of members by period.

    Shape: group columns, cohort, key, moved and, if asked for, entered (came inside it).
    """
    if found.told_by_month and not any_time:
        return _turned_by_month(found)
    presence = Presence(found.q, Windows(found.calendar, rolling=False))
    turn, member = presence.turns, found.member
    mine = and_(member.c.customer_id == turn.c.customer_id, found.q.same_group(member, turn))
    key = found.not_before(turn.c.day, member.c.cohort)
    told = select(
        *found.q.group_columns(member), member.c.cohort, key.label("key"),
        turn.c.customer_id, turn.c.moment, turn.c.delta,
    ).select_from(turn.join(member, mine))  # fmt: skip
    row = told.where(turn.c.day <= found.calendar.end).subquery("member_turn")
    keys = [*found.q.group_columns(row), row.c.cohort, row.c.key]
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
    keys = [*found.q.group_columns(each), each.c.cohort, each.c.key]
    entered = func.sum(cast(each.c.entered, Integer))
    return (
        select(*keys, func.sum(each.c.moved).label("moved"), entered.label("entered"))
        .group_by(*keys)
        .cte("cohort_turn")
    )


def _turned_by_month(found: Cohorts) -> CTE:
    """As `_turned`, where rows say themselves which cohort they are of."""
    q = found.by_month or found.q
    rows = q.rows.c
    cohort = found.calendar.key_of(rows.cohort_month)
    turned = rows.customer_delta != 0
    if "joined" in rows:
        # Where all who came left in the same month, the sum is nothing, and they were a cohort.
        turned = or_(turned, rows.joined != 0)
    told = q.select(
        found.calendar.end,
        lambda _: [
            cohort.label("cohort"),
            found.not_before(rows.day, cohort).label("key"),
            rows.customer_delta.label("delta"),
        ],
    ).where(turned, rows.cohort_month >= found.calendar.start)
    row = told.subquery("cohort_turn_row")
    keys = [*q.group_columns(row), row.c.cohort, row.c.key]
    moved = func.sum(row.c.delta).label("moved")
    return select(*keys, moved).group_by(*keys).cte("cohort_turn")
