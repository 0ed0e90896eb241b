"""A function that runs a statement, by which parts of a derivation run side by side."""

from __future__ import annotations

from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create it; with the rights of whoever calls it, so it allows nothing new."""
    # The cost makes the planner give each call a process; a cheap call is not worth one.
    op.execute(
        """
        CREATE FUNCTION tidemill_rows(statement text) RETURNS SETOF record
        LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000000 ROWS 1000000
        AS $$ BEGIN RETURN QUERY EXECUTE statement; END $$
        """
    )
    op.execute(
        "COMMENT ON FUNCTION tidemill_rows IS "
        "'The rows of a query, which a parallel process may ask for'"
    )
