"""Schedules: what is planned for subscriptions, and the phases of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the tables of schedules and their phases."""
    op.create_table(
        "schedule_version",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_version")),
        comment="What a schedule plans for a subscription; its latest word counts, or nothing.",
    )
    for column in ("external_id", "subscription"):
        op.create_index(
            op.f(f"ix_schedule_version_source_id_{column}"),
            "schedule_version",
            ["source_id", column],
            unique=False,
        )
    op.create_table(
        "planned_phase",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("schedule_id", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planned_phase")),
        comment="When a subscription is to have other items (version_item), or is to end.",
    )
    op.create_index(
        op.f("ix_planned_phase_schedule_id"), "planned_phase", ["schedule_id"], unique=False
    )
