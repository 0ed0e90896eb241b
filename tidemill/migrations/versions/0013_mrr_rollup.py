"""A roll-up of MRR movements, and an index with all that most questions read of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create both; the table is filled when the facts are next made those of the books."""
    op.drop_index(op.f("ix_metric_mrr_movement_day"), table_name="metric_mrr_movement")
    op.create_index(
        "ix_metric_mrr_movement_in_time",
        "metric_mrr_movement",
        ["day"],
        postgresql_include=[
            "customer_id",
            "source_id",
            "currency",
            "occurred_at",
            "type",
            "amount_minor",
            "amount_base_minor",
            "customer_delta",
            "cohort_month",
        ],
    )
    op.create_table(
        "metric_mrr_daily",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(), nullable=False),
        sa.Column("amount_base_minor", sa.Numeric(), nullable=False),
        sa.Column("customer_delta", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "source_id", "currency", "type", name=op.f("pk_metric_mrr_daily")
        ),
        postgresql_with={"fillfactor": "70"},
        comment="A roll-up of metric_mrr_movement: the sums of its rows.",
    )
