"""Words of billing systems that are not known yet: where in the log they stand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Index the few events that hold one."""
    op.create_index(
        "ix_event_log_unknown",
        "event_log",
        ["source_id"],
        unique=False,
        postgresql_where=sa.text("data ? 'unknown'"),
    )
