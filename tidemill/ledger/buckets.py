"""Buckets: which changes of a unit collapse into one movement.

The knob `movement_level` chooses the unit, `netting` the bucket; `join_churn_same_month` erases
what came and went inside one month before anything is netted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Date, DateTime, and_, case, cast, false, func, not_, or_, select, true

from tidemill.knobs import parameter
from tidemill.ledger.activity import balanced, keeps_free, with_first_payment
from tidemill.ledger.changes import in_order

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy

__all__ = ["bucketed", "dated", "month_of", "with_moves", "without_short_spells"]


def _unit(rows: FromClause, policy: Policy) -> ColumnElement[int]:
    """`movement_level`: whose level a movement is a change of."""
    if policy.movement_level == "subscription":
        return rows.c.subscription_id
    return rows.c.customer_id


def dated(changes: FromClause, policy: Policy) -> FromClause:
    """The changes with their unit and their day."""
    local = func.timezone(policy.tz, changes.c.occurred_at)
    return select(
        changes, _unit(changes, policy).label("unit"), cast(local, Date).label("day")
    ).subquery("dated")


def with_moves(changes: FromClause, policy: Policy) -> FromClause:
    """The changes with `moves`: is their unit worth another amount after the instant, or kept anew?

    One item for another at the same price changes lines of the ledger, and a renewal their rate;
    for the unit nothing moved. Such changes neither date a movement nor keep a window open. By the
    day or the instant that makes no difference, so nobody has to look.
    """
    if policy.netting in ("day", "none"):
        return select(changes, _moves_itself(changes).label("moves")).subquery("moving")
    at_instant = (changes.c.unit, changes.c.occurred_at)
    net = func.sum(changes.c.amount_minor).over(partition_by=(*at_instant, changes.c.currency))
    present = func.sum(changes.c.present).over(partition_by=at_instant)
    lines = select(changes, or_(net != 0, present != 0).label("line_moves")).subquery("line")
    moves = func.bool_or(lines.c.line_moves).over(partition_by=(lines.c.unit, lines.c.occurred_at))
    columns = [lines.c[column.name] for column in changes.c]
    return select(*columns, and_(_moves_itself(lines), moves).label("moves")).subquery("moving")


def _moves_itself(changes: FromClause) -> ColumnElement[bool]:
    return or_(changes.c.amount_minor != 0, changes.c.present != 0)


def bucketed(moving: FromClause, policy: Policy) -> FromClause:
    """The changes that move, with their bucket, by which those of a unit are ordered.

    A movement is dated at the last change of its bucket that turns its unit.
    """
    netted = _netted(_with_turns(moving, policy), policy)
    if policy.netting in ("day", "none"):
        return netted
    columns = [column for column in netted.c if column.name != "day"]
    turning_day = case((netted.c.turns, netted.c.day))
    whole = (netted.c.unit, netted.c.bucket)
    last = func.max(turning_day).over(partition_by=whole)
    # Nothing turns a unit of which only its customer's activity hangs, under movement_level.
    day = func.coalesce(last, func.max(netted.c.day).over(partition_by=whole))
    return select(*columns, day.label("day")).subquery("bucketed")


def _with_turns(moving: FromClause, policy: Policy) -> FromClause:
    """The changes with `turns`: is their unit worth another amount after the instant, or there?

    One that is worth something is there whatever else keeps it: a free subscription more or less
    changes nothing then, and neither dates a movement nor keeps a window open.
    """
    if policy.netting in ("day", "none") or not keeps_free(policy):
        return select(moving, true().label("turns")).subquery("turning")
    net = func.sum(moving.c.amount_minor).over(
        partition_by=(moving.c.unit, moving.c.occurred_at, moving.c.currency)
    )
    worth = select(moving, (net != 0).label("is_worth_more")).subquery("worth")
    states = balanced(worth, "unit", "occurred_at", policy)
    revalued = func.bool_or(states.c.is_worth_more).over(
        partition_by=(states.c.unit, states.c.occurred_at)
    )
    turns = or_(revalued, states.c.was_active != states.c.is_active)
    columns = [states.c[column.name] for column in moving.c]
    return select(*columns, turns.label("turns")).subquery("turning")


def month_of(day: ColumnElement[Any]) -> ColumnElement[Any]:
    """The first day of a day's month.

    Through a plain timestamp: a date alone would be truncated in the session's time zone.
    """
    return cast(func.date_trunc("month", cast(day, DateTime)), Date)


def _netted(changes: FromClause, policy: Policy) -> FromClause:
    """`netting`: day and month by the calendar, none by the instant, window:N by the gaps.

    A window goes on for as long as each change that turns its unit comes within N minutes of the
    one before it.
    """
    word, minutes = parameter(policy.netting)
    if word == "window":
        turned_at = case((changes.c.turns, changes.c.occurred_at))
        before = func.max(turned_at).over(
            partition_by=changes.c.unit, order_by=changes.c.occurred_at, rows=(None, -1)
        )
        gap = turned_at - before
        is_late = gap > func.make_interval(0, 0, 0, 0, 0, minutes)
        marked = select(changes, is_late.label("opens")).subquery("marked")
        bucket = (
            func.count()
            .filter(marked.c.opens)
            .over(partition_by=marked.c.unit, order_by=marked.c.occurred_at)
        )
        columns = [marked.c[column.name] for column in changes.c]
        return select(*columns, bucket.label("bucket")).subquery("netted")
    calendar = {
        "day": changes.c.day,
        "month": month_of(changes.c.day),
        "none": changes.c.occurred_at,
    }
    return select(changes, calendar[word].label("bucket")).subquery("netted")


def without_short_spells(dated_changes: FromClause, policy: Policy) -> FromClause:
    """`join_churn_same_month = ignore`: a spell of activity inside one month leaves no trace.

    Whether a unit ever paid is judged before that: what is erased was paid all the same.
    """
    changes = with_first_payment(dated_changes, policy)
    if policy.join_churn_same_month == "count":
        return changes
    states = balanced(changes, "unit", "occurred_at", policy)
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
    if not keeps_free(policy):
        columns = [judged.c[column.name] for column in changes.c]
        return select(*columns).where(not_(judged.c.is_short)).subquery("kept")
    return _without_trace(judged, changes)


def _without_trace(judged: FromClause, changes: FromClause) -> FromClause:
    """The changes outside short spells, where a unit may be kept at no value.

    Whoever was kept before a spell, though not active yet because nothing was ever paid, is no
    longer kept at its end. That one change must stay, on the spell's first row.
    """
    place = func.row_number().over(
        partition_by=(judged.c.unit, judged.c.spell, judged.c.is_short), order_by=in_order(judged)
    )
    first = select(judged, (place == 1).label("is_first")).subquery("spell_rows")
    erased = {
        "amount_minor": case((first.c.is_short, 0), else_=first.c.amount_minor),
        "present": case((first.c.is_short, -first.c.present_before), else_=first.c.present),
    }
    if "amount_base_minor" in changes.c:
        erased["amount_base_minor"] = case((first.c.is_short, 0), else_=first.c.amount_base_minor)
    columns = [erased.get(each.name, first.c[each.name]).label(each.name) for each in changes.c]
    rest = and_(first.c.is_first, first.c.present_before != 0)
    return select(*columns).where(or_(not_(first.c.is_short), rest)).subquery("kept")
