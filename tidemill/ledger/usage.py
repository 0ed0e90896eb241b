"""The knob `usage`: what a subscription's usage adds to its level.

`last_invoice` is what was invoiced last, `trailing:N` the mean of the last N usage invoices; either
stands from the issue of an invoice until the next one. The usage *revenue* of a month is another
metric and knows nothing of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import CTE, SmallInteger, cast, func, literal, null, select, union_all
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.knobs import parameter
from tidemill.ledger.precision import dividend
from tidemill.ledger.timers import Timer, dated_timer
from tidemill.ledger.versions import forever
from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from sqlalchemy import FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["usage_items", "usage_spans", "usage_timers"]

# After all items of a version: usage has no place in the vendor's list.
_LAST_PLACE = 32_767


def usage_spans(relations: Relations, policy: Policy) -> CTE | None:
    """What usage is worth an invoice, from one usage invoice of a subscription to its next.

    Shape: subscription_id, currency (the invoice's), item, plan, amount (minor units, not yet a
           month; credits can make it 0 and no less), issued_at, until (half-open; 'infinity' after
           the last), event_position of the invoice. None when the policy leaves usage out.
    """
    word, number = parameter(policy.usage)
    if word == "exclude":
        return None
    line = relations.usage_lines
    invoiced = (
        select(
            line.c.subscription_id,
            line.c.currency,
            line.c.issued_at,
            func.min(line.c.item).label("item"),
            func.min(line.c.plan).label("plan"),
            func.sum(line.c.amount).label("amount"),
            func.min(line.c.invoice_id).label("event_position"),
        )
        .group_by(line.c.subscription_id, line.c.currency, line.c.issued_at)
        .subquery("usage_invoice")
    )
    by_subscription = invoiced.c.subscription_id
    looked_at = number if word == "trailing" and number else 1
    mean = func.avg(dividend(invoiced.c.amount, policy)).over(
        partition_by=(by_subscription, invoiced.c.currency),
        order_by=invoiced.c.issued_at,
        rows=(1 - looked_at, 0),
    )
    # The next instant, not the next row: two invoices of one instant both stand until then. The
    # first value, not the least one: that would be looked for anew in each row's frame.
    following = func.first_value(invoiced.c.issued_at, type_=invoiced.c.issued_at.type).over(
        partition_by=by_subscription, order_by=invoiced.c.issued_at, groups=(1, None)
    )
    return select(
        by_subscription,
        invoiced.c.currency,
        invoiced.c.item,
        invoiced.c.plan,
        func.greatest(mean, 0).label("amount"),
        invoiced.c.issued_at,
        func.coalesce(following, forever()).label("until"),
        invoiced.c.event_position,
    ).cte("usage_span")


def usage_timers(usage: CTE | None, versions: CTE) -> list[Timer]:
    """Every usage invoice inside a version changes its level."""
    if usage is None:
        return []
    issued = select(usage.c.subscription_id, usage.c.issued_at.label("at"), usage.c.event_position)
    return [dated_timer(versions, issued, Cause.USAGE_INVOICE, "usage_invoiced")]


def usage_items(relations: Relations, usage: CTE, segments: CTE) -> Select[tuple[object, ...]]:
    """Usage as one more item of each counted segment, billed by its first metered item's interval.

    Shape: the columns of `segments`, but with the currency of the invoice, then ordinal, item,
           plan, product, interval, interval_count and amount.
    """
    item = relations.version_items
    metered = (
        select(item)
        .ext(distinct_on(item.c.version_id))
        .where(item.c.usage_type == "metered")
        .order_by(item.c.version_id, item.c.ordinal)
        .subquery("metered")
    )
    used = _used_segments(usage, segments)
    invoiced = {"currency": used.c.used_currency}
    return (
        select(
            *(invoiced.get(column.name, used.c[column.name]) for column in segments.c),
            cast(literal(_LAST_PLACE), SmallInteger).label("ordinal"),
            func.coalesce(used.c.item, metered.c.item, "usage").label("item"),
            func.coalesce(used.c.plan, metered.c.plan).label("plan"),
            metered.c.product,
            func.coalesce(metered.c.interval, "month").label("interval"),
            func.coalesce(metered.c.interval_count, 1).label("interval_count"),
            used.c.amount,
        )
        .select_from(used)
        .outerjoin(metered, metered.c.version_id == used.c.version_id)
    )


def _used_segments(usage: CTE, segments: CTE) -> FromClause:
    """The counted segments with the usage that stands in each: used_currency, item, plan, amount.

    Segments and invoices of a currency are laid out in one line of time, in which each segment
    looks back to the last invoice: a join by ranges would compare each with each.
    """
    values = ("item", "plan", "amount", "until")
    names = [column.name for column in segments.c]
    currency = select(usage.c.subscription_id, usage.c.currency).distinct().subquery("currency")
    pieces = (
        select(
            *segments.c,
            segments.c.seg_from.label("at"),
            currency.c.currency.label("used_currency"),
            *(null().label(name) for name in values),
        )
        .join(currency, currency.c.subscription_id == segments.c.subscription_id)
        .where(segments.c.counts)
    )
    invoices = select(
        *(usage.c.subscription_id if name == "subscription_id" else null() for name in names),
        usage.c.issued_at,
        usage.c.currency,
        *(usage.c[name] for name in values),
    )
    marks = union_all(pieces, invoices).subquery("mark")
    owner = (marks.c.subscription_id, marks.c.used_currency)
    since = func.count(marks.c.until).over(partition_by=owner, order_by=marks.c.at)
    line = select(marks, since.label("since")).subquery("line")
    stands = (line.c.subscription_id, line.c.used_currency, line.c.since)
    known = select(
        *(line.c[name] for name in (*names, "used_currency")),
        *(func.max(line.c[name]).over(partition_by=stands).label(name) for name in values),
    ).subquery("known_usage")
    in_force = known.c.seg_from < known.c.until
    return select(known).where(known.c.version_id.is_not(None), in_force).subquery("used_segment")
