"""The log, and what was refused on the way to it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    column,
    false,
    func,
    literal,
)
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.models.base import Instant, metadata

__all__ = [
    "consumer_position",
    "event_log",
    "quarantine",
    "source",
]

source = Table(
    "source",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # the connector's name: stripe, files, …
    # Whether the vendor's test mode is the books of this source; else it is kept apart.
    Column("test_mode", Boolean, nullable=False, server_default=false()),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    comment="Connected billing systems; created on first use by file imports.",
)

event_log = Table(
    "event_log",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("source_id", Integer, nullable=False),
    # Which of the bus's partitions it travels in: a stable hash of (source, customer).
    Column("partition", SmallInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),  # the vendor id of what the event is about: data.id
    Column("customer", Text, nullable=False),  # vendor id; empty for catalogue events
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False, server_default=func.clock_timestamp()),
    Column("livemode", Boolean, nullable=False),
    Column("data", JSONB, nullable=False),
    # A reader follows each partition from its own position on.
    Index(None, "partition", "position"),
    # Every result says how fresh each source is: its latest event, without reading the log.
    Index(None, "source_id", "occurred_at"),
    # And how much was left out as test mode; it costs live events nothing.
    Index("ix_event_log_test_mode", "source_id", postgresql_where=column("livemode").is_(False)),
    # The few events with words that are not known are counted beside every number.
    Index(
        "ix_event_log_unknown",
        "source_id",
        postgresql_where=column("data", JSONB).has_key(literal("unknown", literal_execute=True)),
    ),
    comment="Every accepted event, once. Positions of one partition become visible in order.",
)

consumer_position = Table(
    "consumer_position",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("consumer", "partition"),
    comment="Last applied place of each partition; moves in the transaction of the effects.",
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("origin", Text, nullable=False),  # file:line, topic/partition/offset, log position
    Column("kind", Text, nullable=False),  # how to read `body` again: events, stripe-events, …
    Column("body", Text, nullable=False),
    # SHA-256 of (source, kind, body): the same bad event sent twice is kept once.
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("problems", JSONB, nullable=False),  # [{"path": …, "problem": …, "hint": …}, …]
    Column("quarantined_at", Instant, nullable=False, server_default=func.now()),
    Column("replayed_at", Instant),
    comment="Events kept aside with every reason, until they are replayed.",
)
