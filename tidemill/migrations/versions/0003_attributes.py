"""Attributes of customers, and the kinds they are of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables; `tidemill rebuild` fills them from what the log has already."""
    op.create_table(
        "attribute",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_sequence", sa.Integer(), nullable=False),
        sa.Column("first_recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_event_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_attribute")),
    )
    op.create_table(
        "attribute_pin",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_sequence", sa.Integer(), nullable=False),
        sa.Column("state_recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_event_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_attribute_pin")),
    )
    op.create_table(
        "customer_attribute",
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("number", sa.Numeric(), nullable=True),
        sa.Column("flag", sa.Boolean(), nullable=True),
        sa.Column("moment", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_sequence", sa.Integer(), nullable=False),
        sa.Column("state_recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_event_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("name", "customer_id", "given", name=op.f("pk_customer_attribute")),
    )
    op.create_index(
        op.f("ix_customer_attribute_customer_id"),
        "customer_attribute",
        ["customer_id"],
        unique=False,
    )
