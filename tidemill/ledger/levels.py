"""Levels: what each item of a segment is worth a month, exactly.

The knobs `tax`, `weeks_per_month`, `days_per_month`, `rounding` and `arr_basis` act here, each in a
function of its own.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import (
    CTE,
    Numeric,
    SmallInteger,
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

from tidemill.knobs import fraction
from tidemill.ledger.activity import keeps_free
from tidemill.ledger.discounts import discounted
from tidemill.ledger.matching import matching, where
from tidemill.ledger.precision import dividend, half_up, short
from tidemill.ledger.timers import after_intervals
from tidemill.ledger.usage import usage_items

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["Measure", "item_levels"]

Measure = Literal["mrr", "contract_value", "contract_days"]
"""What a level measures: a month's value, or a year's in one of the two other reckonings of ARR."""

# What made the value, and is in it.
_SPENT: Final = frozenset({"amount", "counts", "present", "term_start"})

_ZERO: Final = cast(literal(0), Numeric)


def item_levels(
    relations: Relations,
    policy: Policy,
    segments: CTE,
    discounts: CTE,
    usage: CTE | None,
    measure: Measure,
) -> FromClause:
    """The value of every item in every segment that is worth something or keeps its customer.

    Formula: max(0, (unit_amount - tax) x quantity - discounts) x intervals a month.
    Source:  docs/reference/definitions.md, MRR. One-off lines are no items, and a metered item has
             no value of its own.
    Shape:   the columns of `segments` but `counts` and `term_start`, then ordinal, item, plan,
             product, interval, interval_count, amount_minor (exact, native minor units a month, or
             a year by `measure`), present (1 on one item of a segment that may keep its customer at
             no value, else 0).
    """
    amounts = [_net(relations, policy, segments, discounts)]
    if usage is not None:
        amounts.append(usage_items(relations, usage, segments))
    priced = union_all(*amounts).subquery("priced")
    value = case((priced.c.counts, _measured(priced, policy, measure)), else_=_ZERO)
    columns = [column for column in priced.c if column.name not in _SPENT]
    present = cast(case((priced.c.present, 1), else_=0), SmallInteger)
    level = select(*columns, value.label("amount_minor"), present.label("present")).subquery(
        "item_value"
    )
    rounds = policy.rounding == "subscription" and measure == "mrr"
    if not rounds and not keeps_free(policy):
        return level
    alone, together = _parted(relations, level, usage)
    if keeps_free(policy):
        together = _present_once(together)
    if rounds:
        alone, together = _rounded_alone(alone), _rounded(together)
    names = [column.name for column in level.c]
    parts = [select(*(part.c[name] for name in names)) for part in (alone, together)]
    return union_all(*parts).subquery("item_level")


def _gross(relations: Relations, policy: Policy, segments: CTE) -> FromClause:
    """Items with their full amount a billing interval, before discounts.

    Not made once for all who ask: it is wide, and discounts need a small part of it.
    """
    item = relations.version_items
    licensed = item.c.usage_type == "licensed"
    full = case((licensed, _unit_amount(item, policy) * item.c.quantity), else_=_ZERO)
    return (
        select(
            segments,
            item.c.ordinal,
            item.c.item,
            item.c.plan,
            item.c.product,
            item.c.interval,
            item.c.interval_count,
            full.label("amount"),
        )
        .join(item, item.c.version_id == segments.c.version_id)
        .where(or_(and_(segments.c.counts, licensed), segments.c.present))
        .subquery("gross")
    )


def _unit_amount(item: FromClause, policy: Policy) -> ColumnElement[Decimal]:
    """`tax`: a price that contains tax counts without it, unless the policy wants it in."""
    if policy.tax == "include":
        return item.c.unit_amount
    return item.c.unit_amount - item.c.tax_inclusive_amount


def _net(
    relations: Relations, policy: Policy, segments: CTE, discounts: CTE
) -> Select[tuple[object, ...]]:
    """The same items with what discounts leave of their amount."""
    gross = _gross(relations, policy, segments)
    if policy.discounts == "exclude":
        return select(gross)
    net = discounted(segments, _gross(relations, policy, segments), discounts, policy)
    joined = gross.outerjoin(
        net,
        and_(
            net.c.version_id == gross.c.version_id,
            net.c.seg_from == gross.c.seg_from,
            net.c.ordinal == gross.c.ordinal,
        ),
    )
    columns = [column for column in gross.c if column.name != "amount"]
    amount = func.coalesce(net.c.amount, gross.c.amount)
    return select(*columns, amount.label("amount")).select_from(joined)


def _measured(item: FromClause, policy: Policy, measure: Measure) -> ColumnElement[Decimal]:
    """An amount a billing interval as an amount a month, e.g. 700 a week x 52/12 = 3033.33….

    Or as an amount a year: twelve months (`contract_value`), or the current term's daily amount 365
    times (`contract_days`: 109800 for a leap year's 366 days = 109500).
    One division, made last: the quotient is exact wherever a finite decimal can be.
    """
    if measure == "contract_days":
        term_end = after_intervals(item.c.term_start, item.c.interval, item.c.interval_count)
        days = cast(func.extract("epoch", term_end - item.c.term_start), Numeric) / 86_400
        return cast(item.c.amount * 365 / days, Numeric)
    months = 12 if measure == "contract_value" else 1

    def times(factor: Fraction) -> ColumnElement[Decimal]:
        parts = item.c.interval_count * factor.denominator
        return cast(dividend(item.c.amount * (factor.numerator * months), policy) / parts, Numeric)

    is_amount = and_(item.c.interval == "month", item.c.interval_count == 1)
    return case(
        # Most are: divided by one they would be the same with twenty more digits.
        *([(is_amount, item.c.amount)] if months == 1 else []),
        (item.c.interval == "month", times(Fraction(1))),
        (item.c.interval == "year", times(Fraction(1, 12))),
        (item.c.interval == "week", times(fraction(policy.weeks_per_month))),
        else_=times(fraction(policy.days_per_month)),
    )


def _parted(
    relations: Relations, level: FromClause, usage: CTE | None
) -> tuple[FromClause, FromClause]:
    """The items that are alone in their segment, and those that may have others beside them.

    Most are alone, and what is said of a segment's items together takes a sort and two windows.
    """
    item = relations.version_items
    several = select(item.c.version_id).where(item.c.ordinal > 0).distinct().subquery("several")
    source = matching(level, several, version_id=level.c.version_id)
    has_others: ColumnElement[bool] = several.c.version_id.is_not(None)
    if usage is not None:
        used = select(usage.c.subscription_id).distinct().subquery("used")
        source = matching(source, used, subscription_id=level.c.subscription_id)
        has_others = or_(has_others, used.c.subscription_id.is_not(None))
    marked = (
        select(level, has_others.label("has_others"))
        .select_from(source)
        .where(where(level.c.version_id.is_not(None)))
        .cte("item_level_marked")
    )
    alone = select(marked).where(not_(marked.c.has_others)).subquery("alone")
    return alone, select(marked).where(marked.c.has_others).subquery("together")


def _present_once(level: FromClause) -> FromClause:
    """Keeps `present` on the first item of a segment only, so that it can be summed."""
    columns = [column for column in level.c if column.name != "present"]
    place = func.row_number().over(
        partition_by=(level.c.version_id, level.c.seg_from), order_by=level.c.ordinal
    )
    present = case((place == 1, level.c.present), else_=0)
    return select(*columns, cast(present, SmallInteger).label("present")).subquery("present_once")


def _rounded_alone(level: FromClause) -> FromClause:
    columns = [column for column in level.c if column.name != "amount_minor"]
    amount = half_up(level.c.amount_minor)
    return select(*columns, amount.label("amount_minor")).subquery("rounded_alone")


def _rounded(level: FromClause) -> FromClause:
    """`rounding = subscription`: whole minor units in total; the first item takes the difference.

    What is worth nothing in total has no items that are worth anything. Usage may be in a currency
    of its own, and is rounded by itself then.
    """
    whole = (level.c.version_id, level.c.seg_from, level.c.currency)
    total = half_up(func.sum(level.c.amount_minor).over(partition_by=whole))
    own = short(level.c.amount_minor)
    others = func.sum(own).over(partition_by=whole) - own
    first = func.row_number().over(partition_by=whole, order_by=level.c.ordinal) == 1
    amount = case((total == 0, _ZERO), (first, total - others), else_=own)
    columns = [column for column in level.c if column.name != "amount_minor"]
    return select(*columns, amount.label("amount_minor")).subquery("rounded")
