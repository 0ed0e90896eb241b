"""The function that runs parts of a derivation joins by hashing, and sorts no wide rows for it."""

from __future__ import annotations

from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Only for the statements inside it: nothing is known of the sizes of what their steps give."""
    op.execute("ALTER FUNCTION tidemill_rows(text) SET enable_mergejoin = off")
