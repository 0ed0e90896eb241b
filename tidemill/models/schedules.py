"""What is planned for subscriptions: one row per event, append-only, and the phases each names."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, Uuid

from tidemill.models.base import Instant, metadata

__all__ = ["planned_phase", "schedule_version"]

schedule_version = Table(
    "schedule_version",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("subscription", Text, nullable=False),  # vendor id; its row may arrive later, or never
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Index(None, "source_id", "external_id"),
    Index(None, "source_id", "subscription"),
    comment="What a schedule plans for a subscription; its latest word counts, or nothing.",
)

planned_phase = Table(
    "planned_phase",
    metadata,
    # Below zero, so that its items stand among those of versions, whose numbers are positions.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("schedule_id", BigInteger, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends", Boolean, nullable=False),
    Index(None, "schedule_id"),
    comment="When a subscription is to have other items (version_item), or is to end.",
)
