"""Comparisons with billing systems that have been made, and when the next one is due."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.models import reconciliation, source

__all__ = ["due", "latest"]

_KIND: Final = "stripe"
# When the nightly comparison is due, in UTC: most accounts are quiet then.
_NIGHT: Final = time(3)


def latest(connection: Connection) -> list[dict[str, Any]]:
    """The latest comparison of every source: source, compared_at, subscriptions, differences."""
    rows = connection.execute(
        select(
            reconciliation.c.source,
            reconciliation.c.compared_at,
            reconciliation.c.subscription_count.label("subscriptions"),
            reconciliation.c.difference_count.label("differences"),
        )
        .ext(distinct_on(reconciliation.c.source))
        .order_by(reconciliation.c.source, reconciliation.c.compared_at.desc())
    )
    return [dict(each) for each in rows.mappings()]


def due(connection: Connection, now: datetime) -> list[str]:
    """Sources whose nightly comparison has not been made since three o'clock (UTC)."""
    night = datetime.combine(now.astimezone(UTC).date(), _NIGHT, UTC)
    if night > now:
        night -= timedelta(days=1)
    compared = {each["source"]: each["compared_at"] for each in latest(connection)}
    names = connection.scalars(select(source.c.name).where(source.c.kind == _KIND))
    return sorted(each for each in names if compared.get(each, night) <= night)
