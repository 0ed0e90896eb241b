"""Facts, a cache of what the ledger derives, and what is asked of them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.models.base import Instant, metadata

__all__ = [
    "metric_failure_daily",
    "metric_mrr_cohort_monthly",
    "metric_mrr_daily",
    "metric_mrr_item_monthly",
    "metric_mrr_monthly",
    "metric_mrr_movement",
    "metric_payment_daily",
    "metric_trial",
    "policy_in_use",
    "segment",
]

metric_mrr_movement = Table(
    "metric_mrr_movement",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("item", Text, nullable=False),
    Column("plan", Text),
    Column("product", Text),
    Column("interval", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("day", Date, nullable=False),  # in the policy's time zone
    Column("type", Text, nullable=False),
    # Signed change of the item's monthly level, minor units of `currency`, exact.
    Column("amount_minor", Numeric, nullable=False),
    # The same change in the base currency, under a policy that carries its own rates (fx =
    # at_movement or at_renewal); null where it is amount_minor at the rate of the day asked about.
    Column("amount_base_minor", Numeric),
    # +1 on one row of a bucket in which the customer becomes active, -1 where it stops being so.
    Column("customer_delta", SmallInteger, nullable=False),
    Column("cohort_month", Date, nullable=False),  # month of the customer's first movement
    # "event", or the name of the timer that made the change (vocabulary.Cause).
    Column("cause", Text, nullable=False),
    # Log position of the event behind the change, or of the event whose timer it was.
    Column("event_position", BigInteger, nullable=False),
    Column("churn_reason", Text),  # voluntary | involuntary | unknown on churn rows, else null
    Index(None, "customer_id"),
    # With what most questions read beside the day, so that they need not visit the table.
    Index(
        "ix_metric_mrr_movement_in_time",
        "day",
        postgresql_include=[
            *("customer_id", "source_id", "currency", "occurred_at", "type"),
            *("amount_minor", "amount_base_minor", "customer_delta", "cohort_month"),
        ],
    ),
)

metric_mrr_daily = Table(
    "metric_mrr_daily",
    metadata,
    Column("day", Date, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("amount_minor", Numeric, nullable=False),
    Column("amount_base_minor", Numeric, nullable=False),  # 0 where movements carry no rates
    Column("customer_delta", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "source_id", "currency", "type"),
    # Cells are added to again and again: with room beside them, without touching the index.
    postgresql_with={"fillfactor": "70"},
    comment="A roll-up of metric_mrr_movement: the sums of its rows.",
)

metric_mrr_item_monthly = Table(
    "metric_mrr_item_monthly",
    metadata,
    Column("month", Date, nullable=False),  # its first day, in the policy's time zone
    Column("source_id", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("plan", Text, nullable=False),  # empty where there is none, as product
    Column("product", Text, nullable=False),
    Column("interval", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("amount_minor", Numeric, nullable=False),
    Column("amount_base_minor", Numeric, nullable=False),  # 0 where movements carry no rates
    Column("row_count", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        *("month", "source_id", "currency", "plan", "product", "interval", "interval_count")
    ),
    postgresql_with={"fillfactor": "70"},
    comment="A roll-up of metric_mrr_movement: what each month adds to the level of items.",
)

metric_mrr_cohort_monthly = Table(
    "metric_mrr_cohort_monthly",
    metadata,
    Column("cohort_month", Date, nullable=False),
    Column("month", Date, nullable=False),  # its first day, in the policy's time zone
    Column("currency", Text, nullable=False),
    Column("amount_minor", Numeric, nullable=False),
    Column("amount_base_minor", Numeric, nullable=False),  # 0 where movements carry no rates
    Column("customer_delta", BigInteger, nullable=False),
    Column("joined", BigInteger, nullable=False),  # of customer_delta, those who were new
    Column("row_count", BigInteger, nullable=False),
    PrimaryKeyConstraint("cohort_month", "month", "currency"),
    postgresql_with={"fillfactor": "70"},
    comment="A roll-up of metric_mrr_movement: what each month adds to each cohort.",
)

metric_mrr_monthly = Table(
    "metric_mrr_monthly",
    metadata,
    Column("month", Date, nullable=False),  # its first day, in the policy's time zone
    Column("currency", Text, nullable=False),  # empty for who came and left
    # 0 for all; of its own for one whose MRR changed in several currencies.
    Column("customer_id", BigInteger, nullable=False),
    # Of those who were there when the month began: what their MRR changed by, and the part of it
    # of those who pay less at its end.
    Column("change_minor", Numeric, nullable=False),
    Column("shrinkage_minor", Numeric, nullable=False),
    # Customers lost, as each value of the knob logo_numerator counts them, and new ones.
    Column("lost_net", BigInteger, nullable=False),
    Column("lost_there", BigInteger, nullable=False),
    Column("lost_all", BigInteger, nullable=False),
    Column("joined", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    PrimaryKeyConstraint("month", "currency", "customer_id"),
    postgresql_with={"fillfactor": "70"},
    comment="A roll-up of metric_mrr_movement: what became of customers in each month.",
)

metric_payment_daily = Table(
    "metric_payment_daily",
    metadata,
    Column("day", Date, nullable=False),  # in the policy's time zone
    Column("source_id", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("kind", Text, nullable=False),  # payment, refund, dispute, fee, failure
    Column("amount_minor", Numeric, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "source_id", "currency", "kind"),
    postgresql_with={"fillfactor": "70"},
    comment="A roll-up of payments: their sums.",
)

metric_failure_daily = Table(
    "metric_failure_daily",
    metadata,
    Column("day", Date, nullable=False),  # in the policy's time zone
    Column("source_id", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    # failure: an attempt; and on the day of its first one failed, followed, recovered: what it was.
    Column("kind", Text, nullable=False),
    Column("amount_minor", Numeric, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "source_id", "currency", "kind"),
    postgresql_with={"fillfactor": "70"},
    comment="A roll-up of payments: the sums of what failed, and of what became of it.",
)

segment = Table(
    "segment",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("definition", JSONB(none_as_null=True)),  # null: deleted
    Column("description", Text, nullable=False),
    Column("saved_at", Instant, nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("name", "version"),
    comment="Saved segments; the latest version of a name is in force.",
)

metric_trial = Table(
    "metric_trial",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    # What the trial was of, by its first item.
    Column("plan", Text),
    Column("product", Text),
    Column("interval", Text),
    Column("interval_count", Integer),
    Column("currency", Text, nullable=False),
    Column("event_position", BigInteger, nullable=False),  # of the event that began it
    Column("day", Date, nullable=False),  # days are of the policy's time zone
    Column("occurred_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_on", Date),
    Column("converted_at", Instant),
    Column("converted_on", Date),
    Column("expired_on", Date),
    Index(None, "customer_id"),
    Index(None, "day"),
)

policy_in_use = Table(
    "policy_in_use",
    metadata,
    Column("hash", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    # Not when the transaction began: of two, the one that had to wait is the later one.
    Column("configured_at", Instant, nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("hash", "configured_at"),
    comment="The policies the facts were kept under, and since when; the latest row is in force.",
)
