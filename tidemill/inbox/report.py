"""What the inbox has to say of itself: how much came, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from tidemill.models import delivery

__all__ = ["Report", "report"]


@dataclass(slots=True)
class Report:
    """The deliveries of a source."""

    source: str
    received: int = 0
    last_received_at: datetime | None = None
    states: dict[str, int] = field(default_factory=dict)
    """State → how many deliveries are in it."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Type → how many of it were of no interest."""

    def document(self) -> dict[str, Any]:
        """The counts as a JSON object; the instant is one still."""
        return {
            "received": self.received,
            "last_received_at": self.last_received_at,
            "states": self.states,
            "ignored": self.ignored,
        }


def report(connection: Connection) -> list[Report]:
    """What came from each source that sends webhooks, by name."""
    found: dict[str, Report] = {}
    by_state = select(
        delivery.c.source,
        delivery.c.state,
        func.count().label("number"),
        func.max(delivery.c.received_at).label("latest"),
    ).group_by(delivery.c.source, delivery.c.state)
    for row in connection.execute(by_state.order_by(delivery.c.source)):
        one = found.setdefault(row.source, Report(row.source))
        one.received += row.number
        one.states[row.state] = row.number
        one.last_received_at = max(one.last_received_at or row.latest, row.latest)
    by_type = (
        select(delivery.c.source, delivery.c.type, func.count().label("number"))
        .where(delivery.c.state == "ignored")
        .group_by(delivery.c.source, delivery.c.type)
        .order_by(func.count().desc(), delivery.c.type)
    )
    for row in connection.execute(by_type):
        found[row.source].ignored[row.type] = row.number
    return list(found.values())
