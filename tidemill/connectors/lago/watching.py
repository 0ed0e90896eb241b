"""What Lago changed since it was read: every row says when it was last written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, func, select, union_all

from tidemill.connectors.keys import key
from tidemill.connectors.lago.tables import CHARGE_FEE, FLAT_FEE
from tidemill.connectors.schema import Schema
from tidemill.connectors.watching import Watched

__all__ = ["watched"]


def watched(schema: Schema, organization: UUID) -> Iterator[Watched]:
    """Every table that customers' numbers rest on, with whose they are."""
    customer = schema.table("customers")
    own = customer.c.organization_id == organization

    def of(name: str, row: FromClause, rows: FromClause, owner: Any, *more: Any) -> Watched:
        joined = rows.join(customer, customer.c.id == owner)
        return Watched(name, key(customer.c.id), row.c.updated_at, joined, (own, *more))

    yield Watched("customers", key(customer.c.id), customer.c.updated_at, customer, (own,))
    for name in ("subscriptions", "invoices", "applied_coupons", "credit_notes"):
        row = schema.table(name)
        yield of(name, row, row, row.c.customer_id)

    subscription, plan = schema.table("subscriptions"), schema.table("plans")
    told = _told_by(schema)
    sold = subscription.join(told, told.c.plan_id == subscription.c.plan_id)
    yield of(
        "plans", plan, sold.join(plan, plan.c.id == told.c.told_by), subscription.c.customer_id
    )

    # Charges are of a plan itself: one that is made for a customer has its own.
    charge = schema.table("fixed_charges")
    if schema.has("fixed_charges"):
        charged = subscription.join(charge, charge.c.plan_id == subscription.c.plan_id)
        yield of("fixed_charges", charge, charged, subscription.c.customer_id)
    for name in ("fixed_charge_events", "subscription_fixed_charge_units_overrides"):
        row = schema.table(name)
        if schema.has(name):
            said = row.join(subscription, subscription.c.id == row.c.subscription_id)
            yield of(name, row, said, subscription.c.customer_id)

    fee = schema.table("fees")
    yield of(
        "fees",
        fee,
        fee.join(subscription, subscription.c.id == fee.c.subscription_id),
        subscription.c.customer_id,
        fee.c.fee_type.in_((CHARGE_FEE, FLAT_FEE)),
    )

    invoice = schema.table("invoices")
    of_invoice = schema.table("invoice_subscriptions")
    billed = of_invoice.join(invoice, invoice.c.id == of_invoice.c.invoice_id)
    yield of("invoice_subscriptions", of_invoice, billed, invoice.c.customer_id)

    paid = schema.table("payments")
    settled = paid.join(invoice, invoice.c.id == _invoice_of(paid))
    yield of("payments", paid, settled, invoice.c.customer_id)

    given = schema.table("applied_coupons")
    coupon, target = schema.table("coupons"), schema.table("coupon_targets")
    of_coupon = coupon.join(given, given.c.coupon_id == coupon.c.id)
    yield of("coupons", coupon, of_coupon, given.c.customer_id)
    aimed = target.join(given, given.c.coupon_id == target.c.coupon_id)
    yield of("coupon_targets", target, aimed, given.c.customer_id)


def _told_by(schema: Schema) -> FromClause:
    """Each plan with the plans that say what it is: itself, and the one that it overrides."""
    plan = schema.table("plans", "own_plan")
    return union_all(
        select(plan.c.id.label("plan_id"), plan.c.id.label("told_by")),
        select(plan.c.id, plan.c.parent_id).where(plan.c.parent_id.is_not(None)),
    ).subquery("told_by")


def _invoice_of(paid: FromClause) -> ColumnElement[Any]:
    return func.coalesce(paid.c.payable_id, paid.c.invoice_id)
