"""What Lago invoiced, charged for usage and was paid, in the shapes that metrics derive from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Text,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from tidemill.connectors.keys import instant, key
from tidemill.connectors.lago.tables import CHARGE_FEE, FINALIZED, VOIDED
from tidemill.connectors.schema import Schema

__all__ = ["invoices", "payments", "source_id", "usage_lines"]

# The one source of this database.
_SOURCE = 1


def source_id() -> ColumnElement[int]:
    """The key of Lago itself."""
    return cast(literal(_SOURCE), Integer).label("source_id")


def _tried(schema: Schema) -> FromClause:
    """Payments that succeeded or failed, with the invoice each is for."""
    row = schema.table("payments")
    state = func.coalesce(cast(row.c.payable_payment_status, Text), row.c.status)
    is_of_invoice = func.coalesce(row.c.payable_type, "Invoice") == "Invoice"
    return (
        select(
            row.c.id,
            case((is_of_invoice, func.coalesce(row.c.payable_id, row.c.invoice_id))).label(
                "invoice_id"
            ),
            row.c.amount_cents,
            row.c.amount_currency,
            row.c.created_at,
            cast(state, Text).label("state"),
        )
        .where(state.in_(("succeeded", "failed")))
        .subquery("lago_payment")
    )


def _paid(schema: Schema) -> FromClause:
    tried = _tried(schema)
    return select(tried).where(tried.c.state == "succeeded").subquery("lago_paid")


def _refunded(schema: Schema) -> FromClause:
    note = schema.table("credit_notes")
    return (
        select(note)
        .where(note.c.status == FINALIZED, note.c.refund_status == 1)
        .subquery("lago_refunded")
    )


def invoices(schema: Schema, customers: CTE, period: CTE) -> FromClause:
    """Every invoice; one that is for several subscriptions stands once for each."""
    row, of = schema.table("invoices"), schema.table("invoice_subscriptions")
    paid, note = _paid(schema), _refunded(schema)
    money = (
        select(
            paid.c.invoice_id,
            func.min(paid.c.created_at).label("first_at"),
            func.max(paid.c.created_at).label("last_at"),
            func.sum(paid.c.amount_cents).label("paid"),
        )
        .group_by(paid.c.invoice_id)
        .subquery("lago_invoice_money")
    )
    back = (
        select(note.c.invoice_id, func.sum(note.c.refund_amount_cents).label("refunded"))
        .group_by(note.c.invoice_id)
        .subquery("lago_invoice_refund")
    )
    is_paid = func.coalesce(money.c.paid, 0) >= row.c.total_amount_cents
    status = case(
        (row.c.status == VOIDED, "void"),
        (row.c.status != FINALIZED, "draft"),
        (is_paid, "paid"),
        else_="open",
    )
    return (
        select(
            key(row.c.id).label("invoice_id"),
            source_id(),
            cast(row.c.id, Text).label("invoice"),
            key(row.c.customer_id).label("customer_id"),
            period.c.subscription_id,
            cast(status, Text).label("status"),
            func.upper(row.c.currency).label("currency"),
            cast(row.c.total_amount_cents, Numeric).label("total"),
            cast(func.coalesce(money.c.paid, 0), Numeric).label("amount_paid"),
            instant(row.c.created_at).label("issued_at"),
            case((is_paid, instant(func.coalesce(money.c.last_at, row.c.created_at)))).label(
                "paid_at"
            ),
            instant(of.c.from_datetime).label("period_start"),
            instant(of.c.to_datetime).label("period_end"),
            instant(money.c.first_at).label("first_payment_at"),
            cast(func.coalesce(back.c.refunded, 0), Numeric).label("refunded"),
        )
        .select_from(
            row.join(customers, customers.c.id == row.c.customer_id)
            .outerjoin(of, of.c.invoice_id == row.c.id)
            .outerjoin(period, period.c.row_id == of.c.subscription_id)
            .outerjoin(money, money.c.invoice_id == row.c.id)
            .outerjoin(back, back.c.invoice_id == row.c.id)
        )
        .where(func.coalesce(row.c.self_billed, false()) == false())
        .subquery("invoices")
    )


def usage_lines(schema: Schema, period: CTE) -> FromClause:
    """Usage as it was charged, after coupons and what earlier invoices had of it already."""
    fee, invoice = schema.table("fees"), schema.table("invoices")
    amount = fee.c.amount_cents - func.coalesce(fee.c.precise_coupons_amount_cents, 0)

    def said(name: str) -> ColumnElement[Any]:
        text = func.replace(func.left(fee.c.properties[name].astext, 23), "Z", "")
        return instant(cast(text, DateTime))

    return (
        select(
            func.coalesce(key(invoice.c.id), key(fee.c.id)).label("invoice_id"),
            source_id(),
            cast(func.coalesce(invoice.c.id, fee.c.id), Text).label("invoice"),
            period.c.customer_id,
            period.c.subscription_id,
            cast(fee.c.charge_id, Text).label("item"),
            period.c.plan,
            func.upper(fee.c.amount_currency).label("currency"),
            cast(amount, Numeric).label("amount"),
            instant(func.coalesce(invoice.c.created_at, fee.c.created_at)).label("issued_at"),
            said("charges_from_datetime").label("period_start"),
            said("charges_to_datetime").label("period_end"),
        )
        .select_from(
            fee.join(period, period.c.row_id == fee.c.subscription_id).outerjoin(
                invoice, invoice.c.id == fee.c.invoice_id
            )
        )
        .where(
            fee.c.fee_type == CHARGE_FEE,
            fee.c.deleted_at.is_(None),
            or_(fee.c.invoice_id.is_(None), invoice.c.status == FINALIZED),
        )
        .subquery("usage_lines")
    )


def payments(schema: Schema, customers: CTE) -> FromClause:
    """Payments that arrived or failed, and refunds of credit notes."""
    tried, note, invoice = _tried(schema), _refunded(schema), schema.table("invoices")
    unknown: list[Any] = [
        cast(null(), kind).label(name) for name, kind in _UNKNOWN_OF_PAYMENTS.items()
    ]
    moved = (
        select(
            key(tried.c.id).label("payment_id"),
            source_id(),
            cast(tried.c.id, Text).label("payment"),
            cast(tried.c.invoice_id, Text).label("invoice"),
            key(customers.c.id).label("customer_id"),
            tried.c.state.label("kind"),
            cast(tried.c.amount_cents, Numeric).label("amount"),
            func.upper(tried.c.amount_currency).label("currency"),
            instant(tried.c.created_at).label("paid_at"),
            *unknown,
        )
        .join(invoice, invoice.c.id == tried.c.invoice_id)
        .join(customers, customers.c.id == invoice.c.customer_id)
        .where(func.coalesce(invoice.c.self_billed, false()) == false())
    )
    given_back = select(
        key(note.c.id, 1),
        source_id(),
        cast(note.c.id, Text),
        cast(note.c.invoice_id, Text),
        key(customers.c.id),
        literal("refunded", Text),
        cast(note.c.refund_amount_cents, Numeric),
        func.upper(note.c.total_amount_currency),
        instant(func.coalesce(note.c.refunded_at, note.c.created_at)),
        *unknown,
    ).join(customers, customers.c.id == note.c.customer_id)
    return union_all(moved, given_back).subquery("payments")


_UNKNOWN_OF_PAYMENTS = {
    "reference": Text,
    "fee": Numeric,
    "method": Text,
    "failure_reason": Text,
}
