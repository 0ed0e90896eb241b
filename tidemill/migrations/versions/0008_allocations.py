"""Allocations: which invoice the payments of a reference are for; and the reference of payments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table of allocations, and the column that they refer to."""
    op.create_table(
        "allocation",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation")),
        comment="Which invoice the payments of a reference are for, where they do not say.",
    )
    for column in ("reference", "invoice"):
        op.create_index(
            op.f(f"ix_allocation_source_id_{column}"),
            "allocation",
            ["source_id", column],
            unique=False,
        )
    op.add_column("payment", sa.Column("reference", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_payment_source_id_reference"), "payment", ["source_id", "reference"], unique=False
    )
