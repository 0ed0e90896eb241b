"""Costs: what `expense.recorded` says, one row an event."""

from __future__ import annotations

from sqlalchemy import Connection, Date, FromClause, Numeric, Text, func, select, true

from tidemill.models import expense
from tidemill.state.rows import about, fields
from tidemill.state.subscriptions import insert_new

__all__ = ["apply_expenses"]


def apply_expenses(connection: Connection, rows: FromClause) -> None:
    """Add a row for every event about a cost; one that is there already stays as it is."""
    said = fields(
        rows.c.data,
        day=Date(),
        amount=Numeric(),
        currency=Text(),
        category=Text(),
        channel=Text(),
        vendor=Text(),
        description=Text(),
    )
    found = (
        select(
            rows.c.position.label("id"),
            rows.c.source_id,
            rows.c.subject.label("external_id"),
            rows.c.id.label("event_id"),
            *(rows.c[name] for name in ("occurred_at", "sequence", "recorded_at", "livemode")),
            said.c.day,
            said.c.amount,
            func.upper(said.c.currency).label("currency"),
            *(said.c[name] for name in ("category", "channel", "vendor", "description")),
        )
        .select_from(rows.join(said, true()))
        .where(about(rows, "expense"))
    )
    connection.execute(insert_new(expense, found))
