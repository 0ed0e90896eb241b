"""Activity: whether a unit (customer or subscription) is there, seen from its changes.

A unit is active while it is worth something. The knobs `free_plans` and `paused = contraction` let
one stay at no value: always, or once it has paid. `present` in the changes carries what stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, false, func, or_, select

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy

__all__ = ["balanced", "keeps_free", "with_first_payment"]


def keeps_free(policy: Policy) -> bool:
    """Whether anyone can be active at no value under the policy."""
    return policy.free_plans != "never" or policy.paused == "contraction"


def with_first_payment(changes: FromClause, policy: Policy, owner: str = "unit") -> FromClause:
    """The changes with first_paid_at, when their owner was first worth something.

    Only needed where being active at no value depends on it.
    """
    if not keeps_free(policy):
        return changes
    level = func.sum(changes.c.amount_minor).over(
        partition_by=changes.c[owner], order_by=changes.c.occurred_at
    )
    summed = select(changes, level.label("level")).subquery("summed")
    paying = case((summed.c.level > 0, summed.c.occurred_at))
    first = func.min(paying).over(partition_by=summed.c[owner])
    columns = [summed.c[each.name] for each in changes.c if each.name != "first_paid_at"]
    return select(*columns, first.label("first_paid_at")).subquery("paid")


def balanced(changes: FromClause, owner: str, bucket: str, policy: Policy) -> FromClause:
    """Each change with its owner's state at both edges of its bucket.

    owner, bucket: names of the columns that say whose state it is and that order their buckets.
    Shape:         the columns of `changes`, was_active, is_active; present_before where the policy
                   lets anyone be active at no value; is_mixed: has the bucket several currencies?

    Levels are never negative, so the plain sum over currencies is zero exactly when all of them
    are: a level above zero means that something is paid, in whatever currency.
    """
    by, whole = changes.c[bucket], (changes.c[owner], changes.c[bucket])

    def edges(measure: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        # The default frame takes in all rows of the bucket: the running sum stands at its end.
        after = func.sum(changes.c[measure]).over(partition_by=changes.c[owner], order_by=by)
        before = after - func.sum(changes.c[measure]).over(partition_by=whole)
        return before.label(f"{measure}_before"), after.label(f"{measure}_after")

    currency = changes.c.currency
    first, last = (each(currency).over(partition_by=whole) for each in (func.min, func.max))
    columns = [*edges("amount_minor"), (first != last).label("is_mixed")]
    if keeps_free(policy):
        columns += [
            *edges("present"),
            func.min(changes.c.occurred_at).over(partition_by=whole).label("begins_at"),
            func.max(changes.c.occurred_at).over(partition_by=whole).label("ends_at"),
        ]
    state = select(changes, *columns).subquery("state")
    was_active, is_active = state.c.amount_minor_before > 0, state.c.amount_minor_after > 0
    if keeps_free(policy):
        was_active = or_(was_active, _stays(state, "before", policy))
        is_active = or_(is_active, _stays(state, "after", policy))
    kept = [*changes.c.keys(), "is_mixed", *(["present_before"] if keeps_free(policy) else [])]
    return select(
        *(state.c[name] for name in kept),
        was_active.label("was_active"),
        is_active.label("is_active"),
    ).subquery("balanced")


def _stays(state: FromClause, edge: str, policy: Policy) -> ColumnElement[bool]:
    """Is the unit kept at no value at this edge: always, or since it first paid?"""
    is_present = state.c[f"present_{edge}"] > 0
    if policy.free_plans == "always":
        return is_present
    has_paid = state.c.first_paid_at < state.c.begins_at
    if edge == "after":
        has_paid = state.c.first_paid_at <= state.c.ends_at
    return and_(is_present, func.coalesce(has_paid, false()))
