"""A copy of a billing database: its relations, and how far the copy is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0023"
down_revision = "0022"

_INSTANT = sa.DateTime(timezone=True)
_INDEXES = {
    "copied_customer": (
        "customer_id",
        "external_id",
    ),
    "copied_subscription": (
        "customer_id",
        "subscription_id",
    ),
    "copied_version": (
        "customer_id",
        "subscription_id",
    ),
    "copied_event": (
        "customer_id",
        "position",
    ),
    "copied_item": (
        "customer_id",
        "version_id",
    ),
    "copied_discount": (
        "customer_id",
        "version_id",
    ),
    "copied_invoice": ("customer_id",),
    "copied_usage_line": ("customer_id",),
    "copied_payment": (
        "customer_id",
        "invoice",
        "paid_at",
        "reference",
    ),
}


def upgrade() -> None:
    """Create the tables of the copy and their indexes."""
    _create_parties()
    _create_versions()
    _create_money()
    for table, columns in _INDEXES.items():
        for column in columns:
            op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _create_parties() -> None:
    op.create_table(
        "copied_source",
        sa.Column("source_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("schema_name", sa.Text()),
        sa.Column("tenant", sa.Text()),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("marks", postgresql.JSONB(), nullable=False),
        sa.Column("copied_at", _INSTANT, nullable=False),
        sa.Column("compared_at", _INSTANT, nullable=False),
        sa.Column("last_event_at", _INSTANT),
        sa.Column("left_out", postgresql.JSONB(), nullable=False),
        sa.Column("rates_position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_copied_source")),
        comment="The billing database that this store holds a copy of; no row in any other store.",
    )
    op.create_table(
        "copied_customer",
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("email", sa.Text()),
        sa.Column("country", sa.Text()),
        sa.Column("signed_up_at", _INSTANT),
    )
    op.create_table(
        "copied_plan",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("product", sa.Text()),
        sa.PrimaryKeyConstraint("source_id", "plan", name=op.f("pk_copied_plan")),
    )
    op.create_table(
        "copied_product",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.PrimaryKeyConstraint("source_id", "product", name=op.f("pk_copied_product")),
    )
    op.create_table(
        "copied_subscription",
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.Text()),
    )


def _create_versions() -> None:
    op.create_table(
        "copied_version",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", _INSTANT, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("recorded_at", _INSTANT),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text()),
        sa.Column("started_at", _INSTANT),
        sa.Column("trial_end", _INSTANT),
        sa.Column("past_due_since", _INSTANT),
        sa.Column("paused_at", _INSTANT),
        sa.Column("current_period_start", _INSTANT),
        sa.Column("current_period_end", _INSTANT),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("cancel_at", _INSTANT),
        sa.Column("refunded_at_cancellation", sa.Boolean(), nullable=False),
        sa.Column("cancel_reason", sa.Text()),
        sa.Column("cancel_feedback", sa.Text()),
        sa.Column("voluntary", sa.Boolean()),
        sa.Column("confidence", sa.Text(), nullable=False),
    )
    op.create_table(
        "copied_event",
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("occurred_at", _INSTANT, nullable=False),
        sa.Column("recorded_at", _INSTANT),
    )
    op.create_table(
        "copied_item",
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text()),
        sa.Column("product", sa.Text()),
        sa.Column("quantity", sa.Numeric()),
        sa.Column("unit_amount", sa.Numeric()),
        sa.Column("tax_inclusive_amount", sa.Numeric(), nullable=False),
        sa.Column("interval", sa.Text()),
        sa.Column("interval_count", sa.Integer()),
        sa.Column("usage_type", sa.Text(), nullable=False),
    )
    op.create_table(
        "copied_discount",
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("taxed", sa.Boolean(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("item", sa.Text()),
        sa.Column("percent_off", sa.Numeric()),
        sa.Column("amount_off", sa.Numeric()),
        sa.Column("duration", sa.Text(), nullable=False),
        sa.Column("starts_at", _INSTANT),
        sa.Column("ends_at", _INSTANT),
    )


def _create_money() -> None:
    op.create_table(
        "copied_invoice",
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("subscription_id", sa.BigInteger()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text()),
        sa.Column("total", sa.Numeric()),
        sa.Column("amount_paid", sa.Numeric()),
        sa.Column("issued_at", _INSTANT),
        sa.Column("paid_at", _INSTANT),
        sa.Column("period_start", _INSTANT),
        sa.Column("period_end", _INSTANT),
        sa.Column("first_payment_at", _INSTANT),
        sa.Column("refunded", sa.Numeric()),
    )
    op.create_table(
        "copied_usage_line",
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.Text()),
        sa.Column("plan", sa.Text()),
        sa.Column("currency", sa.Text()),
        sa.Column("amount", sa.Numeric()),
        sa.Column("issued_at", _INSTANT),
        sa.Column("period_start", _INSTANT),
        sa.Column("period_end", _INSTANT),
    )
    op.create_table(
        "copied_payment",
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("payment", sa.Text(), nullable=False),
        sa.Column("invoice", sa.Text()),
        sa.Column("reference", sa.Text()),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric()),
        sa.Column("fee", sa.Numeric()),
        sa.Column("currency", sa.Text()),
        sa.Column("method", sa.Text()),
        sa.Column("failure_reason", sa.Text()),
        sa.Column("paid_at", _INSTANT),
    )
