"""Movements: level changes, netted and named.

A movement is a difference of two levels, so movements sum to the level, always. Changes are found
per item, gathered per customer and netting bucket, and each bucket gets one name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CTE,
    Date,
    DateTime,
    SmallInteger,
    and_,
    case,
    cast,
    false,
    func,
    or_,
    select,
    union_all,
)

from tidemill.fx import daily_rates, in_force
from tidemill.ledger.versions import forever
from tidemill.vocabulary import MovementType

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["changes", "named"]

# What stays the same along one line of the ledger.
LINE = (
    "customer_id",
    "subscription_id",
    "source_id",
    "item",
    "plan",
    "product",
    "interval",
    "interval_count",
    "currency",
)


def changes(levels: FromClause) -> FromClause:
    """The instants at which an item's level changes, with the signed change and its cause.

    Every level is written at its beginning and taken back at its end. Most ends meet a beginning of
    the same value (a renewal): those pairs cancel out and are dropped before anything is summed.
    Shape: the `LINE` columns, occurred_at, cause, event_position, reason, amount_minor.
    """
    turns = _turns(levels)
    line = [turns.c[name] for name in LINE]
    begins = select(
        *line,
        turns.c.seg_from.label("occurred_at"),
        turns.c.cause,
        turns.c.event_position,
        turns.c.reason,
        turns.c.amount_minor,
    ).where(~turns.c.continues)
    ends = select(
        *line,
        turns.c.seg_to,
        turns.c.next_cause,
        turns.c.next_position,
        turns.c.next_reason,
        -turns.c.amount_minor,
    ).where(~turns.c.is_continued, turns.c.seg_to < forever())
    signed = union_all(begins, ends).subquery("signed")
    keys = [column for column in signed.c if column.name != "amount_minor"]
    amount = func.sum(signed.c.amount_minor)
    return (
        select(*keys, amount.label("amount_minor"))
        .group_by(*keys)
        .having(amount != 0)
        .subquery("change")
    )


def _turns(levels: FromClause) -> CTE:
    """The levels that do not go on unchanged at both their ends.

    `continues`: the same item had the same level right before; `is_continued`: it has right after.
    """

    def before(column: ColumnElement[Any]) -> ColumnElement[Any]:
        run = (levels.c.subscription_id, levels.c.item)
        return func.lag(column).over(partition_by=run, order_by=levels.c.seg_from)

    same = and_(
        before(levels.c.seg_to) == levels.c.seg_from,
        before(levels.c.amount_minor) == levels.c.amount_minor,
        *(
            before(levels.c[name]).is_not_distinct_from(levels.c[name])
            for name in LINE
            if name not in ("subscription_id", "item")
        ),
    )
    compared = select(levels, func.coalesce(same, false()).label("continues")).subquery("compared")
    next_one = func.lead(compared.c.continues).over(
        partition_by=(compared.c.subscription_id, compared.c.item), order_by=compared.c.seg_from
    )
    known = select(compared, func.coalesce(next_one, false()).label("is_continued")).subquery(
        "known"
    )
    return select(known).where(or_(~known.c.continues, ~known.c.is_continued)).cte("turn")


def named(changed: FromClause, relations: Relations, policy: Policy) -> Select[tuple[object, ...]]:
    """The ledger: every change with the name of its bucket's movement.

    Source: definitions.md §1.3. With b and a the customer's level before and after the bucket:
            b = 0 < a is new, or reactivation if ever active before; b > 0 = a is churn;
            otherwise a >= b is expansion and a < b contraction.
    Shape:  the columns of `models.metric_mrr_movement`.
    """
    weighed = _weighed(changed, relations, policy)
    return _classified(_balanced(weighed))


def _weighed(changed: FromClause, relations: Relations, policy: Policy) -> FromClause:
    """Changes with their day and, for customers who pay in several currencies, a common weight."""
    day = cast(func.timezone(policy.tz, changed.c.occurred_at), Date)
    dated = select(changed, day.label("day")).subquery("dated")
    bucket = (dated.c.customer_id, dated.c.day)
    mixed = func.min(dated.c.currency).over(partition_by=bucket) != func.max(dated.c.currency).over(
        partition_by=bucket
    )
    marked = select(dated, mixed.label("mixed")).subquery("marked")
    rates = select(daily_rates(relations.fx_rates, relations.base_currency)).cte("rate")
    # Only a bucket with two currencies needs rates to know whether its sum went up or down. Where a
    # rate is missing the sum is refused by every question anyway, so its name may rest on the rest.
    factor = (
        select(rates.c.factor)
        .where(in_force(rates, marked.c.currency, marked.c.day))
        .scalar_subquery()
    )
    weight = case((marked.c.mixed, marked.c.amount_minor * factor), else_=marked.c.amount_minor)
    return select(marked, weight.label("weight")).subquery("weighed")


def _balanced(weighed: FromClause) -> FromClause:
    """Each change with its customer's level before and after the bucket.

    A level is active when anything is paid, in whatever currency: levels are never negative, so the
    plain sum over currencies is zero exactly when all of them are.
    """
    bucket = (weighed.c.customer_id, weighed.c.day)
    # The default frame takes in all rows of the same day: the sum stands at the bucket's end.
    after = func.sum(weighed.c.amount_minor).over(
        partition_by=weighed.c.customer_id, order_by=weighed.c.day
    )
    net = func.sum(weighed.c.amount_minor).over(partition_by=bucket)
    place = func.row_number().over(
        partition_by=bucket,
        order_by=(
            weighed.c.subscription_id,
            weighed.c.item,
            weighed.c.plan,
            weighed.c.occurred_at,
            weighed.c.event_position,
            weighed.c.currency,
            weighed.c.interval,
            weighed.c.interval_count,
            weighed.c.product,
        ),
    )
    return select(
        weighed,
        (after - net).label("level_before"),
        after.label("level_after"),
        func.sum(weighed.c.weight).over(partition_by=bucket).label("net"),
        place.label("place"),
    ).subquery("balanced")


def _classified(balanced: FromClause) -> Select[tuple[object, ...]]:
    """Names the movement of each bucket and marks one of its rows when the customer came or went.

    A bucket in which a customer came and left again is empty: nothing was there before or after.
    """
    first_active = func.min(case((balanced.c.level_after > 0, balanced.c.day))).over(
        partition_by=balanced.c.customer_id
    )
    row = select(
        balanced,
        (balanced.c.level_before > 0).label("was_active"),
        (balanced.c.level_after > 0).label("is_active"),
        first_active.label("first_active"),
    ).subquery("row")
    joins, leaves = (
        and_(~row.c.was_active, row.c.is_active),
        and_(row.c.was_active, ~row.c.is_active),
    )
    kind = case(
        (and_(joins, row.c.day == row.c.first_active), MovementType.NEW.value),
        (joins, MovementType.REACTIVATION.value),
        (leaves, MovementType.CHURN.value),
        (row.c.net >= 0, MovementType.EXPANSION.value),
        else_=MovementType.CONTRACTION.value,
    )
    presence = case((row.c.place > 1, 0), (joins, 1), (leaves, -1), else_=0)
    return select(
        *(row.c[name] for name in LINE),
        row.c.occurred_at,
        row.c.day,
        kind.label("type"),
        row.c.amount_minor,
        cast(presence, SmallInteger).label("customer_delta"),
        # Through a plain timestamp: a date alone would be truncated in the session's time zone.
        cast(func.date_trunc("month", cast(row.c.first_active, DateTime)), Date).label(
            "cohort_month"
        ),
        row.c.cause,
        row.c.event_position,
        case((leaves, row.c.reason)).label("churn_reason"),
    ).where(or_(row.c.was_active, row.c.is_active))
