"""Merges: two vendor customers that are one company. One row for each event, like all history."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    FromClause,
    Text,
    and_,
    case,
    func,
    or_,
    select,
    true,
)

from tidemill.models import customer, customer_merge, source
from tidemill.state.rows import fields
from tidemill.state.subscriptions import insert_new

__all__ = ["apply_merges", "concerned"]


def apply_merges(connection: Connection, rows: FromClause) -> None:
    """Add a row for every merge; one that is there already stays as it is."""
    into = rows.c.data["into"]
    # Nobody where a merge is taken back.
    named = case((func.jsonb_typeof(into) == "object", into))
    said = fields(named, source=Text(), customer=Text())
    found = (
        select(
            rows.c.position.label("id"),
            customer.c.id.label("customer_id"),
            said.c.source.label("into_source"),
            said.c.customer.label("into_customer"),
            rows.c.id.label("event_id"),
            rows.c.occurred_at,
            rows.c.sequence,
            rows.c.recorded_at,
            rows.c.livemode,
        )
        .select_from(rows.outerjoin(customer, _owner(rows)).join(said, true()))
        .where(rows.c.type == "customer.merged")
    )
    connection.execute(insert_new(customer_merge, found))


def concerned(rows: FromClause) -> CompoundSelect[Any]:
    """The keys of customers whose company the batch may have changed.

    Those are the customers that a batch merges, with every customer they were ever merged into (one
    of them is left when another is joined), and those heard of for the first time that others were
    merged into before.
    """
    merge, into = customer_merge, customer.alias("into")
    in_batch = select(customer.c.id).join(rows, _owner(rows)).subquery()
    merged = select(customer.c.id).join(rows, _owner(rows)).where(rows.c.type == "customer.merged")
    others = (
        select(into.c.id)
        .join(source, source.c.id == into.c.source_id)
        .join(
            merge,
            and_(merge.c.into_source == source.c.name, merge.c.into_customer == into.c.external_id),
        )
        .where(
            or_(
                into.c.id.in_(select(in_batch.c.id)),
                merge.c.customer_id.in_(select(in_batch.c.id)),
            )
        )
    )
    return merged.union(others)


def _owner(rows: FromClause) -> Any:
    return and_(customer.c.source_id == rows.c.source_id, customer.c.external_id == rows.c.customer)
