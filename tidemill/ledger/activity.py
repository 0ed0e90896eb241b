"""Activity: whether a unit (customer or subscription) is there, seen from its changes.

A unit is active while it is worth something. The knobs `free_plans` and `paused = contraction` let
one stay at no value: always, or once it has paid. `present` in the changes carries what stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Date, DateTime, and_, case, cast, false, func, not_, or_, select

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy

__all__ = ["keeps_free", "month_of", "with_activity", "without_short_spells"]


def keeps_free(policy: Policy) -> bool:
    """Whether anyone can be active at no value under the policy."""
    return policy.free_plans != "never" or policy.paused == "contraction"


def month_of(day: ColumnElement[Any]) -> ColumnElement[Any]:
    """The first day of a day's month.

    Through a plain timestamp: a date alone would be truncated in the session's time zone.
    """
    return cast(func.date_trunc("month", cast(day, DateTime)), Date)


def with_activity(sums: FromClause, policy: Policy) -> FromClause:
    """Sums of changes with was_active and is_active, the unit's state before and after each.

    And with is_first where nobody is active at no value: was the unit never active before?

    sums: one row a unit and key, by which they are ordered: a day, or the instant `begins_at` where
          anyone may be active at no value; amount_minor and present.

    Levels are never negative, so the plain sum over currencies is zero exactly when all of them
    are: a level above zero means that something is paid, in whatever currency.
    """
    run: dict[str, Any] = {"partition_by": sums.c.unit, "order_by": sums.c.key}
    columns = [func.sum(sums.c.amount_minor).over(**run).label("level")]
    if keeps_free(policy):
        columns.append(func.sum(sums.c.present).over(**run).label("kept"))
    else:
        turns = func.count().filter(sums.c.amount_minor != 0)
        columns.append(turns.over(**run).label("turn_count"))
    leveled = select(sums, *columns).subquery("leveled")
    names = list(sums.c.keys())
    before = leveled.c.level - leveled.c.amount_minor
    if not keeps_free(policy):
        return select(
            *(leveled.c[name] for name in names),
            (before > 0).label("was_active"),
            (leveled.c.level > 0).label("is_active"),
            # The first that is not nothing: there was nothing before it.
            (leveled.c.turn_count == 1).label("is_first"),
        ).subquery("active")
    paying = case((leveled.c.level > 0, leveled.c.begins_at))
    first = func.min(paying).over(partition_by=leveled.c.unit)
    paid = select(leveled, first.label("first_paid_at")).subquery("paid")
    always = policy.free_plans == "always"
    # Whether a unit ever paid is judged before anything is erased: that was paid all the same.
    had_paid = func.coalesce(paid.c.first_paid_at < paid.c.begins_at, false())
    has_paid = func.coalesce(paid.c.first_paid_at <= paid.c.begins_at, false())
    stayed, stays = paid.c.kept - paid.c.present > 0, paid.c.kept > 0
    if not always:
        stayed, stays = and_(stayed, had_paid), and_(stays, has_paid)
    return select(
        *(paid.c[name] for name in names),
        or_(paid.c.level - paid.c.amount_minor > 0, stayed).label("was_active"),
        or_(paid.c.level > 0, stays).label("is_active"),
    ).subquery("active")


def without_short_spells(active: FromClause) -> FromClause:
    """`join_churn_same_month = ignore`: a spell of activity inside one month leaves no trace.

    active: as `with_activity` gives them, a row an instant; what is left needs not be judged again,
            because a unit is not active on either side of what is erased.
    """
    joins = and_(not_(active.c.was_active), active.c.is_active)
    spell = func.count().filter(joins).over(partition_by=active.c.unit, order_by=active.c.key)
    numbered = select(active, spell.label("spell")).subquery("numbered")
    in_spell = or_(numbered.c.was_active, numbered.c.is_active)
    whole = (numbered.c.unit, numbered.c.spell)
    starts = func.min(case((in_spell, numbered.c.day))).over(partition_by=whole)
    leaves = case((and_(numbered.c.was_active, not_(numbered.c.is_active)), numbered.c.day))
    ends = func.max(leaves).over(partition_by=whole)
    is_short = and_(in_spell, func.coalesce(month_of(starts) == month_of(ends), false()))
    judged = select(numbered, is_short.label("is_short")).subquery("spells")
    # Of what is left another may be the first.
    names = [each.name for each in active.c if each.name != "is_first"]
    return (
        select(*(judged.c[name] for name in names))
        .where(not_(judged.c.is_short))
        .subquery("lasting")
    )
