"""An index of what went back to customers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Index refunds and disputes in force: far fewer than payments."""
    op.create_index(
        "ix_payment_back",
        "payment",
        ["occurred_at"],
        postgresql_where=sa.text(
            "kind IN ('refunded', 'refund_failed', 'disputed', 'dispute_won')"
            " AND livemode AND NOT superseded"
        ),
    )
