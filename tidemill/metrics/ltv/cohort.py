"""Lifetime value so far: what the customers of a cohort have paid, over how many they were."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    FromClause,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    select,
    union_all,
)

from tidemill.errors import InvalidQuery, Issue
from tidemill.metrics.base import Behind, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cash_flow import TRANSACTIONS
from tidemill.metrics.payment_cube import signed_amount
from tidemill.metrics.query import Query
from tidemill.metrics.retention.cohorts import Cohorts
from tidemill.periods import instants
from tidemill.vocabulary import InvoiceStatus, PaymentKind

__all__ = ["cohort_value"]

# What went back, and what of it came again.
_BACK: Final = (
    *(PaymentKind.REFUNDED.value, PaymentKind.REFUND_FAILED.value),
    *(PaymentKind.DISPUTED.value, PaymentKind.DISPUTE_WON.value),
)


def cohort_value(q: Query, calendar: Calendar) -> Table:
    """One row a group and cohort: cohort, ltv with what was paid and how many they were.

    Raises: InvalidQuery when items cut it.
    """
    if q.cuts_by("item"):
        problem = "an invoice is paid by a customer, for all it has"
        raise InvalidQuery([Issue("by", problem, "Cut it by what customers have.")])
    found = Cohorts(q, calendar)
    member, size, paid = found.member, found.sizes, _paid(q, calendar.end)
    theirs = (
        select(
            *q.group_columns(member),
            member.c.cohort,
            cast(func.timezone(q.policy.tz, paid.c.moment), Date).label("day"),
            paid.c.native_currency,
            paid.c.amount,
        )
        .select_from(paid.join(member, member.c.customer_id == paid.c.customer_id))
        .subquery("cohort_paid_row")
    )
    keys = [*q.group_columns(theirs), theirs.c.cohort, theirs.c.day, theirs.c.native_currency]
    daily = (
        select(*keys, func.sum(theirs.c.amount).label("amount")).group_by(*keys).cte("cohort_paid")
    )
    total, need = found.valued(daily, "day", None, q.rates_of_days)
    same = and_(total.c.cohort == size.c.cohort, q.same_group(total, size))
    whole = case((total.c.cohort.is_(None), 0), else_=total.c.value)
    statement = (
        select(
            *q.shown_groups(size),
            size.c.cohort,
            (cast(whole, Numeric) / func.nullif(size.c.size, 0)).label("ltv"),
            whole.label("ltv_numerator"),
            size.c.size.label("ltv_denominator"),
        )
        .select_from(size.outerjoin(total, same))
        .order_by(*q.group_order(size), size.c.cohort)
    )
    return q.table(
        statement,
        periods=calendar.periods,
        behind=Behind(None, calendar.end, TRANSACTIONS),
        needs=(need,),
    )


def _paid(q: Query, end: date) -> CTE:
    """What invoices brought in up to a day, less what went back, in whose books they are.

    Shape: customer_id, moment, native_currency, amount. A void invoice never was, nor what became
           of it; an invoice that does not say what was paid was paid whole, or not at all.
    """
    payment, invoice = q.relations.payments, q.relations.invoices
    paid_for = invoice.alias("paid_for")
    whole = case((invoice.c.status == InvoiceStatus.PAID.value, invoice.c.total), else_=0)
    came = _row(
        q,
        invoice.c.customer_id,
        func.coalesce(invoice.c.paid_at, invoice.c.issued_at),
        invoice.c.currency,
        func.coalesce(invoice.c.amount_paid, whole),
    ).select_from(_owned(q, invoice, invoice.c.customer_id))
    of_invoice = and_(
        paid_for.c.source_id == payment.c.source_id, paid_for.c.invoice == payment.c.invoice
    )
    went = _row(
        q, payment.c.customer_id, payment.c.paid_at, payment.c.currency, signed_amount(payment)
    ).select_from(_owned(q, payment.join(paid_for, of_invoice), payment.c.customer_id))
    rows = union_all(
        came.where(_counts(invoice)), went.where(_counts(paid_for), payment.c.kind.in_(_BACK))
    ).subquery("each_paid")
    over = instants(end, end, q.policy.tz).end_exclusive
    return select(rows).where(rows.c.moment < over, rows.c.amount != 0).cte("paid_row")


def _counts(invoice: FromClause) -> ColumnElement[bool]:
    return invoice.c.status.not_in((InvoiceStatus.VOID.value, InvoiceStatus.DRAFT.value))


def _row(
    q: Query,
    customer: ColumnElement[Any],
    at: ColumnElement[Any],
    currency: ColumnElement[Any],
    amount: ColumnElement[Any],
) -> Select[Any]:
    merged = q.policy.identity == "merged"
    owner = func.coalesce(q.relations.identities.c.canonical_id, customer) if merged else customer
    return select(
        owner.label("customer_id"),
        at.label("moment"),
        currency.label("native_currency"),
        amount.label("amount"),
    )


def _owned(q: Query, rows: FromClause, customer: ColumnElement[Any]) -> FromClause:
    """The rows with whose books their customers are in."""
    if q.policy.identity != "merged":
        return rows
    identity = q.relations.identities
    return rows.outerjoin(identity, identity.c.customer_id == customer)
