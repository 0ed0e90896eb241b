"""The knob `activation`: the first instant that counts, when the status alone is not enough.

The evidence is the subscription's first invoice: the earliest one that asks for money, issued
before the end of the first billing period in which the subscription was active. Where there is no
such invoice nothing contradicts the status, and the status decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import CTE, and_, case, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.ledger.timers import after_intervals
from tidemill.ledger.versions import forever

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["activated"]


def activated(relations: Relations, policy: Policy, versions: CTE) -> CTE:
    """The versions with `activated_at`, before which nothing counts; null where nothing is awaited.

    'infinity' stands for an invoice that was never paid.
    """
    if policy.activation == "status_active":
        return versions
    first = _first_invoices(relations, versions)
    return (
        select(versions, _proof(first, policy).label("activated_at"))
        .outerjoin(first, first.c.subscription_id == versions.c.subscription_id)
        .cte("activated_version")
    )


def _proof(first: FromClause, policy: Policy) -> ColumnElement[datetime]:
    if policy.activation == "invoice_issued":
        return first.c.issued_at
    paid_at: ColumnElement[datetime] = first.c.paid_at
    if policy.activation == "partly_paid":
        paid_at = func.least(paid_at, first.c.first_payment_at)
    if policy.refunds == "as_if_unpaid":
        paid_at = case((first.c.refunded < first.c.total, paid_at))
    is_known = first.c.subscription_id.is_not(None)
    return case((is_known, func.coalesce(paid_at, forever())))


def _first_invoices(relations: Relations, versions: CTE) -> FromClause:
    invoice, lives = relations.invoices, _first_lives(relations, versions)
    return (
        select(
            lives.c.subscription_id,
            invoice.c.issued_at,
            invoice.c.paid_at,
            invoice.c.first_payment_at,
            invoice.c.refunded,
            invoice.c.total,
        )
        .ext(distinct_on(lives.c.subscription_id))
        .join(
            invoice,
            and_(
                invoice.c.subscription_id == lives.c.subscription_id,
                invoice.c.issued_at < lives.c.first_period_end,
            ),
        )
        .where(invoice.c.total > 0, invoice.c.status.in_(("open", "paid", "uncollectible")))
        .order_by(lives.c.subscription_id, invoice.c.issued_at, invoice.c.invoice_id)
        .subquery("first_invoice")
    )


def _first_lives(relations: Relations, versions: CTE) -> FromClause:
    """When each subscription's first active billing period ends."""
    item = relations.version_items
    # The version first, then its items: all versions with all items would be sorted otherwise.
    first = (
        select(
            versions.c.subscription_id,
            versions.c.version_id,
            versions.c.valid_from,
            versions.c.current_period_end,
        )
        .ext(distinct_on(versions.c.subscription_id))
        .where(versions.c.status.in_(("active", "past_due")))
        .order_by(versions.c.subscription_id, versions.c.valid_from)
        .subquery("first_version")
    )
    period_end = func.coalesce(
        first.c.current_period_end,
        after_intervals(first.c.valid_from, item.c.interval, item.c.interval_count),
    )
    return (
        select(first.c.subscription_id, period_end.label("first_period_end"))
        .ext(distinct_on(first.c.subscription_id))
        .outerjoin(item, item.c.version_id == first.c.version_id)
        .order_by(first.c.subscription_id, item.c.ordinal)
        .subquery("first_life")
    )
