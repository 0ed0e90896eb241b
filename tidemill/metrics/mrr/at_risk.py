"""MRR at risk: what subscriptions are worth whose payments are overdue."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from sqlalchemy import FromClause, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.ledger import derive, whole_companies
from tidemill.metrics.base import Table
from tidemill.metrics.levels import money_at
from tidemill.metrics.query import Query
from tidemill.periods import instants
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["at_risk"]

_PAST_DUE = SubscriptionStatus.PAST_DUE.value


def at_risk(q: Query, at: date) -> Table:
    """The MRR of subscriptions that are past due at the close of a day.

    As it would be if past due counted, whatever the policy makes of it; so it is derived anew, from
    the histories of the customers concerned alone.
    """
    due = _past_due(q, at)
    policy = replace(q.policy, past_due="active")
    concerned = whole_companies(due, q.relations.identities)
    version = q.relations.subscription_versions
    theirs = select(version).where(version.c.customer_id.in_(concerned)).subquery("concerned")
    derived = derive(replace(q.relations, subscription_versions=theirs), policy).cte("derived")
    rows = select(derived).where(derived.c.subscription_id.in_(select(due.c.subscription_id)))
    risky = replace(q, rows=rows.cte("at_risk_movement"), policy=policy, measure="mrr")
    return money_at(risky, at, "at_risk")


def _past_due(q: Query, at: date) -> FromClause:
    """The subscriptions whose last state of the day says so: subscription_id, customer_id."""
    version = q.relations.subscription_versions
    over = version.c.occurred_at < instants(at, at, q.policy.tz).end_exclusive
    ever = select(version.c.subscription_id).where(version.c.status == _PAST_DUE, over)
    last = (
        select(version.c.subscription_id, version.c.customer_id, version.c.status)
        .ext(distinct_on(version.c.subscription_id))
        .where(version.c.subscription_id.in_(ever), over)
        .order_by(
            version.c.subscription_id,
            version.c.occurred_at.desc(),
            version.c.sequence.desc(),
            version.c.recorded_at.desc(),
            version.c.event_id.desc(),
        )
        .subquery("last_state")
    )
    return select(last).where(last.c.status == _PAST_DUE).cte("past_due")
