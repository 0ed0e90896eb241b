"""Kill Bill's tables in the shapes that every metric derives from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
)

from tidemill.connectors.amounts import minor_units
from tidemill.connectors.database import Wanted
from tidemill.connectors.empty import nothing
from tidemill.connectors.keys import instant
from tidemill.connectors.killbill.accounts import own_accounts, subscriptions
from tidemill.connectors.killbill.catalog import CatalogVersion, catalog_prices
from tidemill.connectors.killbill.history import versions
from tidemill.connectors.killbill.terms import terms
from tidemill.connectors.rows import relation_of
from tidemill.connectors.schema import Schema
from tidemill.relations import Relations
from tidemill.vocabulary import Confidence, SubscriptionStatus

__all__ = ["killbill_relations"]

_NAME = "killbill"
# The one source of this database.
_SOURCE = 1
_KINDS: Final = {
    "PURCHASE": "succeeded",
    "CAPTURE": "succeeded",
    "REFUND": "refunded",
    "CREDIT": "refunded",
    "CHARGEBACK": "disputed",
}
"""payment_transactions.transaction_type → what happened to the money; others move none."""
_FAILED: Final = ("PAYMENT_FAILURE", "PLUGIN_FAILURE")


def killbill_relations(
    schema: Schema,
    tenant: int,
    catalog: Sequence[CatalogVersion],
    wanted: Wanted,
) -> Relations:
    """The relations of one tenant."""
    own = own_accounts(schema, tenant)
    mine = own
    if wanted.customers is not None:
        mine = select(own).where(own.c.record_id.in_(wanted.customers)).cte("killbill_chosen")
    subscription = subscriptions(schema, mine)
    term = terms(schema, tenant, subscription, catalog_prices(catalog), wanted.held_at)
    version = versions(schema, tenant, subscription, term)
    return Relations(
        customers=_customers(own),
        identities=nothing("identities"),
        merges=False,
        sources=select(_source(), literal(_NAME, Text).label("name")).subquery("sources"),
        plans=_plans(catalog),
        products=_products(catalog),
        subscriptions=select(
            subscription.c.subscription_id, subscription.c.external_key.label("external_id")
        ).subquery("subscriptions"),
        events=_events(version),
        subscription_versions=_subscription_versions(version),
        version_items=_version_items(version),
        discounts=nothing("discounts"),
        invoices=_invoices(schema, mine),
        usage_lines=_usage_lines(schema, subscription),
        payments=_payments(schema, mine),
        expenses=nothing("expenses"),
        fx_rates=wanted.fx_rates,
        base_currency=wanted.base_currency,
    )


def _source() -> ColumnElement[int]:
    return cast(literal(_SOURCE), Integer).label("source_id")


def _customers(own: CTE) -> FromClause:
    return select(
        own.c.record_id.label("customer_id"),
        _source(),
        own.c.external_key.label("external_id"),
        func.coalesce(func.nullif(own.c.company_name, ""), own.c.name).label("name"),
        own.c.email,
        func.upper(own.c.country, type_=Text).label("country"),
        instant(own.c.created_date).label("signed_up_at"),
    ).subquery("customers")


def _plans(catalog: Sequence[CatalogVersion]) -> FromClause:
    """What is or was sold, as the newest version that has it says."""
    newest = {
        name: plan
        for version in sorted(catalog, key=lambda each: each.effective_at)
        for name, plan in version.plans.items()
    }
    rows = [(_SOURCE, name, plan.title, plan.product) for name, plan in newest.items()]
    types = {"source_id": Integer, "plan": Text, "name": Text, "product": Text}
    return relation_of("plans", types, rows)


def _products(catalog: Sequence[CatalogVersion]) -> FromClause:
    names = sorted({plan.product for each in catalog for plan in each.plans.values()})
    types = {"source_id": Integer, "product": Text, "name": Text}
    return relation_of("products", types, [(_SOURCE, name, name) for name in names])


def _events(version: CTE) -> FromClause:
    """Behind every movement is a row of the billing system: its table and its id."""
    return select(
        version.c.version_id.label("position"),
        version.c.row_uuid.label("id"),
        (literal("killbill.", Text) + version.c.row_table).label("type"),
        _source(),
        version.c.occurred_at,
        version.c.created_at.label("recorded_at"),
    ).subquery("events")


def _subscription_versions(version: CTE) -> FromClause:
    in_trial = version.c.status == SubscriptionStatus.TRIALING.value
    confidence = case(
        (version.c.is_billed, Confidence.RECONSTRUCTED.value), else_=Confidence.OBSERVED.value
    )
    return select(
        version.c.version_id,
        _source(),
        version.c.subscription_id,
        version.c.customer_id,
        version.c.row_uuid.label("event_id"),
        version.c.occurred_at,
        cast(literal(1), Integer).label("sequence"),
        # When Kill Bill came to hold a state that was undone since, it does not say.
        func.greatest(
            version.c.occurred_at, version.c.created_at, type_=DateTime(timezone=True)
        ).label("recorded_at"),
        version.c.status,
        version.c.currency,
        version.c.started_at,
        case((in_trial, version.c.until_at)).label("trial_end"),
        cast(null(), DateTime(timezone=True)).label("past_due_since"),
        version.c.paused_at,
        *(cast(null(), DateTime(timezone=True)).label(each) for each in _UNKNOWN_INSTANTS),
        cast(false(), Boolean).label("cancel_at_period_end"),
        version.c.cancel_at,
        cast(false(), Boolean).label("refunded_at_cancellation"),
        cast(null(), Text).label("cancel_reason"),
        cast(null(), Text).label("cancel_feedback"),
        cast(null(), Boolean).label("voluntary"),
        cast(confidence, Text).label("confidence"),
    ).subquery("subscription_versions")


_UNKNOWN_INSTANTS = ("current_period_start", "current_period_end")


def _version_items(version: CTE) -> FromClause:
    return select(
        version.c.version_id,
        cast(literal(0), Integer).label("ordinal"),
        literal("recurring", Text).label("item"),
        version.c.plan,
        version.c.product,
        cast(version.c.quantity, Numeric).label("quantity"),
        version.c.unit_amount,
        cast(literal(0), Numeric).label("tax_inclusive_amount"),
        version.c.interval,
        version.c.interval_count,
        literal("licensed", Text).label("usage_type"),
    ).subquery("version_items")


def _moved(schema: Schema) -> FromClause:
    """What came in for invoices and went back, before 0.24 with a flag in place of a status."""
    row = schema.table("invoice_payments")
    return (
        select(row)
        .where(or_(row.c.status == "SUCCESS", row.c.success.is_(True)))
        .subquery("killbill_invoice_payment")
    )


def _sums(schema: Schema) -> tuple[FromClause, FromClause, FromClause]:
    """By invoice: what is on it, which recurring time it is for, and what was paid.

    Credit that comes and goes (CBA_ADJ) is how it was settled, not what is on it.
    """
    item, moved = schema.table("invoice_items"), _moved(schema)
    credit = item.c.type == "CBA_ADJ"
    total = (
        select(
            item.c.invoice_id,
            func.coalesce(func.sum(case((~credit, item.c.amount))), 0).label("amount"),
            func.coalesce(
                func.sum(case((and_(credit, item.c.amount < 0), -item.c.amount))), 0
            ).label("credit_used"),
        )
        .where(item.c.type != "PARENT_SUMMARY")
        .group_by(item.c.invoice_id)
        .subquery("killbill_total")
    )
    # One for several subscriptions is of none.
    span = (
        select(
            item.c.invoice_id,
            func.min(item.c.subscription_id).label("only"),
            func.count(item.c.subscription_id.distinct()).label("how_many"),
            func.min(item.c.start_date).label("period_start"),
            func.max(item.c.end_date).label("period_end"),
        )
        .where(item.c.type == "RECURRING")
        .group_by(item.c.invoice_id)
        .subquery("killbill_span")
    )
    came = moved.c.type == "ATTEMPT"
    money = (
        select(
            moved.c.invoice_id,
            func.min(case((came, moved.c.payment_date))).label("first_at"),
            func.max(case((came, moved.c.payment_date))).label("last_at"),
            func.coalesce(func.sum(case((came, moved.c.amount))), 0).label("paid"),
            func.coalesce(func.sum(case((~came, -moved.c.amount))), 0).label("back"),
        )
        .group_by(moved.c.invoice_id)
        .subquery("killbill_money")
    )
    return total, span, money


def _invoices(schema: Schema, accounts: CTE) -> FromClause:
    """Every invoice of its own: a parent's summary repeats those of its children."""
    row, subscription = schema.table("invoices"), schema.table("subscriptions")
    total, span, money = _sums(schema)
    amount = func.coalesce(total.c.amount, 0)
    paid, back = func.coalesce(money.c.paid, 0), func.coalesce(money.c.back, 0)
    is_paid = paid + func.coalesce(total.c.credit_used, 0) >= amount
    status = case(
        (row.c.status == "VOID", "void"),
        (row.c.status != "COMMITTED", "draft"),
        (is_paid, "paid"),
        else_="open",
    )
    currency = func.upper(row.c.currency, type_=Text)
    return (
        select(
            row.c.record_id.label("invoice_id"),
            _source(),
            row.c.id.label("invoice"),
            row.c.account_record_id.label("customer_id"),
            subscription.c.record_id.label("subscription_id"),
            cast(status, Text).label("status"),
            currency.label("currency"),
            minor_units(amount, currency).label("total"),
            minor_units(paid, currency).label("amount_paid"),
            instant(row.c.created_date).label("issued_at"),
            case((is_paid, instant(func.coalesce(money.c.last_at, row.c.created_date)))).label(
                "paid_at"
            ),
            instant(cast(span.c.period_start, DateTime)).label("period_start"),
            instant(cast(span.c.period_end, DateTime)).label("period_end"),
            instant(money.c.first_at).label("first_payment_at"),
            minor_units(back, currency).label("refunded"),
        )
        .select_from(
            row.join(accounts, accounts.c.record_id == row.c.account_record_id)
            .outerjoin(total, total.c.invoice_id == row.c.id)
            .outerjoin(span, span.c.invoice_id == row.c.id)
            .outerjoin(subscription, and_(subscription.c.id == span.c.only, span.c.how_many == 1))
            .outerjoin(money, money.c.invoice_id == row.c.id)
        )
        .where(row.c.parent_invoice.is_(False))
        .subquery("invoices")
    )


def _usage_lines(schema: Schema, subscription: CTE) -> FromClause:
    item, invoice = schema.table("invoice_items"), schema.table("invoices")
    currency = func.upper(item.c.currency, type_=Text)
    return (
        select(
            invoice.c.record_id.label("invoice_id"),
            _source(),
            invoice.c.id.label("invoice"),
            subscription.c.customer_id,
            subscription.c.subscription_id,
            item.c.usage_name.label("item"),
            item.c.plan_name.label("plan"),
            currency.label("currency"),
            minor_units(item.c.amount, currency).label("amount"),
            instant(invoice.c.created_date).label("issued_at"),
            instant(cast(item.c.start_date, DateTime)).label("period_start"),
            instant(cast(item.c.end_date, DateTime)).label("period_end"),
        )
        .select_from(
            item.join(
                subscription, subscription.c.subscription_uuid == item.c.subscription_id
            ).join(invoice, invoice.c.id == item.c.invoice_id)
        )
        .where(item.c.type == "USAGE", invoice.c.status == "COMMITTED")
        .subquery("usage_lines")
    )


def _payments(schema: Schema, accounts: CTE) -> FromClause:
    """Transactions of payments that moved money or failed to."""
    row, of = schema.table("payment_transactions"), schema.table("invoice_payments")
    for_invoice = (
        select(of.c.payment_id, func.min(of.c.invoice_id).label("invoice"))
        .where(of.c.type == "ATTEMPT")
        .group_by(of.c.payment_id)
        .subquery("killbill_paid_invoice")
    )
    worked = row.c.transaction_status == "SUCCESS"
    tried = and_(
        row.c.transaction_status.in_(_FAILED),
        row.c.transaction_type.in_(("PURCHASE", "CAPTURE")),
    )
    words = [(row.c.transaction_type == name, word) for name, word in _KINDS.items()]
    currency = func.upper(
        func.coalesce(case((worked, row.c.processed_currency)), row.c.currency), type_=Text
    )
    amount = func.coalesce(case((worked, row.c.processed_amount)), row.c.amount)
    return (
        select(
            row.c.record_id.label("payment_id"),
            _source(),
            row.c.id.label("payment"),
            for_invoice.c.invoice,
            row.c.payment_id.label("reference"),
            row.c.account_record_id.label("customer_id"),
            cast(case((tried, "failed"), *words), Text).label("kind"),
            minor_units(amount, currency).label("amount"),
            cast(null(), Numeric).label("fee"),
            currency.label("currency"),
            cast(null(), Text).label("method"),
            case((tried, row.c.gateway_error_code)).label("failure_reason"),
            instant(row.c.effective_date).label("paid_at"),
        )
        .select_from(
            row.join(accounts, accounts.c.record_id == row.c.account_record_id).outerjoin(
                for_invoice, for_invoice.c.payment_id == row.c.payment_id
            )
        )
        .where(or_(tried, and_(worked, row.c.transaction_type.in_(list(_KINDS)))))
        .subquery("payments")
    )
