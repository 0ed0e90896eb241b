"""What vendors sent, before it is in the log."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    column,
    false,
    func,
)

from tidemill.models.base import Instant, metadata

__all__ = [
    "delivery",
    "vendor_object",
]

delivery = Table(
    "delivery",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("account", Text, nullable=False),  # the connected account; empty for the source's own
    Column("livemode", Boolean, nullable=False),
    Column("event", Text, nullable=False),  # the vendor's id of the event; of the body without one
    Column("type", Text, nullable=False),
    Column("object", Text, nullable=False),  # vendor id of what it is about; empty when unknown
    Column("created", BigInteger, nullable=False),  # Unix seconds, as the vendor dates it; 0 if not
    Column("body", LargeBinary, nullable=False),  # as it came
    Column("received_at", Instant, nullable=False, server_default=func.clock_timestamp()),
    # new | stored (its event is in the log) | ignored | waiting (in quarantine) | held (for others
    # of its second, that may tell its place)
    Column("state", Text, nullable=False, server_default="new"),
    Column("reason", Text),  # why it is ignored, or what it waits for
    Column("step", SmallInteger, nullable=False, server_default="0"),  # within its second and rank
    # Whether another of the same second may have come before it or after it: nothing tells.
    Column("doubtful", Boolean, nullable=False, server_default=false()),
    # Whether the object has ended with it, for good.
    Column("final", Boolean, nullable=False, server_default=false()),
    Column("tried_at", Instant),
    Column("read", LargeBinary),  # the object as the vendor's API showed it, when it was asked
    Column("read_at", Instant),
    UniqueConstraint("source", "account", "livemode", "event"),
    Index("ix_delivery_new", "position", postgresql_where=column("state") == "new"),
    Index("ix_delivery_held", "position", postgresql_where=column("state") == "held"),
    Index("ix_delivery_waiting", "source", postgresql_where=column("state") == "waiting"),
    Index("ix_delivery_doubtful", "source", postgresql_where=column("doubtful")),
    Index(None, "object", "created"),
    comment="What vendors sent to webhooks, kept before it was acknowledged.",
)

vendor_object = Table(
    "vendor_object",
    metadata,
    Column("source", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),  # price | coupon | discount
    Column("external_id", Text, nullable=False),
    Column("seen", BigInteger, nullable=False),  # Unix seconds, of the vendor's clock
    Column("body", LargeBinary, nullable=False),  # JSON, of any version of the vendor's API
    PrimaryKeyConstraint("source", "account", "kind", "external_id"),
    comment="Objects that events only name: the newest that was seen of each.",
)
