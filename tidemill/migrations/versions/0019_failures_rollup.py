"""A roll-up of payments that failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Create its table; it is filled when the facts are next made those of the books."""
    op.create_table(
        "metric_failure_daily",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "source_id", "currency", "kind", name=op.f("pk_metric_failure_daily")
        ),
        postgresql_with={"fillfactor": "70"},
        comment="A roll-up of payments: the sums of what failed, and of what became of it.",
    )
