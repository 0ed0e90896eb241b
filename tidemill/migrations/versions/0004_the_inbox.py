"""The inbox: what webhooks bring, before it is translated; and sources of the test mode."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the inbox, and say of every source that its test mode is kept apart."""
    op.create_table(
        "delivery",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("state", sa.Text(), server_default="new", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("step", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("doubtful", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("final", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read", sa.LargeBinary(), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "source",
            "account",
            "livemode",
            "event",
            name=op.f("uq_delivery_source_account_livemode_event"),
        ),
        comment="What vendors sent to webhooks, kept before it was acknowledged.",
    )
    op.create_index(
        "ix_delivery_doubtful",
        "delivery",
        ["source"],
        unique=False,
        postgresql_where=sa.text("doubtful"),
    )
    op.create_index(
        "ix_delivery_held",
        "delivery",
        ["position"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_delivery_new",
        "delivery",
        ["position"],
        unique=False,
        postgresql_where=sa.text("state = 'new'"),
    )
    op.create_index(
        op.f("ix_delivery_object_created"), "delivery", ["object", "created"], unique=False
    )
    op.create_index(
        "ix_delivery_waiting",
        "delivery",
        ["source"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "vendor_object",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "source", "account", "kind", "external_id", name=op.f("pk_vendor_object")
        ),
        comment="Objects that events only name: the newest that was seen of each.",
    )
    op.add_column(
        "source",
        sa.Column("test_mode", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
