"""The shapes: which relations there are, and the columns of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import FromClause

from tidemill.attribute_rows import no_attributes

__all__ = ["COLUMNS", "Relations"]

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    # `signed_up_at` is when the billing system says the customer was made; if it does not say, when
    # the customer was first heard of.
    "customers": (
        "customer_id",
        "source_id",
        "external_id",
        "name",
        "email",
        "country",
        "signed_up_at",
    ),
    # One value a customer and attribute, as each kind it can be read as.
    "customer_attributes": ("customer_id", "attribute", "text", "number", "flag", "moment"),
    # Which customer's books a customer belongs to; a customer that was never merged has no row.
    "identities": ("customer_id", "canonical_id"),
    "sources": ("source_id", "name"),
    "plans": ("source_id", "plan", "name", "product"),
    "products": ("source_id", "product", "name"),
    "subscriptions": ("subscription_id", "external_id"),
    # What is behind versions and invoices: an event of the log, or a row of a billing system, which
    # `type` and `id` name. `version_id` and `event_position` are positions; below zero where it is
    # only planned.
    "events": ("position", "id", "source_id", "type", "occurred_at", "recorded_at"),
    # One row per event: the whole state of a subscription from `occurred_at` on.
    "subscription_versions": (
        "version_id",
        "source_id",
        "subscription_id",
        "customer_id",
        "event_id",
        "occurred_at",
        "sequence",
        "recorded_at",
        "status",
        "currency",
        "started_at",
        "trial_end",
        "past_due_since",
        "paused_at",
        "current_period_start",
        "current_period_end",
        "cancel_at_period_end",
        "cancel_at",
        "refunded_at_cancellation",
        "cancel_reason",
        "cancel_feedback",
        "voluntary",
        "confidence",
    ),
    "version_items": (
        "version_id",
        "ordinal",
        "item",
        "plan",
        "product",
        "quantity",
        "unit_amount",
        "tax_inclusive_amount",
        "interval",
        "interval_count",
        "usage_type",
    ),
    "discounts": (
        "version_id",
        "ordinal",
        "item",
        "percent_off",
        "amount_off",
        "duration",
        "starts_at",
        "ends_at",
    ),
    # The state of each invoice as last known, with what its payments say of it.
    "invoices": (
        "invoice_id",
        "source_id",
        "invoice",
        "customer_id",
        # Null for one that is of no subscription.
        "subscription_id",
        "status",
        "currency",
        "total",
        "amount_paid",
        "issued_at",
        "paid_at",
        "period_start",
        "period_end",
        "first_payment_at",
        "refunded",
    ),
    "usage_lines": (
        "invoice_id",
        "source_id",
        "invoice",
        "customer_id",
        "subscription_id",
        "item",
        "plan",
        "currency",
        "amount",
        "issued_at",
        "period_start",
        "period_end",
    ),
    "payments": (
        "payment_id",
        "source_id",
        "payment",
        # Which invoice it was for, if anything says so.
        "invoice",
        # Shared by the attempts, refunds and disputes of one payment; null where nothing says so.
        "reference",
        "customer_id",
        "kind",
        "amount",
        "fee",
        "currency",
        "method",
        "failure_reason",
        "paid_at",
    ),
    # Costs as last known. No customer: what was spent to win and to serve all of them.
    "expenses": (
        "expense_id",
        "source_id",
        "expense",
        "day",
        "amount",
        "currency",
        "category",
        "channel",
        "vendor",
    ),
    # One major unit of `quote` is worth `rate` major units of `base` until the next row.
    "fx_rates": ("base", "quote", "day", "rate"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """Everything a derivation may read. Columns of each field: `COLUMNS`."""

    customers: FromClause
    identities: FromClause
    sources: FromClause
    plans: FromClause
    products: FromClause
    subscriptions: FromClause
    events: FromClause
    subscription_versions: FromClause
    version_items: FromClause
    discounts: FromClause
    invoices: FromClause
    usage_lines: FromClause
    payments: FromClause
    expenses: FromClause
    fx_rates: FromClause
    base_currency: str
    #: Whether customers can be one company; where none can, `identities` has no rows.
    merges: bool = True
    customer_attributes: FromClause = field(default_factory=no_attributes)
