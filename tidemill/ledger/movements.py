"""Movements: the changes of each bucket, named.

A movement is a difference of two levels, so movements sum to the level, always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    CTE,
    Numeric,
    SmallInteger,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
    union_all,
)

from tidemill.fx import daily_rates, in_force
from tidemill.knobs import parameter
from tidemill.ledger.activity import balanced, with_first_payment
from tidemill.ledger.buckets import (
    bucketed,
    dated,
    month_of,
    with_moves,
    without_short_spells,
)
from tidemill.ledger.carrying import carried, swapped
from tidemill.ledger.changes import LINE, in_order
from tidemill.ledger.timers import within
from tidemill.vocabulary import MovementType

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["FX_TYPE", "named"]

FX_TYPE: Final = "fx"
"""The type of rows that are no movement: the same native level at another rate."""


def named(
    changed: FromClause, revalued: FromClause | None, relations: Relations, policy: Policy
) -> Select[tuple[object, ...]]:
    """The ledger: every change with the name of its bucket's movement.

    revalued: changes of rate alone, as `changes.revalued` gives them; None under other policies.

    Source: docs/reference/definitions.md, movements. With b and a the level of the customer before
            and after the bucket: not active, then active is new, or reactivation if ever active
            before; active, then not is churn; otherwise a >= b is expansion, a < b contraction.
    Shape:  the columns of `models.metric_mrr_movement`.
    A bucket in which a unit came and left again is empty: nothing was there before or after.
    """
    if revalued is not None and policy.join_churn_same_month == "ignore":
        # What is erased takes its renewals with it.
        changed, revalued = union_all(select(changed), select(revalued)).subquery("all"), None
    has_asides = policy.fx == "at_renewal" or policy.netting not in ("day", "none")
    changes = with_moves(without_short_spells(dated(changed, policy), policy), policy)
    if has_asides:
        # Read twice, made once.
        changes = select(changes).cte("moving")
    moving = select(changes).where(changes.c.moves).subquery("moving_change")
    states = balanced(bucketed(moving, policy), "unit", "bucket", policy)
    units = _with_customers(_weighed(states, relations), policy)
    kept = select(*(each for each in units.c if each.name != "is_told")).where(units.c.is_told)
    told = [select(*_told(carried(kept.subquery("row"), relations, policy), policy))]
    if has_asides:
        still = _outside_empty(_still(changes, revalued, policy), units)
        told.append(_asides(swapped(still, relations, policy)))
    return _with_cohorts(union_all(*told).subquery("told"))


def _still(changes: FromClause, revalued: FromClause | None, policy: Policy) -> CTE:
    """The changes that move nothing for their unit; those of rate alone never do."""
    still = select(changes).where(not_(changes.c.moves))
    if revalued is None:
        return still.cte("still")
    rates = dated(revalued, policy)
    names = [column.name for column in rates.c]
    return union_all(
        still.with_only_columns(*(changes.c[name] for name in names)), select(rates)
    ).cte("still")


def _with_customers(states: FromClause, policy: Policy) -> CTE:
    """The changes with what the customer was before and after; is_told: do they say anything?

    That is the unit's state, but for `movement_level = subscription`: customers are counted as
    customers whatever movements are told of, instant by instant. `counted` is who they are counted
    by, and counted_bucket when: where that is the unit its rows are already in this order.
    """
    if policy.movement_level == "customer":
        return select(
            states,
            states.c.was_active.label("customer_was"),
            states.c.is_active.label("customer_is"),
            states.c.unit.label("counted"),
            states.c.bucket.label("counted_bucket"),
            and_(states.c.turns, or_(states.c.was_active, states.c.is_active)).label("is_told"),
        ).cte("unit_change")
    of_unit = ("was_active", "is_active", "is_mixed", "present_before")
    kept = [column.name for column in states.c if column.name not in of_unit]
    units = select(
        *(states.c[name] for name in kept),
        states.c.was_active.label("unit_was"),
        states.c.is_active.label("unit_is"),
    ).subquery("unit_state")
    # Who is kept at no value since the first payment: for a customer that may be another unit's.
    paid = with_first_payment(units, policy, "customer_id")
    states_of_both = balanced(paid, "customer_id", "occurred_at", policy)
    came_or_went = func.bool_or(states_of_both.c.was_active != states_of_both.c.is_active).over(
        partition_by=(states_of_both.c.unit, states_of_both.c.bucket)
    )
    both = select(states_of_both, came_or_went.label("came_or_went")).subquery("both")
    return select(
        *(both.c[name] for name in kept),
        both.c.unit_was.label("was_active"),
        both.c.unit_is.label("is_active"),
        both.c.was_active.label("customer_was"),
        both.c.is_active.label("customer_is"),
        both.c.customer_id.label("counted"),
        both.c.occurred_at.label("counted_bucket"),
        or_(and_(both.c.turns, or_(both.c.unit_was, both.c.unit_is)), both.c.came_or_went).label(
            "is_told"
        ),
    ).cte("unit_change")


def _outside_empty(still: CTE, units: CTE) -> FromClause:
    """The changes that move nothing, but for those in the middle of a bucket that is not told.

    Who came and left within a bucket was never there, and changed no item meanwhile either.
    """
    at = units.c.occurred_at
    empty = (
        select(
            units.c.unit.label("owner"),
            func.min(at).label("begins_at"),
            func.max(at).label("ends_at"),
        )
        .where(not_(units.c.is_told), units.c.turns)
        .group_by(units.c.unit, units.c.bucket)
    )
    instants = select(still.c.unit.label("owner"), still.c.occurred_at.label("at"))
    inside = within(instants, empty, "empty")
    same = and_(inside.c.owner == still.c.unit, inside.c.at == still.c.occurred_at)
    joined = still.outerjoin(inside, same)
    return select(still).select_from(joined).where(inside.c.owner.is_(None)).subquery("outside")


def _weighed(states: FromClause, relations: Relations) -> FromClause:
    """The changes with a weight by which a bucket's changes can be added up to know their sign.

    Only a bucket with two currencies needs rates for that. Where a rate is missing the sum is
    refused by every question anyway, so its name may rest on the other currency.
    """
    rates = select(daily_rates(relations.fx_rates, relations.base_currency)).cte("rate")
    factor = (
        select(rates.c.factor)
        .where(in_force(rates, states.c.currency, states.c.day))
        .scalar_subquery()
    )
    weight = case((states.c.is_mixed, states.c.amount_minor * factor), else_=states.c.amount_minor)
    return select(states, weight.label("weight")).subquery("weighed")


def _told(row: FromClause, policy: Policy) -> list[ColumnElement[Any]]:
    """A row of the ledger, but for its cohort."""
    return [
        *(row.c[name] for name in LINE),
        row.c.occurred_at,
        row.c.day,
        _kind(row, policy).label("type"),
        row.c.amount_minor,
        _base_amount(row),
        cast(_customer_delta(row), SmallInteger).label("customer_delta"),
        row.c.cause,
        row.c.event_position,
        case((_leaves(row), row.c.reason)).label("churn_reason"),
        row.c.counted,
    ]


def _asides(changes: FromClause) -> Select[tuple[object, ...]]:
    """Changes of lines that are no movement of their unit: another rate, or another item.

    They add up to nothing for the unit in its own currency, but plans need them to add up as well.
    """
    is_rate = and_(changes.c.amount_minor == 0, changes.c.present == 0)
    # One free item for another changes no sum, and may be of a customer who never became active.
    is_worth_telling = or_(changes.c.amount_minor != 0, is_rate)
    return select(
        *(changes.c[name] for name in LINE),
        changes.c.occurred_at,
        changes.c.day,
        case((is_rate, FX_TYPE), else_=MovementType.EXPANSION.value),
        changes.c.amount_minor,
        _base_amount(changes),
        cast(literal(0), SmallInteger),
        changes.c.cause,
        changes.c.event_position,
        cast(null(), Text),
        changes.c.customer_id,
    ).where(is_worth_telling)


def _base_amount(rows: FromClause) -> ColumnElement[Any]:
    """The amount in base currency, where the policy gave the row a rate of its own."""
    if "amount_base_minor" in rows.c:
        return rows.c.amount_base_minor
    return cast(null(), Numeric).label("amount_base_minor")


def _with_cohorts(told: FromClause) -> Select[tuple[object, ...]]:
    """The rows with the month in which their customer first became active."""
    joined = case((told.c.customer_delta > 0, told.c.day))
    cohort = month_of(func.min(joined).over(partition_by=told.c.counted))
    columns = [column for column in told.c if column.name != "counted"]
    return select(*columns, cohort.label("cohort_month"))


def _joins(row: FromClause) -> ColumnElement[bool]:
    return and_(not_(row.c.was_active), row.c.is_active)


def _leaves(row: FromClause) -> ColumnElement[bool]:
    return and_(row.c.was_active, not_(row.c.is_active))


def _kind(row: FromClause, policy: Policy) -> ColumnElement[str]:
    whole = (row.c.unit, row.c.bucket)
    first_active = func.min(case((row.c.is_active, row.c.bucket))).over(partition_by=row.c.unit)
    is_new = or_(row.c.bucket == first_active, not_(_returns(row, policy)))
    net = func.sum(row.c.weight).over(partition_by=whole)
    return case(
        (and_(_joins(row), is_new), MovementType.NEW.value),
        (_joins(row), MovementType.REACTIVATION.value),
        (_leaves(row), MovementType.CHURN.value),
        (net >= 0, MovementType.EXPANSION.value),
        else_=MovementType.CONTRACTION.value,
    )


def _returns(row: FromClause, policy: Policy) -> ColumnElement[bool]:
    """`reactivation`: is one who was active before and comes back now a returning customer?"""
    word, days = parameter(policy.reactivation)
    if word != "within":
        return true() if word == "forever" else false()
    arrived = func.max(row.c.occurred_at).over(partition_by=(row.c.unit, row.c.bucket))
    left = func.max(case((_leaves(row), row.c.occurred_at))).over(
        partition_by=row.c.unit, order_by=row.c.bucket, groups=(None, -1)
    )
    return arrived - left <= func.make_interval(0, 0, 0, 0, 24 * (days or 0))


def _customer_delta(row: FromClause) -> ColumnElement[int]:
    """+1 or -1 on the first row of a bucket in which the customer came or went, else 0."""
    place = func.row_number().over(
        partition_by=(row.c.counted, row.c.counted_bucket), order_by=in_order(row)
    )
    return case(
        (place > 1, 0),
        (and_(not_(row.c.customer_was), row.c.customer_is), 1),
        (and_(row.c.customer_was, not_(row.c.customer_is)), -1),
        else_=0,
    )
