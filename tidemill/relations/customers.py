"""Customers, and whose books those are in that were merged."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Table,
    and_,
    cast,
    exists,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill import models
from tidemill.relations.scope import said

__all__ = ["customer_rows", "identity_rows"]


def customer_rows(known_at: datetime | None) -> FromClause:
    """Every customer with what was known of it, now or by an instant."""
    table = models.customer
    keys = [table.c.id.label("customer_id"), table.c.source_id, table.c.external_id]
    words = ("name", "email", "country")
    # The row's key is the position of the event that first named the customer.
    log, mention = models.event_log, models.event_log.alias("first_mention")
    heard = mention.c.occurred_at
    if known_at is None:
        signed_up = func.coalesce(table.c.created_at, heard).label("signed_up_at")
        named = table.outerjoin(mention, mention.c.position == table.c.id)
        return (
            select(*keys, *(table.c[word] for word in words), signed_up)
            .select_from(named)
            .subquery()
        )
    known = log.c.type.in_(("customer.created", "customer.updated"))
    told = said(known_at, known, log.c.customer, (*words, "created_at"))
    created = cast(told.c.created_at, DateTime(timezone=True))
    return (
        select(
            *keys,
            told.c.name,
            told.c.email,
            func.upper(told.c.country).label("country"),
            func.coalesce(created, heard).label("signed_up_at"),
        )
        .select_from(table)
        .outerjoin(mention, mention.c.position == table.c.id)
        .outerjoin(
            told,
            and_(told.c.source_id == table.c.source_id, told.c.external_id == table.c.external_id),
        )
        .subquery()
    )


def identity_rows(known_at: datetime | None) -> FromClause:
    """Every merged customer with the customer at the end of its chain of merges.

    The latest merge of a customer counts; one into nobody takes the earlier ones back. A chain that
    runs into a circle (a into b, b into a) has no end; it then leads to the smallest key in the
    circle, so that the answer is still one company. A merge into a customer that was never heard of
    has no effect until it is.
    """
    table, source, into = models.customer_merge, models.source, models.customer
    told = (
        select(table.c.customer_id, table.c.into_source, table.c.into_customer)
        .ext(distinct_on(table.c.customer_id))
        .where(table.c.livemode, *([] if known_at is None else [table.c.recorded_at <= known_at]))
        .order_by(
            table.c.customer_id,
            table.c.occurred_at.desc(),
            table.c.sequence.desc(),
            table.c.recorded_at.desc(),
            table.c.event_id.desc(),
        )
        .subquery("said")
    )
    latest = (
        select(told.c.customer_id, into.c.id.label("into_id"))
        .join(source, source.c.name == told.c.into_source)
        .join(
            into,
            and_(into.c.source_id == source.c.id, into.c.external_id == told.c.into_customer),
        )
        .where(_was_known(into, known_at))
        .cte("latest_merge")
    )
    # UNION, not UNION ALL: a circle finds no new pair on its second round and ends the recursion.
    start = select(latest.c.customer_id, latest.c.into_id.label("reached_id"))
    chain = start.cte("merge_chain", recursive=True)
    step = select(chain.c.customer_id, latest.c.into_id).join(
        latest, latest.c.customer_id == chain.c.reached_id
    )
    chain = chain.union(step)
    onward = select(latest.c.customer_id).subquery()
    # Without an end every customer reached has a merge of its own. The circle that the chain runs
    # into are those that reach themselves; customers on the way there are none of it.
    ring = select(chain.c.customer_id).where(chain.c.customer_id == chain.c.reached_id).subquery()
    ends = chain.outerjoin(onward, onward.c.customer_id == chain.c.reached_id).outerjoin(
        ring, ring.c.customer_id == chain.c.reached_id
    )
    end = func.min(chain.c.reached_id).filter(onward.c.customer_id.is_(None))
    circle = func.min(chain.c.reached_id).filter(ring.c.customer_id.is_not(None))
    return (
        select(chain.c.customer_id, func.coalesce(end, circle).label("canonical_id"))
        .select_from(ends)
        .group_by(chain.c.customer_id)
        .subquery("identities")
    )


def _was_known(customer: Table, known_at: datetime | None) -> ColumnElement[bool]:
    """Had the customer been mentioned by then? Mostly its first mention, its key, says so."""
    if known_at is None:
        return true()
    first, mention = models.event_log.alias("first_mention"), models.event_log.alias("mention")
    return or_(
        exists().where(first.c.position == customer.c.id, first.c.recorded_at <= known_at),
        exists().where(
            mention.c.source_id == customer.c.source_id,
            mention.c.customer == customer.c.external_id,
            mention.c.recorded_at <= known_at,
        ),
    )
