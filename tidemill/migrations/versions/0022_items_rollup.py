"""A roll-up of what each month adds to the levels of items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Create it; it is filled when the facts are next made those of the books."""
    op.create_table(
        "metric_mrr_item_monthly",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(), nullable=False),
        sa.Column("amount_base_minor", sa.Numeric(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "month",
            "source_id",
            "currency",
            "plan",
            "product",
            "interval",
            "interval_count",
            name=op.f("pk_metric_mrr_item_monthly"),
        ),
        postgresql_with={"fillfactor": "70"},
        comment="A roll-up of metric_mrr_movement: what each month adds to the level of items.",
    )
