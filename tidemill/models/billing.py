"""The history of invoices, payments, costs and exchange rates: one row per event."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    and_,
    false,
)

from tidemill.models.base import Instant, metadata

__all__ = [
    "allocation",
    "expense",
    "fx_rate",
    "invoice_line",
    "invoice_version",
    "payment",
]

invoice_version = Table(
    "invoice_version",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription", Text),  # vendor id; its row may arrive later, or never
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("subtotal", Numeric, nullable=False),
    Column("tax", Numeric, nullable=False),
    Column("total", Numeric, nullable=False),
    Column("amount_paid", Numeric),
    Column("period_start", Instant),
    Column("period_end", Instant),
    Column("issued_at", Instant, nullable=False),
    Column("paid_at", Instant),
    # Something later was said of the same invoice. In no index: most versions are superseded soon.
    Column("superseded", Boolean, nullable=False, server_default=false()),
    Index(None, "customer_id"),
    Index(None, "source_id", "external_id"),
)

invoice_line = Table(
    "invoice_line",
    metadata,
    Column("version_id", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("line", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subscription", Text),
    Column("item", Text),
    Column("plan", Text),
    Column("amount", Numeric, nullable=False),
    Column("quantity", Numeric),
    Column("period_start", Instant),
    Column("period_end", Instant),
    PrimaryKeyConstraint("version_id", "ordinal"),
)
# The few lines that are usage, among all that was ever invoiced.
Index(
    "ix_invoice_line_usage",
    invoice_line.c.version_id,
    postgresql_where=invoice_line.c.kind == "usage",
)

payment = Table(
    "payment",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("invoice", Text),
    Column("reference", Text),  # shared by the attempts, refunds and disputes of one payment
    Column("event_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),  # vocabulary.PaymentKind
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("fee", Numeric),
    Column("currency", Text, nullable=False),
    Column("method", Text),
    Column("failure_reason", Text),
    Column("attempt", Integer),
    # Something later was said of the same attempt, refund or dispute.
    Column("superseded", Boolean, nullable=False, server_default=false()),
    Index(None, "customer_id"),
    Index(None, "source_id", "external_id"),
    Index(None, "source_id", "invoice"),
    Index(None, "source_id", "reference"),
)
# All that sums of payments read, in the order of time, so that they need not visit the table.
Index(
    "ix_payment_in_force",
    payment.c.occurred_at,
    postgresql_include=["source_id", "customer_id", "currency", "kind", "amount", "fee"],
    postgresql_where=and_(payment.c.livemode, ~payment.c.superseded),
)
Index(
    "ix_payment_failed",
    payment.c.occurred_at,
    postgresql_where=and_(payment.c.kind == "failed", payment.c.livemode, ~payment.c.superseded),
)
# The few that went back, or came again after that.
Index(
    "ix_payment_back",
    payment.c.occurred_at,
    postgresql_where=and_(
        payment.c.kind.in_(("refunded", "refund_failed", "disputed", "dispute_won")),
        payment.c.livemode,
        ~payment.c.superseded,
    ),
)

allocation = Table(
    "allocation",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("reference", Text, nullable=False),
    Column("invoice", Text, nullable=False),
    Index(None, "source_id", "reference"),
    Index(None, "source_id", "invoice"),
    comment="Which invoice the payments of a reference are for, where they do not say.",
)

expense = Table(
    "expense",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("day", Date, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("category", Text, nullable=False),  # vocabulary.ExpenseCategory
    Column("channel", Text),
    Column("vendor", Text),
    Column("description", Text),
    Index(None, "source_id", "external_id"),
    comment="Costs, one row per event; the latest event of a cost says what it was.",
)

fx_rate = Table(
    "fx_rate",
    metadata,
    # A day may be published again, corrected or by another source: of the rows known by then, the
    # one of the latest event counts. So a correction does not restate what was reported before it.
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    # One major unit of `quote` is worth `rate` major units of `base` until the next day with a row.
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("rate", Numeric, nullable=False),
    Index(None, "base", "quote", "day"),
)
