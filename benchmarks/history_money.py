"""The money of made-up histories: invoices, usage, payments, and what sales and marketing cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Date,
    DateTime,
    Numeric,
    Text,
    Uuid,
    case,
    cast,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)

from benchmarks.history_rows import BASE, KEYS, at, each, event, numbers, source
from tidemill import models

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import ColumnElement, FromClause, Select

__all__ = ["charges", "expenses", "invoices", "payments", "usage_lines"]


def invoices(version: FromClause) -> Select[Any]:
    """The invoice of each subscription's beginning, and one of usage for each of its versions."""
    n, begins_at = version.c.n, version.c.begins_at
    return select(
        (version.c.version_key + KEYS // 2).label("id"),
        source(),
        _invoice_name(version).label("external_id"),
        version.c.customer_key.label("customer_id"),
        cast(version.c.key, Text).label("subscription"),
        *event(version),
        literal("paid").label("status"),
        version.c.currency,
        *(cast(1_000, Numeric).label(name) for name in ("subtotal", "total", "amount_paid")),
        literal(0).label("tax"),
        begins_at.label("period_start"),
        (begins_at + func.make_interval(0, 1)).label("period_end"),
        begins_at.label("issued_at"),
        (begins_at + func.make_interval(0, 0, 0, n % 3)).label("paid_at"),
    ).where((version.c.v == 0) | (each(20, n, 8)))


def usage_lines(version: FromClause) -> Select[Any]:
    """The usage on each invoice for it."""
    return select(
        (version.c.version_key + KEYS // 2).label("version_id"),
        literal(0).label("ordinal"),
        literal("line").label("line"),
        literal("usage").label("kind"),
        literal("item-2").label("item"),
        cast(700 + version.c.v % 5 * 100, Numeric).label("amount"),
    ).where(each(20, version.c.n, 8))


def payments(version: FromClause) -> Select[Any]:
    """The payment of the first invoice; one in fifty was given back."""

    def payment(kind: str, offset: int) -> Select[Any]:
        return select(
            (version.c.version_key + offset).label("id"),
            source(),
            _invoice_name(version).label("external_id"),
            version.c.customer_key.label("customer_id"),
            _invoice_name(version).label("invoice"),
            *event(version),
            literal(kind).label("kind"),
            cast(1_000, Numeric).label("amount"),
            version.c.currency,
            cast(null(), models.payment.c.attempt.type).label("attempt"),
        ).where(version.c.v == 0)

    refunded = payment("refunded", KEYS * 4 // 5).where(each(50, version.c.n, 0))
    return union_all(payment("succeeded", KEYS * 3 // 4), refunded)  # type: ignore[return-value]  # a union is read as a select


def charges(sub: FromClause, first: date, months: int) -> Select[Any]:
    """A payment a month of each subscription; one in fifty fails."""
    month = numbers(0, months - 1, "month_no")
    number = sub.c.key + KEYS * 9 // 10 + month.c.n
    paid_at = cast(
        cast(first, DateTime(timezone=True)) + func.make_interval(0, month.c.n, 0, sub.c.n % 28),
        DateTime(timezone=True),
    )
    name = func.concat("charge-", number)
    return select(
        number.label("id"),
        source(),
        name.label("external_id"),
        sub.c.customer_key.label("customer_id"),
        name.label("invoice"),
        cast(func.md5(func.concat("charge", number)), Uuid).label("event_id"),
        *at(paid_at),
        case((each(50, sub.c.n + month.c.n, 0), "failed"), else_="succeeded").label("kind"),
        cast(1_000 + sub.c.n % 7 * 500, Numeric).label("amount"),
        sub.c.currency,
        literal(1).label("attempt"),
    ).join_from(sub, month, true())


def expenses(first: date, months: int) -> Select[Any]:
    """What sales and marketing cost, each month."""
    month = numbers(0, months - 1, "month_no")
    spent_at = cast(first, DateTime(timezone=True)) + func.make_interval(0, month.c.n)
    name = func.concat("expense-", month.c.n)
    return select(
        (month.c.n + 1).label("id"),
        source(),
        name.label("external_id"),
        cast(func.md5(name), Uuid).label("event_id"),
        *at(cast(spent_at, DateTime(timezone=True))),
        cast(spent_at, Date).label("day"),
        cast(1_000_000, Numeric).label("amount"),
        literal(BASE).label("currency"),
        literal("program").label("category"),
    )


def _invoice_name(version: FromClause) -> ColumnElement[str]:
    return func.concat("invoice-", version.c.version_key)
