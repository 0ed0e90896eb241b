"""Buckets: which changes of a unit collapse into one movement.

The knob `movement_level` chooses the unit, `netting` the bucket; `join_churn_same_month` erases
what came and went inside one month before anything is netted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Date, DateTime, and_, case, cast, false, func, not_, or_, select

from tidemill.knobs import parameter
from tidemill.ledger.activity import balanced, with_first_payment

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy

__all__ = ["bucketed", "month_of", "unit"]


def unit(rows: FromClause, policy: Policy) -> ColumnElement[int]:
    """`movement_level`: whose level a movement is a change of."""
    if policy.movement_level == "subscription":
        return rows.c.subscription_id
    return rows.c.customer_id


def bucketed(changes: FromClause, policy: Policy) -> FromClause:
    """The changes with their unit, their bucket (ordered inside the unit) and the bucket's day.

    A movement is dated at the last change of its bucket, in the policy's zone.
    """
    local = func.timezone(policy.tz, changes.c.occurred_at)
    dated = select(
        changes, unit(changes, policy).label("unit"), cast(local, Date).label("day")
    ).subquery("dated")
    netted = _netted(_without_short_spells(dated, policy), policy)
    if policy.netting in ("day", "none"):
        return netted
    columns = [column for column in netted.c if column.name != "day"]
    last = func.max(netted.c.day).over(partition_by=(netted.c.unit, netted.c.bucket))
    return select(*columns, last.label("day")).subquery("bucketed")


def month_of(day: ColumnElement[Any]) -> ColumnElement[Any]:
    """The first day of a day's month.

    Through a plain timestamp: a date alone would be truncated in the session's time zone.
    """
    return cast(func.date_trunc("month", cast(day, DateTime)), Date)


def _netted(dated: FromClause, policy: Policy) -> FromClause:
    """`netting`: day and month by the calendar, none by the instant, window:N by the gaps.

    A window goes on for as long as each change comes within N minutes of the one before it.
    """
    word, minutes = parameter(policy.netting)
    if word == "window":
        gap = dated.c.occurred_at - func.lag(dated.c.occurred_at).over(
            partition_by=dated.c.unit, order_by=dated.c.occurred_at
        )
        opens = case((gap <= func.make_interval(0, 0, 0, 0, 0, minutes), 0), else_=1)
        marked = select(dated, opens.label("opens")).subquery("marked")
        bucket = func.sum(marked.c.opens).over(
            partition_by=marked.c.unit, order_by=marked.c.occurred_at
        )
        columns = [marked.c[column.name] for column in dated.c]
        return select(*columns, bucket.label("bucket")).subquery("netted")
    calendar = {
        "day": dated.c.day,
        "month": month_of(dated.c.day),
        "none": dated.c.occurred_at,
    }
    return select(dated, calendar[word].label("bucket")).subquery("netted")


def _without_short_spells(dated: FromClause, policy: Policy) -> FromClause:
    """`join_churn_same_month = ignore`: a spell of activity inside one month leaves no trace."""
    if policy.join_churn_same_month == "count":
        return dated
    states = balanced(with_first_payment(dated, policy), "unit", "occurred_at", policy)
    joins = and_(not_(states.c.was_active), states.c.is_active)
    first_row = func.row_number().over(partition_by=(states.c.unit, states.c.occurred_at)) == 1
    marked = select(states, and_(joins, first_row).label("joins")).subquery("marked")
    spell = (
        func.count()
        .filter(marked.c.joins)
        .over(partition_by=marked.c.unit, order_by=marked.c.occurred_at)
    )
    numbered = select(marked, spell.label("spell")).subquery("numbered")
    in_spell = or_(numbered.c.was_active, numbered.c.is_active)
    whole = (numbered.c.unit, numbered.c.spell)
    starts = func.min(case((in_spell, numbered.c.day))).over(partition_by=whole)
    leaves = case((and_(numbered.c.was_active, not_(numbered.c.is_active)), numbered.c.day))
    ends = func.max(leaves).over(partition_by=whole)
    is_short = and_(in_spell, func.coalesce(month_of(starts) == month_of(ends), false()))
    judged = select(numbered, is_short.label("is_short")).subquery("spells")
    columns = [judged.c[column.name] for column in dated.c]
    return select(*columns).where(not_(judged.c.is_short)).subquery("kept")
