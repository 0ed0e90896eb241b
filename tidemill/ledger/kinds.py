"""What the movement of a bucket is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, false, func, not_, or_, select, true

from tidemill.fx import daily_rates, in_force
from tidemill.knobs import parameter
from tidemill.ledger.matching import matching, where
from tidemill.vocabulary import MovementType

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.ledger.buckets import Buckets
    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["TYPED", "joins", "leaves", "with_kinds"]

TYPED: Final = ("unit", "key", "day", "was_active", "is_active")
"""What of states has to be known of a movement beside its type."""
# What that takes.
_WEIGHED: Final = ("bucket", "amount_minor", "first_currency", "last_currency")


def joins(state: FromClause) -> ColumnElement[bool]:
    """Does the unit come in the bucket?"""
    return and_(not_(state.c.was_active), state.c.is_active)


def leaves(state: FromClause) -> ColumnElement[bool]:
    """Does the unit go in the bucket?"""
    return and_(state.c.was_active, not_(state.c.is_active))


def with_kinds(
    made: Buckets, relations: Relations, policy: Policy, told: Collection[str] | None = None
) -> Select[Any]:
    """The states of buckets with `kind`, the type of their movement.

    told: which of their columns; None for all. Of the others nothing is worked out.
    """
    state = _weighed(made, relations, policy, told)
    kind = case(
        (and_(joins(state), state.c.is_new), MovementType.NEW.value),
        (joins(state), MovementType.REACTIVATION.value),
        (leaves(state), MovementType.CHURN.value),
        (state.c.weight >= 0, MovementType.EXPANSION.value),
        else_=MovementType.CONTRACTION.value,
    )
    names = [each.name for each in made.states.c if each.name != "is_first"]
    columns = [state.c[name] for name in (told or names)]
    return select(*columns, kind.label("kind"))


def _weighed(
    made: Buckets, relations: Relations, policy: Policy, told: Collection[str] | None
) -> FromClause:
    """The states with `weight`, by whose sign it is known whether a bucket added or took.

    And with is_new, whether who comes in it does so for the first time.

    Only a bucket with two currencies needs rates for that. Where a rate is missing the sum is
    refused by every question anyway, so its name may rest on the other currency.
    """
    net, state = made.nets, made.states
    # Now, as long as the states are in the order in which they were made.
    is_new = or_(_is_first(state), not_(_returns(state, policy)))
    wanted = None if told is None else {*told, *_WEIGHED}
    names = [each.name for each in state.c if each.name != "is_first"]
    kept = [state.c[name] for name in names if wanted is None or name in wanted]
    states = select(*kept, is_new.label("is_new")).cte(f"{state.name}_unnamed")
    is_mixed = states.c.first_currency != states.c.last_currency
    rates = select(daily_rates(relations.fx_rates, relations.base_currency)).cte(
        f"{made.states.name}_rate"
    )
    several = select(states).where(is_mixed).subquery("mixed_state")
    # Asked first, because most books have none, and all changes would be put in order for them.
    net = select(net).where(select(several.c.unit).exists()).subquery("mixed_net")
    of_day = in_force(rates, net.c.currency, several.c.day)
    factor = select(rates.c.factor).where(of_day).scalar_subquery()
    mixed = (
        select(
            several.c.unit, several.c.bucket, func.sum(net.c.amount_minor * factor).label("weight")
        )
        .select_from(matching(net, several, unit=net.c.unit, key=net.c.key))
        .where(where(several.c.unit.is_not(None)))
        .group_by(several.c.unit, several.c.bucket)
        .subquery("mixed")
    )
    weight = case((is_mixed, mixed.c.weight), else_=states.c.amount_minor)
    return (
        select(states, weight.label("weight"))
        .select_from(matching(states, mixed, unit=states.c.unit, bucket=states.c.bucket))
        .where(where(states.c.unit.is_not(None)))
        .subquery("weighed")
    )


def _is_first(state: FromClause) -> ColumnElement[bool]:
    """Is it the bucket in which the unit becomes active for the first time, if it becomes so?"""
    if "is_first" in state.c:
        return state.c.is_first
    first = func.min(case((state.c.is_active, state.c.bucket))).over(partition_by=state.c.unit)
    return state.c.bucket == first


def _returns(state: FromClause, policy: Policy) -> ColumnElement[bool]:
    """`reactivation`: is one who was active before and comes back now a returning customer?"""
    word, days = parameter(policy.reactivation)
    if word != "within":
        return true() if word == "forever" else false()
    left = func.max(case((leaves(state), state.c.ends_at))).over(
        partition_by=state.c.unit, order_by=state.c.bucket, groups=(None, -1)
    )
    return state.c.ends_at - left <= func.make_interval(0, 0, 0, 0, 24 * (days or 0))
