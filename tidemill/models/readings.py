"""Reading from billing systems: what is under way, and what was found."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.models.base import Instant, metadata

__all__ = [
    "reconciliation",
    "sync_object",
    "sync_run",
]

sync_run = Table(
    "sync_run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("since", Date),  # how far back it goes; null: to the beginning
    # Whether the past of subscriptions is put together in it, or only events are caught up with.
    Column("whole", Boolean, nullable=False),
    # How far it is: {"unit": …, "after": …, "first": …, "read_at": …}
    Column("place", JSONB, nullable=False),
    Column("finished_at", Instant),
    Column("report", JSONB),  # what came of it, and what could not be told
    Index(None, "source"),
    comment="Readings of a billing system's API; an unfinished one goes on where it stopped.",
)

sync_object = Table(
    "sync_object",
    metadata,
    Column("run_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("owner", Text),  # the customer it belongs to
    Column("created", BigInteger),  # Unix seconds
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "kind", "id"),
    Index(None, "run_id", "owner"),
    comment="Objects as read, until all are there and can be told; emptied after it.",
)

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("compared_at", Instant, nullable=False),
    Column("subscription_count", Integer, nullable=False),
    Column("difference_count", Integer, nullable=False),  # after mending, if it was asked for
    Column("report", JSONB, nullable=False),
    Index(None, "source", "compared_at"),
    comment="Comparisons of the books with a billing system's present state.",
)
