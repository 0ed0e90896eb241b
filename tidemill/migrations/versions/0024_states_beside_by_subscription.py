"""The index of the states that are told of beside MRR, in the order of their subscriptions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0024"
down_revision = "0023"

_NAME = "ix_subscription_version_beside"


def upgrade() -> None:
    """Make it again: what follows each state is looked up, and lies together in this order."""
    op.drop_index(_NAME, "subscription_version")
    op.create_index(
        _NAME,
        "subscription_version",
        ["status", "subscription_id", "occurred_at"],
        postgresql_where=sa.text("status IN ('past_due', 'trialing')"),
    )
