"""Payments: which rows are the last word, and what sums of payments read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0011"
down_revision = "0010"

_KEY = ("source_id", "external_id", "kind", "attempt")
_LATER = ("occurred_at", "sequence", "recorded_at", "event_id")


def upgrade() -> None:
    """Mark what was superseded, and index what is in force."""
    op.add_column(
        "payment",
        sa.Column("superseded", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.create_index(
        op.f("ix_payment_source_id_external_id"), "payment", ["source_id", "external_id"]
    )
    op.execute(_superseding())
    op.create_index(
        "ix_payment_in_force",
        "payment",
        ["occurred_at"],
        postgresql_include=["source_id", "customer_id", "currency", "kind", "amount", "fee"],
        postgresql_where=sa.text("livemode AND NOT superseded"),
    )
    op.create_index(
        "ix_payment_failed",
        "payment",
        ["occurred_at"],
        postgresql_where=sa.text("kind = 'failed' AND livemode AND NOT superseded"),
    )


def _superseding() -> sa.Update:
    names = ("id", "livemode", "superseded", *_KEY, *_LATER)
    payment = sa.table("payment", *(sa.column(name) for name in names))
    place = sa.func.row_number().over(
        partition_by=[payment.c[name] for name in _KEY],
        order_by=[payment.c[name].desc() for name in _LATER],
    )
    # What is not live supersedes nothing, and is read by nobody.
    told = sa.select(payment.c.id, place.label("place")).where(payment.c.livemode).subquery("told")
    return (
        sa.update(payment)
        .values(superseded=True)
        .where(payment.c.id == told.c.id, told.c.place > 1)
    )
