"""What stands beside MRR, whatever a policy makes of it: MRR at risk, and the MRR of trials."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Final

from sqlalchemy import FromClause, exists, select, tuple_

from tidemill.ledger import derive, whole_companies
from tidemill.metrics.base import Table
from tidemill.metrics.levels import money_at
from tidemill.metrics.query import Query
from tidemill.periods import instants
from tidemill.policy import Policy
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["at_risk", "trial_mrr"]

_ORDER: Final = ("occurred_at", "sequence", "recorded_at", "event_id")


def at_risk(q: Query, at: date) -> Table:
    """The MRR of subscriptions that are past due at the close of a day, as if past due counted."""
    counted = replace(q.policy, past_due="active")
    return _worth(q, at, counted, SubscriptionStatus.PAST_DUE, "at_risk")


def trial_mrr(q: Query, at: date) -> Table:
    """What subscriptions on trial at the close of a day would be worth, as if trials counted.

    Nobody on trial has paid an invoice, so it does not take one.
    """
    counted = replace(q.policy, trials_in_mrr="include", activation="status_active")
    return _worth(q, at, counted, SubscriptionStatus.TRIALING, "trial_mrr")


def _worth(q: Query, at: date, policy: Policy, status: SubscriptionStatus, name: str) -> Table:
    """The MRR of subscriptions in a status, under a policy in which the status counts.

    It is derived anew, from the histories of the customers concerned alone.
    """
    found = _in_status(q, at, status)
    concerned = whole_companies(found, q.relations.identities)
    version = q.relations.subscription_versions
    theirs = select(version).where(version.c.customer_id.in_(concerned)).subquery("concerned")
    derived = derive(replace(q.relations, subscription_versions=theirs), policy).cte("derived")
    rows = select(derived).where(derived.c.subscription_id.in_(select(found.c.subscription_id)))
    beside = replace(q, rows=rows.cte("beside_movement"), policy=policy, measure="mrr")
    return money_at(beside, at, name)


def _in_status(q: Query, at: date, status: SubscriptionStatus) -> FromClause:
    """The subscriptions whose last state of the day says so: subscription_id, customer_id."""
    version = q.relations.subscription_versions.alias("state")
    later = q.relations.subscription_versions.alias("later_state")
    over = instants(at, at, q.policy.tz).end_exclusive
    follows = tuple_(*(later.c[name] for name in _ORDER)) > tuple_(
        *(version.c[name] for name in _ORDER)
    )
    # Few states say so, and those that follow one are looked up: not every history is sorted.
    overtaken = exists(
        select(1)
        .select_from(later)
        .where(
            later.c.subscription_id == version.c.subscription_id,
            later.c.occurred_at < over,
            follows,
        )
    )
    columns = (version.c.subscription_id, version.c.customer_id)
    found = select(*columns).where(
        version.c.status == status.value, version.c.occurred_at < over, ~overtaken
    )
    return found.cte("in_status")
