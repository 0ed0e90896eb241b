"""The tables Tidemill keeps, as SQLAlchemy Core.

Five families, from the outside in:

- **the inbox**: ``delivery`` (what a vendor sent to a webhook, byte by byte, kept before it was
  acknowledged) and ``vendor_object`` (what was learned on the way of prices, coupons, discounts);
- **the log**: ``event_log`` (every accepted event, once), ``consumer_position`` (how far it was
  applied) and ``quarantine`` (what was refused, with all its problems);
- **the core tables**: who pays and what is sold (current rows), and the append-only history of
  subscriptions, invoices and payments: one row per event, keyed by the event's log position,
  never updated;
- **the copy** of a billing database, in a store that has one: ``copied_*``, in place of the core
  tables;
- **the facts**: ``metric_*`` tables, a cache of what the ledger derives under the configured
  policy.

Everything below the log can be rebuilt from it and comes out identical. For that reason no core
table draws keys from a sequence: a version's key is the log position of its event, and a customer's
or subscription's key is the position of the first event that mentioned it.

There are no foreign keys: every row below the log is written by a join against the row that such a
key would point to, so checking it again, row by row, would only cost more than the insert itself.
"""

from __future__ import annotations

from tidemill.models.base import metadata
from tidemill.models.billing import (
    allocation,
    expense,
    fx_rate,
    invoice_line,
    invoice_version,
    payment,
)
from tidemill.models.copies import (
    copied_customer,
    copied_discount,
    copied_event,
    copied_invoice,
    copied_item,
    copied_payment,
    copied_plan,
    copied_product,
    copied_source,
    copied_subscription,
    copied_usage_line,
    copied_version,
)
from tidemill.models.customers import (
    attribute,
    attribute_pin,
    customer,
    customer_attribute,
    customer_merge,
    plan,
    product,
    subscription,
)
from tidemill.models.facts import (
    metric_failure_daily,
    metric_mrr_cohort_monthly,
    metric_mrr_daily,
    metric_mrr_item_monthly,
    metric_mrr_monthly,
    metric_mrr_movement,
    metric_payment_daily,
    metric_trial,
    policy_in_use,
    segment,
)
from tidemill.models.inbox import delivery, vendor_object
from tidemill.models.log import consumer_position, event_log, quarantine, source
from tidemill.models.readings import reconciliation, sync_object, sync_run
from tidemill.models.schedules import planned_phase, schedule_version
from tidemill.models.subscriptions import subscription_version, version_discount, version_item
from tidemill.models.workers import worker

__all__ = [
    "allocation",
    "attribute",
    "attribute_pin",
    "consumer_position",
    "copied_customer",
    "copied_discount",
    "copied_event",
    "copied_invoice",
    "copied_item",
    "copied_payment",
    "copied_plan",
    "copied_product",
    "copied_source",
    "copied_subscription",
    "copied_usage_line",
    "copied_version",
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
    "metric_failure_daily",
    "metric_mrr_cohort_monthly",
    "metric_mrr_daily",
    "metric_mrr_item_monthly",
    "metric_mrr_monthly",
    "metric_mrr_movement",
    "metric_payment_daily",
    "metric_trial",
    "payment",
    "plan",
    "planned_phase",
    "policy_in_use",
    "product",
    "quarantine",
    "reconciliation",
    "schedule_version",
    "segment",
    "source",
    "subscription",
    "subscription_version",
    "sync_object",
    "sync_run",
    "vendor_object",
    "version_discount",
    "version_item",
    "worker",
]
