"""Reading a billing system through its API, and comparing it with the books."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables of runs, of what they read, and of comparisons."""
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subscription_count", sa.Integer(), nullable=False),
        sa.Column("difference_count", sa.Integer(), nullable=False),
        sa.Column("report", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation")),
        comment="Comparisons of the books with a billing system's present state.",
    )
    op.create_index(
        op.f("ix_reconciliation_source_compared_at"),
        "reconciliation",
        ["source", "compared_at"],
        unique=False,
    )
    op.create_table(
        "sync_object",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "kind", "id", name=op.f("pk_sync_object")),
        comment="Objects as read, until all are there and can be told; emptied after it.",
    )
    op.create_index(
        op.f("ix_sync_object_run_id_owner"), "sync_object", ["run_id", "owner"], unique=False
    )
    op.create_table(
        "sync_run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.Date(), nullable=True),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("place", postgresql.JSONB(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_run")),
        comment="Readings of a billing system's API; an unfinished one goes on where it stopped.",
    )
    op.create_index(op.f("ix_sync_run_source"), "sync_run", ["source"], unique=False)
