"""Which discounts lower MRR, when, and by how much.

The knob `discounts` acts in `counted_discounts`. Discounts are applied in the vendors' order: those
of an item first, then those of the whole subscription, each on what the one before has left.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    CTE,
    Integer,
    Numeric,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.ledger.precision import dividend
from tidemill.ledger.timers import after_intervals

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["counted_discounts", "discounted"]

_COUNTED_DURATIONS: Final = {
    "exclude_once": ("repeating", "forever"),
    "include_all": ("once", "repeating", "forever"),
    "forever_only": ("forever",),
    "exclude": (),
}

# Multiplied with, because a division would end its digits somewhere.
_PERCENT: Final = Decimal("0.01")


def counted_discounts(relations: Relations, policy: Policy, versions: CTE) -> CTE:
    """The discounts that lower MRR under the policy, with the span in which each does.

    Shape: version_id, place (order of application), item (null = all), percent_off, amount_off
           (minor units a billing interval), starts_at, ends_at (null = open), and the version's
           valid_from and valid_to.
    A `once` coupon lasts one billing interval of the item it is on, else of the first item.
    Source: contracts.md §1 `duration`; Stripe applies item-level discounts first.
    """
    given, durations = relations.discounts, _COUNTED_DURATIONS[policy.discounts]
    starts_at = func.coalesce(given.c.starts_at, versions.c.started_at, versions.c.valid_from)
    told = [each for each in given.c if each.name != "starts_at"]
    # Found once for all durations: it takes a look at every version.
    held = (
        select(*told, starts_at.label("starts_at"), versions.c.valid_from, versions.c.valid_to)
        .join(versions, versions.c.version_id == given.c.version_id)
        .where(given.c.duration.in_(durations))
        .cte("held_discount")
    )

    def spans_of(ends_at: ColumnElement[datetime]) -> Select[Any]:
        names = ("version_id", "ordinal", "item", "percent_off", "amount_off", "starts_at")
        return select(
            *(held.c[name] for name in names),
            ends_at.label("ends_at"),
            held.c.valid_from,
            held.c.valid_to,
        )

    is_one_interval = and_(held.c.duration == "once", held.c.ends_at.is_(None))
    parts = [spans_of(held.c.ends_at).where(not_(is_one_interval))]
    if "once" in durations:
        item = relations.version_items
        of_item = and_(
            item.c.version_id == held.c.version_id,
            or_(held.c.item.is_(None), held.c.item == item.c.item),
        )
        parts.append(
            spans_of(after_intervals(held.c.starts_at, item.c.interval, item.c.interval_count))
            .ext(distinct_on(held.c.version_id, held.c.ordinal))
            .select_from(held.join(item, of_item))
            .where(is_one_interval)
            .order_by(held.c.version_id, held.c.ordinal, item.c.ordinal)
        )
    # In brackets, because only one of them is in an order.
    spans = union_all(*(select(part.subquery()) for part in parts)).subquery("discount_span")
    place = func.row_number().over(
        partition_by=spans.c.version_id, order_by=(spans.c.item.is_(None), spans.c.ordinal)
    )
    return select(spans, place.label("place")).cte("counted_discount")


def discounted(segments: CTE, gross: FromClause, discounts: CTE, policy: Policy) -> FromClause:
    """What each item of a discounted segment costs a billing interval, after all its discounts.

    gross:  version_id, seg_from, ordinal, item, amount: items of segments before discounts.
    Shape:  version_id, seg_from, ordinal, amount; only for segments in which a discount applies.

    The steps follow one another, so this recurses over them: one round a step, all segments at
    once. An amount off the whole subscription is spread over its items in proportion, and nothing
    falls below zero.
    """
    steps = _steps(segments, discounts)
    first = steps.alias("first_step")
    walk = (
        select(
            gross.c.version_id,
            gross.c.seg_from,
            gross.c.ordinal,
            gross.c.item,
            gross.c.amount,
            cast(literal(0), Integer).label("step"),
        )
        .join(first, and_(_same_segment(first, gross), first.c.step == 1))
        .cte("discounting", recursive=True)
    )
    step = steps.alias("step")
    walk = walk.union_all(
        select(
            walk.c.version_id,
            walk.c.seg_from,
            walk.c.ordinal,
            walk.c.item,
            _left_after(walk, step, policy),
            step.c.step,
        ).join(step, and_(_same_segment(step, walk), step.c.step == walk.c.step + 1))
    )
    return (
        select(walk.c.version_id, walk.c.seg_from, walk.c.ordinal, walk.c.amount)
        .ext(distinct_on(walk.c.version_id, walk.c.seg_from, walk.c.ordinal))
        .order_by(walk.c.version_id, walk.c.seg_from, walk.c.ordinal, walk.c.step.desc())
        .subquery("discounted")
    )


def _steps(segments: CTE, discounts: CTE) -> CTE:
    """The discounts that apply in each counted segment, numbered 1, 2, … in their order."""
    step = func.row_number().over(
        partition_by=(segments.c.version_id, segments.c.seg_from), order_by=discounts.c.place
    )
    return (
        select(
            segments.c.version_id,
            segments.c.seg_from,
            discounts.c.item,
            discounts.c.percent_off,
            discounts.c.amount_off,
            cast(step, Integer).label("step"),
        )
        .join(discounts, discounts.c.version_id == segments.c.version_id)
        .where(
            segments.c.counts,
            discounts.c.starts_at <= segments.c.seg_from,
            or_(discounts.c.ends_at.is_(None), segments.c.seg_from < discounts.c.ends_at),
        )
        .cte("discount_step")
    )


def _same_segment(left: FromClause, right: FromClause) -> ColumnElement[bool]:
    return and_(left.c.version_id == right.c.version_id, left.c.seg_from == right.c.seg_from)


def _left_after(walk: CTE, step: FromClause, policy: Policy) -> ColumnElement[Decimal]:
    """An item's amount after one step; 100 off the whole leaves 3000 of 4000 at 3000 - 75."""
    amount = walk.c.amount
    applies = or_(step.c.item.is_(None), step.c.item == walk.c.item)
    total = func.sum(case((applies, amount), else_=0)).over(
        partition_by=(walk.c.version_id, walk.c.seg_from)
    )
    return case(
        (not_(applies), amount),
        (step.c.percent_off.is_not(None), amount * (100 - step.c.percent_off) * _PERCENT),
        (
            total > step.c.amount_off,
            amount - dividend(step.c.amount_off * amount, policy) / total,
        ),
        else_=cast(literal(0), Numeric),
    )
