"""Who pays, and what is sold: current rows."""

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
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.models.base import Instant, metadata

__all__ = [
    "attribute",
    "attribute_pin",
    "customer",
    "customer_attribute",
    "customer_merge",
    "plan",
    "product",
    "subscription",
]

customer = Table(
    "customer",
    metadata,
    # Position of the first event that mentioned the customer.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("email", Text),
    Column("country", Text),
    Column("currency", Text),
    Column("created_at", Instant),
    Column("deleted_at", Instant),
    Column("attributes", JSONB),
    # Order key of the customer event these values come from; null while only mentioned.
    Column("state_at", Instant),
    Column("state_sequence", Integer),
    Column("state_recorded_at", Instant),
    Column("state_event_id", Uuid),
    UniqueConstraint("source_id", "external_id"),
)

customer_attribute = Table(
    "customer_attribute",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    # "billing": of the customer's own event, so gone with the next one that does not name it;
    # "set": of customer.attributes_set, which stands before it. Without a text it was set to null.
    Column("given", Text, nullable=False),
    # The value as each kind it can be read as: `attribute_rows.readings`.
    Column("text", Text),
    Column("number", Numeric),
    Column("flag", Boolean),
    Column("moment", Instant),
    Column("state_at", Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
    # By name first: a question asks for one attribute of all customers.
    PrimaryKeyConstraint("name", "customer_id", "given"),
    Index(None, "customer_id"),
)

attribute = Table(
    "attribute",
    metadata,
    Column("name", Text, primary_key=True),
    # The kind of the first value of all, and the order key of the event that gave it.
    Column("kind", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("first_sequence", Integer, nullable=False),
    Column("first_recorded_at", Instant, nullable=False),
    Column("first_event_id", Uuid, nullable=False),
)

attribute_pin = Table(
    "attribute_pin",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text),  # null: no longer pinned
    Column("state_at", Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
)

product = Table(
    "product",
    metadata,
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("active", Boolean),
    Column("state_at", Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
    PrimaryKeyConstraint("source_id", "external_id"),
)

plan = Table(
    "plan",
    metadata,
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("product", Text),
    Column("name", Text),
    Column("currency", Text, nullable=False),
    Column("interval", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("unit_amount", Numeric, nullable=False),
    Column("pricing_model", Text, nullable=False),
    Column("usage_type", Text, nullable=False),
    Column("active", Boolean),
    Column("state_at", Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
    PrimaryKeyConstraint("source_id", "external_id"),
)

subscription = Table(
    "subscription",
    metadata,
    # Position of the first event that mentioned the subscription. Its current state is its latest
    # version: keeping a copy here could only disagree with it.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    UniqueConstraint("source_id", "external_id"),
)

customer_merge = Table(
    "customer_merge",
    metadata,
    # customer.merged says that two vendor customers are one company. The other one is named as the
    # vendor does: its events travel in another partition, so its row may come later than this one.
    # Nobody is named where an earlier merge is taken back.
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("customer_id", BigInteger, nullable=False),
    Column("into_source", Text),
    Column("into_customer", Text),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Index(None, "customer_id"),
)
