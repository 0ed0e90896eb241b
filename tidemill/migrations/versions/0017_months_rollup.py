"""A roll-up of what became of customers in each month."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create it; it is filled when the facts are next made those of the books."""
    op.create_table(
        "metric_mrr_monthly",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("change_minor", sa.Numeric(), nullable=False),
        sa.Column("shrinkage_minor", sa.Numeric(), nullable=False),
        sa.Column("lost_net", sa.BigInteger(), nullable=False),
        sa.Column("lost_there", sa.BigInteger(), nullable=False),
        sa.Column("lost_all", sa.BigInteger(), nullable=False),
        sa.Column("joined", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "month", "currency", "customer_id", name=op.f("pk_metric_mrr_monthly")
        ),
        postgresql_with={"fillfactor": "70"},
        comment="A roll-up of metric_mrr_movement: what became of customers in each month.",
    )
