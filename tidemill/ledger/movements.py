"""Movements: the changes of each bucket, named.

A movement is a difference of two levels, so movements sum to the level, always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import SmallInteger, and_, case, cast, false, func, not_, or_, select, true

from tidemill.fx import daily_rates, in_force
from tidemill.knobs import parameter
from tidemill.ledger.activity import balanced, with_first_payment
from tidemill.ledger.buckets import bucketed, month_of
from tidemill.ledger.changes import LINE
from tidemill.vocabulary import MovementType

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["named"]


def named(changed: FromClause, relations: Relations, policy: Policy) -> Select[tuple[object, ...]]:
    """The ledger: every change with the name of its bucket's movement.

    Source: docs/reference/definitions.md, movements. With b and a the level of the customer before
            and after the bucket: not active, then active is new, or reactivation if ever active
            before; active, then not is churn; otherwise a >= b is expansion, a < b contraction.
    Shape:  the columns of `models.metric_mrr_movement`.
    A bucket in which a unit came and left again is empty: nothing was there before or after.
    """
    buckets = with_first_payment(bucketed(changed, policy), policy)
    states = balanced(_weighed(buckets, relations), "unit", "bucket", policy)
    return _classified(_with_customers(states, policy), policy)


def _with_customers(states: FromClause, policy: Policy) -> FromClause:
    """The changes that say something, with what the customer was before and after.

    That is the unit's state, but for `movement_level = subscription`: customers are counted as
    customers whatever movements are told of, instant by instant.
    """
    if policy.movement_level == "customer":
        return (
            select(
                states,
                states.c.was_active.label("customer_was"),
                states.c.is_active.label("customer_is"),
                states.c.bucket.label("customer_bucket"),
            )
            .where(or_(states.c.was_active, states.c.is_active))
            .subquery("row")
        )
    units = select(
        *(column for column in states.c if column.name not in ("was_active", "is_active")),
        states.c.was_active.label("unit_was"),
        states.c.is_active.label("unit_is"),
    ).subquery("unit_state")
    both = balanced(units, "customer_id", "occurred_at", policy)
    customer_changes = both.c.was_active != both.c.is_active
    return (
        select(
            *(both.c[column.name] for column in states.c if column.name in both.c),
            both.c.unit_was.label("was_active"),
            both.c.unit_is.label("is_active"),
            both.c.was_active.label("customer_was"),
            both.c.is_active.label("customer_is"),
            both.c.occurred_at.label("customer_bucket"),
        )
        .where(or_(both.c.unit_was, both.c.unit_is, customer_changes))
        .subquery("row")
    )


def _weighed(buckets: FromClause, relations: Relations) -> FromClause:
    """The changes with a weight by which a bucket's changes can be added up to know their sign.

    Only a bucket with two currencies needs rates for that. Where a rate is missing the sum is
    refused by every question anyway, so its name may rest on the other currency.
    """
    whole = (buckets.c.unit, buckets.c.bucket)
    mixed = func.min(buckets.c.currency).over(partition_by=whole) != func.max(
        buckets.c.currency
    ).over(partition_by=whole)
    marked = select(buckets, mixed.label("mixed")).subquery("marked")
    rates = select(daily_rates(relations.fx_rates, relations.base_currency)).cte("rate")
    factor = (
        select(rates.c.factor)
        .where(in_force(rates, marked.c.currency, marked.c.day))
        .scalar_subquery()
    )
    weight = case((marked.c.mixed, marked.c.amount_minor * factor), else_=marked.c.amount_minor)
    columns = [marked.c[column.name] for column in buckets.c]
    return select(*columns, weight.label("weight")).subquery("weighed")


def _classified(row: FromClause, policy: Policy) -> Select[tuple[object, ...]]:
    """The rows of the ledger, each with the name of its bucket."""
    return select(
        *(row.c[name] for name in LINE),
        row.c.occurred_at,
        row.c.day,
        _kind(row, policy).label("type"),
        row.c.amount_minor,
        cast(_customer_delta(row), SmallInteger).label("customer_delta"),
        month_of(
            func.min(case((row.c.is_active, row.c.day))).over(partition_by=row.c.customer_id)
        ).label("cohort_month"),
        row.c.cause,
        row.c.event_position,
        case((_leaves(row), row.c.reason)).label("churn_reason"),
    )


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
        partition_by=(row.c.customer_id, row.c.customer_bucket),
        order_by=[row.c[name] for name in (*LINE, "occurred_at", "event_position")],
    )
    return case(
        (place > 1, 0),
        (and_(not_(row.c.customer_was), row.c.customer_is), 1),
        (and_(row.c.customer_was, not_(row.c.customer_is)), -1),
        else_=0,
    )
