"""Cash: what customers paid, less what went back to them, day by day."""

from __future__ import annotations

from datetime import date
from typing import Final

from sqlalchemy import CTE, select

from tidemill.metrics.payment_cube import DISPUTE, PAYMENT, REFUND, payment_rows
from tidemill.metrics.query import Query

__all__ = ["cash_rows"]

_MOVED: Final = (PAYMENT, REFUND, DISPUTE)


def cash_rows(q: Query, end: date) -> CTE:
    """Payments, refunds and disputes up to a day, signed, in whose books they are.

    Shape: customer_id, day (of the policy's time zone), native_currency, amount.
    """
    row = payment_rows(q.relations, q.policy).subquery("cash")
    return (
        select(
            row.c.customer_id,
            row.c.day,
            row.c.currency.label("native_currency"),
            row.c.amount_minor.label("amount"),
        )
        .where(row.c.kind.in_(_MOVED), row.c.day <= end)
        .cte("cash_row")
    )
