"""A roll-up of what each month adds to the customers and the MRR of each cohort."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Create it; it is filled when the facts are next made those of the books."""
    op.create_table(
        "metric_mrr_cohort_monthly",
        sa.Column("cohort_month", sa.Date(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(), nullable=False),
        sa.Column("amount_base_minor", sa.Numeric(), nullable=False),
        sa.Column("customer_delta", sa.BigInteger(), nullable=False),
        sa.Column("joined", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "cohort_month", "month", "currency", name=op.f("pk_metric_mrr_cohort_monthly")
        ),
        postgresql_with={"fillfactor": "70"},
        comment="A roll-up of metric_mrr_movement: what each month adds to each cohort.",
    )
