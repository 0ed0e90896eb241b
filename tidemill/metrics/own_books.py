"""Base rows that no ledger derives: what is in the relations, in the books it belongs to.

Such rows have what every cube needs: the customer in whose books they are, the calendar day, the
currency, the amount, and the log position of the event behind them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Date, FromClause, cast, func

from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = ["day_in", "in_books"]


def in_books(
    rows: FromClause, relations: Relations, policy: Policy
) -> tuple[FromClause, ColumnElement[int]]:
    """Rows with a `customer_id`, and the customer in whose books each belongs (knob `identity`)."""
    if policy.identity != "merged":
        return rows, rows.c.customer_id
    identity = relations.identities.alias("book")
    joined = rows.outerjoin(identity, identity.c.customer_id == rows.c.customer_id)
    return joined, func.coalesce(identity.c.canonical_id, rows.c.customer_id)


def day_in(instant: ColumnElement[Any], policy: Policy) -> ColumnElement[Any]:
    """The calendar day of an instant in the policy's time zone."""
    return cast(func.timezone(policy.tz, instant), Date)
