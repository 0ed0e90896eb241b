"""A copy of a billing database: the relations as its connector gives them, and how far it is.

In a store that has these rows, facts are derived from them and not from the core tables. The rows
of a customer are replaced as a whole, so every table that is about customers says whose each row
is, and nothing else about a row has to be unique.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.models.base import Instant, metadata

__all__ = [
    "copied_customer",
    "copied_discount",
    "copied_event",
    "copied_invoice",
    "copied_item",
    "copied_payment",
    "copied_plan",
    "copied_product",
    "copied_source",
    "copied_subscription",
    "copied_usage_line",
    "copied_version",
]

copied_source = Table(
    "copied_source",
    metadata,
    Column("source_id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),  # of the source, and of its connector
    Column("title", Text, nullable=False),
    # Which of the books in the billing database, as configured; null where nothing was.
    Column("schema_name", Text),
    Column("tenant", Text),
    # What all rows rest on beside their own: the statements that read them.
    Column("fingerprint", Text, nullable=False),
    # Table of the billing system → its latest mark of a change that was seen.
    Column("marks", JSONB, nullable=False),
    # The moment of the billing database that this is a copy of, by its own clock; and the last one
    # for which every customer was compared.
    Column("copied_at", Instant, nullable=False),
    Column("compared_at", Instant, nullable=False),
    Column("last_event_at", Instant),
    Column("left_out", JSONB, nullable=False),  # [[what, how many], …]
    # The latest exchange rate that the facts were derived with; 0 for none.
    Column("rates_position", BigInteger, nullable=False),
    comment="The billing database that this store holds a copy of; no row in any other store.",
)

copied_customer = Table(
    "copied_customer",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("email", Text),
    Column("country", Text),
    Column("signed_up_at", Instant),
    Index(None, "customer_id"),
    Index(None, "external_id"),
)

copied_plan = Table(
    "copied_plan",
    metadata,
    Column("source_id", Integer, nullable=False),
    Column("plan", Text, nullable=False),
    Column("name", Text),
    Column("product", Text),
    PrimaryKeyConstraint("source_id", "plan"),
)

copied_product = Table(
    "copied_product",
    metadata,
    Column("source_id", Integer, nullable=False),
    Column("product", Text, nullable=False),
    Column("name", Text),
    PrimaryKeyConstraint("source_id", "product"),
)

copied_subscription = Table(
    "copied_subscription",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("external_id", Text),
    Index(None, "customer_id"),
    Index(None, "subscription_id"),
)

copied_version = Table(
    "copied_version",
    metadata,
    Column("version_id", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant),
    Column("status", Text, nullable=False),
    Column("currency", Text),
    Column("started_at", Instant),
    Column("trial_end", Instant),
    Column("past_due_since", Instant),
    Column("paused_at", Instant),
    Column("current_period_start", Instant),
    Column("current_period_end", Instant),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("cancel_at", Instant),
    Column("refunded_at_cancellation", Boolean, nullable=False),
    Column("cancel_reason", Text),
    Column("cancel_feedback", Text),
    Column("voluntary", Boolean),
    Column("confidence", Text, nullable=False),
    Index(None, "customer_id"),
    Index(None, "subscription_id"),
)

copied_event = Table(
    "copied_event",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("recorded_at", Instant),
    Index(None, "customer_id"),
    Index(None, "position"),
)

copied_item = Table(
    "copied_item",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("version_id", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("item", Text, nullable=False),
    Column("plan", Text),
    Column("product", Text),
    Column("quantity", Numeric),
    Column("unit_amount", Numeric),  # with the tax on it, if only what was invoiced tells of it
    Column("tax_inclusive_amount", Numeric, nullable=False),
    Column("interval", Text),
    Column("interval_count", Integer),
    Column("usage_type", Text, nullable=False),
    Index(None, "customer_id"),
    Index(None, "version_id"),
)

copied_discount = Table(
    "copied_discount",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("taxed", Boolean, nullable=False),  # whether it is taken off prices with tax
    Column("version_id", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("item", Text),
    Column("percent_off", Numeric),
    Column("amount_off", Numeric),
    Column("duration", Text, nullable=False),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Index(None, "customer_id"),
    Index(None, "version_id"),
)

copied_invoice = Table(
    "copied_invoice",
    metadata,
    Column("invoice_id", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("invoice", Text, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger),
    Column("status", Text, nullable=False),
    Column("currency", Text),
    Column("total", Numeric),
    Column("amount_paid", Numeric),
    Column("issued_at", Instant),
    Column("paid_at", Instant),
    Column("period_start", Instant),
    Column("period_end", Instant),
    Column("first_payment_at", Instant),
    Column("refunded", Numeric),
    Index(None, "customer_id"),
)

copied_usage_line = Table(
    "copied_usage_line",
    metadata,
    Column("invoice_id", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("invoice", Text, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("item", Text),
    Column("plan", Text),
    Column("currency", Text),
    Column("amount", Numeric),
    Column("issued_at", Instant),
    Column("period_start", Instant),
    Column("period_end", Instant),
    Index(None, "customer_id"),
)

copied_payment = Table(
    "copied_payment",
    metadata,
    Column("payment_id", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("payment", Text, nullable=False),
    Column("invoice", Text),
    Column("reference", Text),
    Column("customer_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", Numeric),
    Column("fee", Numeric),
    Column("currency", Text),
    Column("method", Text),
    Column("failure_reason", Text),
    Column("paid_at", Instant),
    Index(None, "customer_id"),
    Index(None, "invoice"),
    Index(None, "reference"),
    Index(None, "paid_at"),
)
