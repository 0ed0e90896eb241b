"""Levels: what each item of a counted segment is worth a month, exactly.

The knobs `tax`, `weeks_per_month` and `days_per_month` act here, each in a function of its own.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from sqlalchemy import CTE, and_, case, func, select

from tidemill.ledger.discounts import discounted
from tidemill.policy import fraction

if TYPE_CHECKING:
    from decimal import Decimal

    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["item_levels"]


def item_levels(relations: Relations, policy: Policy, segments: CTE, discounts: CTE) -> FromClause:
    """The monthly value of every licensed item in every counted segment.

    Formula: max(0, (unit_amount - tax) x quantity - discounts) x intervals a month.
    Source:  docs/reference/definitions.md, MRR. One-off lines are no items, and a metered item has
             no value of its own.
    Shape:   the columns of `segments`, item, plan, product, interval, interval_count and
             amount_minor (exact, native minor units a month).
    """
    gross = _gross(relations, policy, segments)
    net = discounted(segments, gross, discounts)
    joined = gross.outerjoin(
        net,
        and_(
            net.c.version_id == gross.c.version_id,
            net.c.seg_from == gross.c.seg_from,
            net.c.ordinal == gross.c.ordinal,
        ),
    )
    amount = func.coalesce(net.c.amount, gross.c.amount)
    columns = [column for column in gross.c if column.name not in ("ordinal", "amount")]
    return (
        select(*columns, monthly(amount, gross, policy).label("amount_minor"))
        .select_from(joined)
        .subquery("level")
    )


def _gross(relations: Relations, policy: Policy, segments: CTE) -> CTE:
    """Items of counted segments with their full amount a billing interval."""
    item = relations.version_items
    return (
        select(
            segments,
            item.c.ordinal,
            item.c.item,
            item.c.plan,
            item.c.product,
            item.c.interval,
            item.c.interval_count,
            (_unit_amount(item, policy) * item.c.quantity).label("amount"),
        )
        .join(item, item.c.version_id == segments.c.version_id)
        .where(segments.c.counts, item.c.usage_type == "licensed")
        .cte("gross")
    )


def _unit_amount(item: FromClause, policy: Policy) -> ColumnElement[Decimal]:
    """`tax`: a price that contains tax counts without it, unless the policy wants it in."""
    if policy.tax == "include":
        return item.c.unit_amount
    return item.c.unit_amount - item.c.tax_inclusive_amount


def monthly(
    amount: ColumnElement[Decimal], item: FromClause, policy: Policy
) -> ColumnElement[Decimal]:
    """An amount a billing interval as an amount a month, e.g. 700 a week x 52/12 = 3033.33….

    One division, made last: the quotient is exact wherever a finite decimal can be.
    """

    def times(factor: Fraction) -> ColumnElement[Decimal]:
        return amount * factor.numerator / (item.c.interval_count * factor.denominator)

    return case(
        (item.c.interval == "month", times(Fraction(1))),
        (item.c.interval == "year", times(Fraction(1, 12))),
        (item.c.interval == "week", times(fraction(policy.weeks_per_month))),
        else_=times(fraction(policy.days_per_month)),
    )
