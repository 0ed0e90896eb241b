"""Current rows of customers.

A deletion says only that the customer is gone: what was known of it stays, and so does its history
(T39). Two things are therefore kept apart, and each by the later event: what the customer is
called, from its creations and updates; and whether it is gone, from its deletions. A deletion
counts unless the customer was heard of again after it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    FromClause,
    Text,
    case,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.models import customer
from tidemill.state.rows import STATE_KEY, fields, latest, state_key

__all__ = ["apply_customers"]


def apply_customers(connection: Connection, rows: FromClause) -> None:
    """Bring the customers up to date; their keys are there already."""
    connection.execute(_describe(rows))
    connection.execute(_delete(rows))


def _describe(rows: FromClause) -> Any:
    known = rows.c.type.in_(["customer.created", "customer.updated"])
    last = latest(rows, [rows.c.source_id, rows.c.customer], known).subquery("last")
    said = fields(
        last.c.data,
        name=Text(),
        email=Text(),
        country=Text(),
        currency=Text(),
        created_at=DateTime(timezone=True),
        attributes=JSONB(),
    )
    new = (
        select(
            last.c.source_id,
            last.c.customer,
            said.c.name,
            said.c.email,
            func.upper(said.c.country).label("country"),
            func.upper(said.c.currency).label("currency"),
            said.c.created_at,
            said.c.attributes,
            *state_key(last),
        )
        .select_from(last.join(said, true()))
        .subquery("new")
    )
    written = [each for each in new.c if each.name not in ("source_id", "customer")]
    later = tuple_(*(new.c[name] for name in STATE_KEY)) > tuple_(
        *(customer.c[name] for name in STATE_KEY)
    )
    return (
        update(customer)
        .where(
            customer.c.source_id == new.c.source_id,
            customer.c.external_id == new.c.customer,
            or_(customer.c.state_at.is_(None), later),
        )
        .values(
            {each.name: each for each in written}
            # At one instant the deletion is the last word, as every terminal state.
            | {"deleted_at": case((customer.c.deleted_at >= new.c.state_at, customer.c.deleted_at))}
        )
    )


def _delete(rows: FromClause) -> Any:
    gone = (
        select(rows.c.source_id, rows.c.customer, func.max(rows.c.occurred_at).label("deleted_at"))
        .where(rows.c.type == "customer.deleted")
        .group_by(rows.c.source_id, rows.c.customer)
        .subquery("gone")
    )
    return (
        update(customer)
        .where(
            customer.c.source_id == gone.c.source_id,
            customer.c.external_id == gone.c.customer,
            or_(customer.c.state_at.is_(None), gone.c.deleted_at >= customer.c.state_at),
            or_(customer.c.deleted_at.is_(None), gone.c.deleted_at > customer.c.deleted_at),
        )
        .values(deleted_at=gone.c.deleted_at)
    )
