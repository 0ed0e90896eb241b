"""The history of subscriptions: one row per event, append-only; and what is planned for now.

Versions to come (`state.schedules`) stand among the others under numbers below zero, which are not
positions; they are replaced when more is known.
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
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from tidemill.models.base import Instant, metadata

__all__ = [
    "subscription_version",
    "version_discount",
    "version_item",
]

subscription_version = Table(
    "subscription_version",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),  # upper-case ISO 4217
    Column("started_at", Instant),
    Column("trial_start", Instant),
    Column("trial_end", Instant),
    Column("past_due_since", Instant),
    Column("paused_at", Instant),
    Column("current_period_start", Instant),
    Column("current_period_end", Instant),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("cancel_at", Instant),
    Column("canceled_at", Instant),
    Column("ended_at", Instant),
    Column("cancel_reason", Text),
    Column("cancel_feedback", Text),
    Column("voluntary", Boolean),
    Column("refunded_at_cancellation", Boolean, nullable=False),
    Column("collection_method", Text),
    Column("confidence", Text, nullable=False),
    Index(None, "customer_id"),
    Index(None, "subscription_id", "occurred_at", "sequence"),
)

# The few states that are told of beside MRR. By subscription: what follows each is looked up, and
# neighbours share pages.
Index(
    "ix_subscription_version_beside",
    subscription_version.c.status,
    subscription_version.c.subscription_id,
    subscription_version.c.occurred_at,
    postgresql_where=subscription_version.c.status.in_(("past_due", "trialing")),
)

version_item = Table(
    "version_item",
    metadata,
    Column("version_id", BigInteger, nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("item", Text, nullable=False),
    Column("plan", Text),
    Column("product", Text),
    Column("quantity", Numeric, nullable=False),
    Column("unit_amount", Numeric, nullable=False),  # minor units, may be fractional
    Column("tax_inclusive_amount", Numeric, nullable=False),  # per unit, contained in unit_amount
    Column("interval", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("usage_type", Text, nullable=False),
    PrimaryKeyConstraint("version_id", "ordinal"),
)

version_discount = Table(
    "version_discount",
    metadata,
    Column("version_id", BigInteger, nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("discount", Text, nullable=False),
    Column("coupon", Text),
    Column("item", Text),  # null: the whole subscription
    Column("percent_off", Numeric),
    Column("amount_off", Numeric),
    Column("duration", Text, nullable=False),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    PrimaryKeyConstraint("version_id", "ordinal"),
)
