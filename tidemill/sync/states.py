"""What the books have of subscriptions and their schedules, to be compared with what was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Text, case, cast, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.models import (
    event_log,
    schedule_version,
    source,
    subscription,
    subscription_version,
)

__all__ = ["latest_plans", "latest_states"]

_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


def latest_states(
    connection: Connection, name: str, keys: Sequence[str], *, heard: int | None = None
) -> dict[str, tuple[dict[str, Any], int]]:
    """The latest state of each subscription (the payload of its event), and its place in the log.

    heard: the last place of the log that counts; None for all of it.
    """
    version, named = subscription_version.c, subscription.c
    over = case((version.status == "canceled", 1), else_=0)
    # What is only planned has numbers below zero.
    counts = [version.id > 0, *([] if heard is None else [version.id <= heard])]
    rows = connection.execute(
        select(named.external_id, cast(event_log.c.data, Text), version.id)
        .ext(distinct_on(named.external_id))
        .join(subscription, named.id == version.subscription_id)
        .join(source, source.c.id == named.source_id)
        .join(event_log, event_log.c.position == version.id)
        .where(source.c.name == name, named.external_id.in_(keys), *counts)
        .order_by(
            named.external_id,
            version.occurred_at.desc(),
            version.sequence.desc(),
            over.desc(),
            version.recorded_at.desc(),
            version.event_id.desc(),
        )
    )
    return {row[0]: (_DECODER.decode(row[1]), row[2]) for row in rows}


def latest_plans(
    connection: Connection, name: str, keys: Sequence[str]
) -> dict[str, tuple[dict[str, Any], int]]:
    """The last word of each schedule (the payload of its event), and its place in the log."""
    said = schedule_version.c
    rows = connection.execute(
        select(said.external_id, cast(event_log.c.data, Text), said.id)
        .ext(distinct_on(said.external_id))
        .join(source, source.c.id == said.source_id)
        .join(event_log, event_log.c.position == said.id)
        .where(source.c.name == name, said.external_id.in_(keys))
        .order_by(
            said.external_id,
            said.occurred_at.desc(),
            said.sequence.desc(),
            said.recorded_at.desc(),
            said.event_id.desc(),
        )
    )
    return {row[0]: (_DECODER.decode(row[1]), row[2]) for row in rows}
