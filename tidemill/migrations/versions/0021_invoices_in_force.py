"""Invoices: which versions are the last word, and which lines are usage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0021"
down_revision = "0020"

_KEY = ("source_id", "external_id")


def upgrade() -> None:
    """Mark what was superseded, and index the lines that are usage."""
    op.add_column(
        "invoice_version",
        sa.Column("superseded", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.execute(_superseding())
    # Nothing is known of a new column, and what nothing is known of is taken for a half.
    op.execute(sa.text("ANALYZE invoice_version"))
    op.create_index(
        "ix_invoice_line_usage",
        "invoice_line",
        ["version_id"],
        postgresql_where=sa.text("kind = 'usage'"),
    )


def _superseding() -> sa.Update:
    names = ("id", "livemode", "superseded", "status", *_KEY)
    order = ("occurred_at", "sequence", "recorded_at", "event_id")
    version = sa.table("invoice_version", *(sa.column(name) for name in (*names, *order)))
    terminal = sa.case((version.c.status.in_(("paid", "void", "uncollectible")), 1), else_=0)
    place = sa.func.row_number().over(
        partition_by=[version.c[name] for name in _KEY],
        order_by=[
            version.c.occurred_at.desc(),
            version.c.sequence.desc(),
            terminal.desc(),
            version.c.recorded_at.desc(),
            version.c.event_id.desc(),
        ],
    )
    # What is not live supersedes nothing, and is read by nobody.
    told = sa.select(version.c.id, place.label("place")).where(version.c.livemode).subquery("told")
    return (
        sa.update(version)
        .values(superseded=True)
        .where(version.c.id == told.c.id, told.c.place > 1)
    )
