"""Cash: what customers paid, less what went back to them, day by day."""

from __future__ import annotations

from datetime import date

from sqlalchemy import CTE, ColumnElement, Date, FromClause, case, cast, func, select

from tidemill.metrics.query import Query
from tidemill.vocabulary import PaymentKind

__all__ = ["cash_rows"]

_BACK = (PaymentKind.REFUNDED.value, PaymentKind.DISPUTED.value)


def cash_rows(q: Query, end: date) -> CTE:
    """Payments, refunds and disputes up to a day, signed, in whose books they are.

    Shape: customer_id, day (of the policy's time zone), native_currency, amount.
    """
    payment, identity = q.relations.payments, q.relations.identities
    owner: ColumnElement[int] = payment.c.customer_id
    source: FromClause = payment
    if q.policy.identity == "merged":
        source = payment.outerjoin(identity, identity.c.customer_id == owner)
        owner = func.coalesce(identity.c.canonical_id, owner)
    day = cast(func.timezone(q.policy.tz, payment.c.paid_at), Date)
    signed = case((payment.c.kind.in_(_BACK), -payment.c.amount), else_=payment.c.amount)
    moved = (PaymentKind.SUCCEEDED.value, *_BACK)
    return (
        select(
            owner.label("customer_id"),
            day.label("day"),
            payment.c.currency.label("native_currency"),
            signed.label("amount"),
        )
        .select_from(source)
        .where(payment.c.kind.in_(moved), day <= end)
        .cte("cash_row")
    )
