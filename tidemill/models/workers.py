"""The workers: who is at work, and when each was last heard of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from tidemill.models.base import Instant, metadata

__all__ = ["worker"]

worker = Table(
    "worker",
    metadata,
    Column("name", Text, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("heard_at", Instant, nullable=False),
    # Since it started.
    Column("applied", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("batches", BigInteger, nullable=False),
    Column("memory_peak_bytes", BigInteger, nullable=False),
    Column("trouble", Text),  # what keeps it from working; null when nothing does
    comment="Heartbeats; instants are those of the server's clock. Who ends in good order leaves.",
)
