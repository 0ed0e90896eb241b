"""An index of the states that are told of beside MRR."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Index the versions that are past due or on trial."""
    op.create_index(
        "ix_subscription_version_beside",
        "subscription_version",
        ["status", "occurred_at"],
        postgresql_where=sa.text("status IN ('past_due', 'trialing')"),
    )
