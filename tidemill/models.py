"""The tables Tidemill keeps, as SQLAlchemy Core.

Four families, from the outside in:

- **the inbox**: ``delivery`` (what a vendor sent to a webhook, byte by byte, kept before it was
  acknowledged) and ``vendor_object`` (what was learned on the way of prices, coupons, discounts);
- **the log**: ``event_log`` (every accepted event, once), ``consumer_position`` (how far it was
  applied) and ``quarantine`` (what was refused, with all its problems);
- **the core tables**: who pays and what is sold (current rows), and the append-only history of
  subscriptions, invoices and payments: one row per event, keyed by the event's log position,
  never updated;
- **the facts**: ``metric_*`` tables, a cache of what the ledger derives under the configured
  policy.

Everything below the log can be rebuilt from it and comes out identical. For that reason no core
table draws keys from a sequence: a version's key is the log position of its event, and a customer's
or subscription's key is the position of the first event that mentioned it.

There are no foreign keys: every row below the log is written by a join against the row that such a
key would point to, so checking it again, row by row, would only cost more than the insert itself.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    column,
    false,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "attribute",
    "attribute_pin",
    "consumer_position",
    "customer",
    "customer_attribute",
    "customer_merge",
    "delivery",
    "event_log",
    "expense",
    "fx_rate",
    "invoice_line",
    "invoice_version",
    "metadata",
    "metric_mrr_movement",
    "metric_trial",
    "payment",
    "plan",
    "policy_in_use",
    "product",
    "quarantine",
    "reconciliation",
    "segment",
    "source",
    "subscription",
    "subscription_version",
    "sync_object",
    "sync_run",
    "vendor_object",
    "version_discount",
    "version_item",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Instant = DateTime(timezone=True)

# --- the log -----------------------------------------------------------------------------------

source = Table(
    "source",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # the connector's name: stripe, files, …
    # Whether the vendor's test mode is the books of this source; else it is kept apart.
    Column("test_mode", Boolean, nullable=False, server_default=false()),
    Column("created_at", _Instant, nullable=False, server_default=func.now()),
    comment="Connected billing systems; created on first use by file imports.",
)

event_log = Table(
    "event_log",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("source_id", Integer, nullable=False),
    # Which of the bus's partitions it travels in: a stable hash of (source, customer).
    Column("partition", SmallInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),  # the vendor id of what the event is about: data.id
    Column("customer", Text, nullable=False),  # vendor id; empty for catalogue events
    Column("occurred_at", _Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", _Instant, nullable=False, server_default=func.clock_timestamp()),
    Column("livemode", Boolean, nullable=False),
    Column("data", JSONB, nullable=False),
    # A reader follows each partition from its own position on.
    Index(None, "partition", "position"),
    # Every result says how fresh each source is: its latest event, without reading the log.
    Index(None, "source_id", "occurred_at"),
    # And how much was left out as test mode; it costs live events nothing.
    Index("ix_event_log_test_mode", "source_id", postgresql_where=column("livemode").is_(False)),
    comment="Every accepted event, once. Positions of one partition become visible in order.",
)

consumer_position = Table(
    "consumer_position",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("consumer", "partition"),
    comment="Last applied place of each partition; moves in the transaction of the effects.",
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("origin", Text, nullable=False),  # file:line, topic/partition/offset, log position
    Column("kind", Text, nullable=False),  # how to read `body` again: events, stripe-events, …
    Column("body", Text, nullable=False),
    # SHA-256 of (source, kind, body): the same bad event sent twice is kept once.
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("problems", JSONB, nullable=False),  # [{"path": …, "problem": …, "hint": …}, …]
    Column("quarantined_at", _Instant, nullable=False, server_default=func.now()),
    Column("replayed_at", _Instant),
    comment="Events kept aside with every reason, until they are replayed.",
)

# --- the inbox ---------------------------------------------------------------------------------

delivery = Table(
    "delivery",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("account", Text, nullable=False),  # the connected account; empty for the source's own
    Column("livemode", Boolean, nullable=False),
    Column("event", Text, nullable=False),  # the vendor's id of the event; of the body without one
    Column("type", Text, nullable=False),
    Column("object", Text, nullable=False),  # vendor id of what it is about; empty when unknown
    Column("created", BigInteger, nullable=False),  # Unix seconds, as the vendor dates it; 0 if not
    Column("body", LargeBinary, nullable=False),  # as it came
    Column("received_at", _Instant, nullable=False, server_default=func.clock_timestamp()),
    # new | stored (its event is in the log) | ignored | waiting (in quarantine) | held (for others
    # of its second, that may tell its place)
    Column("state", Text, nullable=False, server_default="new"),
    Column("reason", Text),  # why it is ignored, or what it waits for
    Column("step", SmallInteger, nullable=False, server_default="0"),  # within its second and rank
    # Whether another of the same second may have come before it or after it: nothing tells.
    Column("doubtful", Boolean, nullable=False, server_default=false()),
    # Whether the object has ended with it, for good.
    Column("final", Boolean, nullable=False, server_default=false()),
    Column("tried_at", _Instant),
    Column("read", LargeBinary),  # the object as the vendor's API showed it, when it was asked
    Column("read_at", _Instant),
    UniqueConstraint("source", "account", "livemode", "event"),
    Index("ix_delivery_new", "position", postgresql_where=column("state") == "new"),
    Index("ix_delivery_held", "position", postgresql_where=column("state") == "held"),
    Index("ix_delivery_waiting", "source", postgresql_where=column("state") == "waiting"),
    Index("ix_delivery_doubtful", "source", postgresql_where=column("doubtful")),
    Index(None, "object", "created"),
    comment="What vendors sent to webhooks, kept before it was acknowledged.",
)

vendor_object = Table(
    "vendor_object",
    metadata,
    Column("source", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),  # price | coupon | discount
    Column("external_id", Text, nullable=False),
    Column("seen", BigInteger, nullable=False),  # Unix seconds, of the vendor's clock
    Column("body", LargeBinary, nullable=False),  # JSON, of any version of the vendor's API
    PrimaryKeyConstraint("source", "account", "kind", "external_id"),
    comment="Objects that events only name: the newest that was seen of each.",
)

# --- who pays, what is sold: current rows --------------------------------------------------------

customer = Table(
    "customer",
    metadata,
    # Position of the first event that mentioned the customer.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("email", Text),
    Column("country", Text),
    Column("currency", Text),
    Column("created_at", _Instant),
    Column("deleted_at", _Instant),
    Column("attributes", JSONB),
    # Order key of the customer event these values come from; null while only mentioned.
    Column("state_at", _Instant),
    Column("state_sequence", Integer),
    Column("state_recorded_at", _Instant),
    Column("state_event_id", Uuid),
    UniqueConstraint("source_id", "external_id"),
)

customer_attribute = Table(
    "customer_attribute",
    metadata,
    Column("customer_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    # "billing": of the customer's own event, so gone with the next one that does not name it;
    # "set": of customer.attributes_set, which stands before it. Without a text it was set to null.
    Column("given", Text, nullable=False),
    # The value as each kind it can be read as: `attribute_rows.readings`.
    Column("text", Text),
    Column("number", Numeric),
    Column("flag", Boolean),
    Column("moment", _Instant),
    Column("state_at", _Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", _Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
    # By name first: a question asks for one attribute of all customers.
    PrimaryKeyConstraint("name", "customer_id", "given"),
    Index(None, "customer_id"),
)

attribute = Table(
    "attribute",
    metadata,
    Column("name", Text, primary_key=True),
    # The kind of the first value of all, and the order key of the event that gave it.
    Column("kind", Text, nullable=False),
    Column("first_at", _Instant, nullable=False),
    Column("first_sequence", Integer, nullable=False),
    Column("first_recorded_at", _Instant, nullable=False),
    Column("first_event_id", Uuid, nullable=False),
)

attribute_pin = Table(
    "attribute_pin",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text),  # null: no longer pinned
    Column("state_at", _Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", _Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
)

product = Table(
    "product",
    metadata,
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("active", Boolean),
    Column("state_at", _Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", _Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
    PrimaryKeyConstraint("source_id", "external_id"),
)

plan = Table(
    "plan",
    metadata,
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("product", Text),
    Column("name", Text),
    Column("currency", Text, nullable=False),
    Column("interval", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("unit_amount", Numeric, nullable=False),
    Column("pricing_model", Text, nullable=False),
    Column("usage_type", Text, nullable=False),
    Column("active", Boolean),
    Column("state_at", _Instant, nullable=False),
    Column("state_sequence", Integer, nullable=False),
    Column("state_recorded_at", _Instant, nullable=False),
    Column("state_event_id", Uuid, nullable=False),
    PrimaryKeyConstraint("source_id", "external_id"),
)

subscription = Table(
    "subscription",
    metadata,
    # Position of the first event that mentioned the subscription. Its current state is its latest
    # version: keeping a copy here could only disagree with it.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    UniqueConstraint("source_id", "external_id"),
)

customer_merge = Table(
    "customer_merge",
    metadata,
    # customer.merged says that two vendor customers are one company. The other one is named as the
    # vendor does: its events travel in another partition, so its row may come later than this one.
    # Nobody is named where an earlier merge is taken back.
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("customer_id", BigInteger, nullable=False),
    Column("into_source", Text),
    Column("into_customer", Text),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", _Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Index(None, "customer_id"),
)

# --- history: one row per event, append-only ------------------------------------------------------

subscription_version = Table(
    "subscription_version",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", _Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),  # upper-case ISO 4217
    Column("started_at", _Instant),
    Column("trial_start", _Instant),
    Column("trial_end", _Instant),
    Column("past_due_since", _Instant),
    Column("paused_at", _Instant),
    Column("current_period_start", _Instant),
    Column("current_period_end", _Instant),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("cancel_at", _Instant),
    Column("canceled_at", _Instant),
    Column("ended_at", _Instant),
    Column("cancel_reason", Text),
    Column("cancel_feedback", Text),
    Column("voluntary", Boolean),
    Column("refunded_at_cancellation", Boolean, nullable=False),
    Column("collection_method", Text),
    Column("confidence", Text, nullable=False),
    Index(None, "customer_id"),
    Index(None, "subscription_id", "occurred_at", "sequence"),
)

version_item = Table(
    "version_item",
    metadata,
    Column("version_id", BigInteger, nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("item", Text, nullable=False),
    Column("plan", Text),
    Column("product", Text),
    Column("quantity", Numeric, nullable=False),
    Column("unit_amount", Numeric, nullable=False),  # minor units, may be fractional
    Column("tax_inclusive_amount", Numeric, nullable=False),  # per unit, contained in unit_amount
    Column("interval", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("usage_type", Text, nullable=False),
    PrimaryKeyConstraint("version_id", "ordinal"),
)

version_discount = Table(
    "version_discount",
    metadata,
    Column("version_id", BigInteger, nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("discount", Text, nullable=False),
    Column("coupon", Text),
    Column("item", Text),  # null: the whole subscription
    Column("percent_off", Numeric),
    Column("amount_off", Numeric),
    Column("duration", Text, nullable=False),
    Column("starts_at", _Instant),
    Column("ends_at", _Instant),
    PrimaryKeyConstraint("version_id", "ordinal"),
)

invoice_version = Table(
    "invoice_version",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("subscription", Text),  # vendor id; its row may arrive later, or never
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", _Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("subtotal", Numeric, nullable=False),
    Column("tax", Numeric, nullable=False),
    Column("total", Numeric, nullable=False),
    Column("amount_paid", Numeric),
    Column("period_start", _Instant),
    Column("period_end", _Instant),
    Column("issued_at", _Instant, nullable=False),
    Column("paid_at", _Instant),
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
    Column("period_start", _Instant),
    Column("period_end", _Instant),
    PrimaryKeyConstraint("version_id", "ordinal"),
)

payment = Table(
    "payment",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("invoice", Text),
    Column("event_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),  # succeeded | failed | refunded | disputed
    Column("occurred_at", _Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("fee", Numeric),
    Column("currency", Text, nullable=False),
    Column("method", Text),
    Column("failure_reason", Text),
    Column("attempt", Integer),
    Index(None, "customer_id"),
    Index(None, "source_id", "invoice"),
)

expense = Table(
    "expense",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # event_log.position
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("occurred_at", _Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
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
    Column("occurred_at", _Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
    # One major unit of `quote` is worth `rate` major units of `base` until the next day with a row.
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("rate", Numeric, nullable=False),
    Index(None, "base", "quote", "day"),
)

# --- reading from billing systems: what is under way, and what was found --------------------------

sync_run = Table(
    "sync_run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("started_at", _Instant, nullable=False),
    Column("since", Date),  # how far back it goes; null: to the beginning
    # Whether the past of subscriptions is put together in it, or only events are caught up with.
    Column("whole", Boolean, nullable=False),
    # How far it is: {"unit": …, "after": …, "first": …, "read_at": …}
    Column("place", JSONB, nullable=False),
    Column("finished_at", _Instant),
    Column("report", JSONB),  # what came of it, and what could not be told
    Index(None, "source"),
    comment="Readings of a billing system's API; an unfinished one goes on where it stopped.",
)

sync_object = Table(
    "sync_object",
    metadata,
    Column("run_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("owner", Text),  # the customer it belongs to
    Column("created", BigInteger),  # Unix seconds
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "kind", "id"),
    Index(None, "run_id", "owner"),
    comment="Objects as read, until all are there and can be told; emptied after it.",
)

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("compared_at", _Instant, nullable=False),
    Column("subscription_count", Integer, nullable=False),
    Column("difference_count", Integer, nullable=False),  # after mending, if it was asked for
    Column("report", JSONB, nullable=False),
    Index(None, "source", "compared_at"),
    comment="Comparisons of the books with a billing system's present state.",
)

# --- facts: a cache of derive() under the configured policy ---------------------------------------

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
    Column("occurred_at", _Instant, nullable=False),
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
    Index(None, "day"),
)

segment = Table(
    "segment",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("definition", JSONB(none_as_null=True)),  # null: deleted
    Column("description", Text, nullable=False),
    Column("saved_at", _Instant, nullable=False, server_default=func.clock_timestamp()),
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
    Column("occurred_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
    Column("ended_on", Date),
    Column("converted_at", _Instant),
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
    Column("configured_at", _Instant, nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("hash", "configured_at"),
    comment="The policies the facts were kept under, and since when; the latest row is in force.",
)
