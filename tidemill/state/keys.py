"""The keys of customers and subscriptions: the position of the first event that mentions them.

Drawn from the log and not from a sequence, they come out the same however often the tables are
rebuilt, and a subscription may arrive long before its customer's own event.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, FromClause, Table, func, select
from sqlalchemy.dialects import postgresql

from tidemill.models import customer, subscription
from tidemill.state.rows import about

__all__ = ["make_keys"]


def make_keys(connection: Connection, rows: FromClause) -> None:
    """Give every customer and subscription that the events mention its key."""
    paying = rows.c.customer != ""
    connection.execute(_mentioned(customer, rows, rows.c.customer, paying))
    connection.execute(_mentioned(subscription, rows, rows.c.subject, about(rows, "subscription")))


def _mentioned(table: Table, rows: FromClause, name: Any, where: Any) -> Any:
    first = (
        select(func.min(rows.c.position), rows.c.source_id, name)
        .where(where)
        .group_by(rows.c.source_id, name)
    )
    new = postgresql.insert(table).from_select(["id", "source_id", "external_id"], first)
    return new.on_conflict_do_nothing(index_elements=["source_id", "external_id"])
