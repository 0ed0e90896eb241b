"""Costs get a table; until now they were in the log alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table, and fill it from the log."""
    op.create_table(
        "expense",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("vendor", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_expense")),
        comment="Costs, one row per event; the latest event of a cost says what it was.",
    )
    op.create_index(
        op.f("ix_expense_source_id_external_id"),
        "expense",
        ["source_id", "external_id"],
        unique=False,
    )
    # The log has been read past these events, so nobody else would bring them.
    op.execute(
        """
        INSERT INTO expense (id, source_id, external_id, event_id, occurred_at, sequence,
                             recorded_at, livemode, day, amount, currency, category, channel,
                             vendor, description)
        SELECT position, source_id, subject, id, occurred_at, sequence, recorded_at, livemode,
               (data ->> 'day')::date, (data ->> 'amount')::numeric, upper(data ->> 'currency'),
               data ->> 'category', data ->> 'channel', data ->> 'vendor', data ->> 'description'
        FROM event_log
        WHERE type = 'expense.recorded'
        """
    )
