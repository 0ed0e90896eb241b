"""Invoices, the usage in them, and costs: each once, as last known."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, case, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill import models
from tidemill.relations.payments import payment_rows
from tidemill.relations.scope import Scope
from tidemill.relations.shapes import COLUMNS

__all__ = ["expense_rows", "invoice_rows", "latest_first", "usage_rows"]


def invoice_rows(scope: Scope) -> FromClause:
    """Each invoice once, in its latest words, with what its payments say of it."""
    latest, payment = _latest_invoices(scope), payment_rows(scope)
    money = (
        select(
            payment.c.source_id,
            payment.c.invoice,
            func.min(payment.c.paid_at)
            .filter(payment.c.kind == "succeeded", payment.c.amount > 0)
            .label("first_payment_at"),
            _refunded(payment).label("refunded"),
        )
        .group_by(payment.c.source_id, payment.c.invoice)
        .subquery("invoice_money")
    )
    return (
        select(
            latest.c.id.label("invoice_id"),
            latest.c.source_id,
            latest.c.external_id.label("invoice"),
            latest.c.customer_id,
            latest.c.subscription_id,
            latest.c.status,
            latest.c.currency,
            latest.c.total,
            latest.c.amount_paid,
            latest.c.issued_at,
            latest.c.paid_at,
            latest.c.period_start,
            latest.c.period_end,
            money.c.first_payment_at,
            func.coalesce(money.c.refunded, 0).label("refunded"),
        )
        .select_from(latest)
        .outerjoin(
            money,
            and_(money.c.source_id == latest.c.source_id, money.c.invoice == latest.c.external_id),
        )
        .subquery()
    )


def _refunded(payment: FromClause) -> ColumnElement[Any]:
    """What was given back, less what of it did not arrive."""
    kind, amount = payment.c.kind, payment.c.amount
    signed = case((kind == "refunded", amount), (kind == "refund_failed", -amount))
    return func.sum(signed)


def latest_first(
    of: FromClause, status: ColumnElement[Any], event_id: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """What was said of an invoice in order: paid, void and uncollectible beat an equal instant.

    of: has the columns that versions and events name alike.
    """
    terminal = case((status.in_(("paid", "void", "uncollectible")), 1), else_=0)
    order = (of.c.occurred_at, of.c.sequence, terminal, of.c.recorded_at, event_id)
    return [each.desc() for each in order]


def _latest_invoices(scope: Scope) -> FromClause:
    """The last version of every invoice, which is marked; of a knowledge date it is looked for.

    With subscription_id, null while its subscription is unheard of. It is looked up here, in the
    tables themselves: of the outcome the planner knows nothing, would expect next to no row of a
    join by two columns, and compare every subscription with every invoice.
    """
    table, owner = models.invoice_version, models.subscription
    is_owner = and_(
        owner.c.source_id == table.c.source_id, owner.c.external_id == table.c.subscription
    )
    found = (
        select(table, owner.c.id.label("subscription_id"))
        .select_from(table.outerjoin(owner, is_owner))
        .where(scope.history(table))
    )
    if scope.known_at is None:
        return found.where(~table.c.superseded).subquery("latest_invoice")
    key = (table.c.source_id, table.c.external_id)
    return (
        found.ext(distinct_on(*key))
        .order_by(*key, *latest_first(table, table.c.status, table.c.event_id))
        .subquery("latest_invoice")
    )


def usage_rows(scope: Scope) -> FromClause:
    """Usage as invoiced, line by line, of subscriptions that were heard of."""
    latest = _latest_invoices(scope)
    line, owner = models.invoice_line, models.subscription
    # Looked up line by line, because hardly any line names a subscription of its own.
    named = (
        select(owner.c.id)
        .where(owner.c.source_id == latest.c.source_id, owner.c.external_id == line.c.subscription)
        .scalar_subquery()
    )
    subscription = case((line.c.subscription.is_(None), latest.c.subscription_id), else_=named)
    return (
        select(
            latest.c.id.label("invoice_id"),
            latest.c.source_id,
            latest.c.external_id.label("invoice"),
            latest.c.customer_id,
            subscription.label("subscription_id"),
            line.c.item,
            line.c.plan,
            latest.c.currency,
            line.c.amount,
            latest.c.issued_at,
            line.c.period_start,
            line.c.period_end,
        )
        .join(line, line.c.version_id == latest.c.id)
        # A draft is not final and a void invoice never was: neither is evidence of usage.
        .where(line.c.kind == "usage", latest.c.status.in_(("open", "paid", "uncollectible")))
        .where(subscription.is_not(None))
        .subquery()
    )


def expense_rows(known_at: datetime | None) -> FromClause:
    """Each cost once, in its latest words."""
    table = models.expense
    columns = [
        table.c[name] for name in COLUMNS["expenses"] if name not in ("expense_id", "expense")
    ]
    return (
        select(table.c.id.label("expense_id"), table.c.external_id.label("expense"), *columns)
        .ext(distinct_on(table.c.source_id, table.c.external_id))
        .where(table.c.livemode, *([] if known_at is None else [table.c.recorded_at <= known_at]))
        .order_by(
            table.c.source_id,
            table.c.external_id,
            table.c.occurred_at.desc(),
            table.c.sequence.desc(),
            table.c.recorded_at.desc(),
            table.c.event_id.desc(),
        )
        .subquery()
    )
