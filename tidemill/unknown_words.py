"""Words of billing systems that this version does not know: which, how often, and where.

Whoever translates maps such a word to `other`, or to nothing, and keeps it in the event beside what
it became. They are counted from the log, so nothing forgets one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Text, column, func, literal, select, true

from tidemill.models import event_log, source

__all__ = ["UnknownWord", "unknown_events", "unknown_words"]


@dataclass(frozen=True, slots=True)
class UnknownWord:
    """A word, under which key of which events of a source it stood, and in how many of them."""

    source: str
    type: str
    key: str
    word: str
    count: int

    def document(self) -> dict[str, Any]:
        """The word as a JSON object, without its source."""
        return {name: value for name, value in asdict(self).items() if name != "source"}


def unknown_events() -> Any:
    """How many live events hold such a word: a scalar subquery."""
    held = event_log.c.data.has_key(literal("unknown", literal_execute=True))
    return select(func.count()).where(held, event_log.c.livemode).scalar_subquery()


def unknown_words(connection: Connection) -> list[UnknownWord]:
    """Every such word, by source, the frequent first."""
    held = event_log.c.data.has_key(literal("unknown", literal_execute=True))
    pair = func.jsonb_each_text(event_log.c.data["unknown"]).table_valued(
        column("key", Text), column("value", Text)
    )
    about = func.split_part(event_log.c.type, ".", 1)
    number = func.count().label("number")
    rows = connection.execute(
        select(source.c.name, about, pair.c.key, pair.c.value, number)
        .select_from(event_log.join(pair, true()))
        .join(source, source.c.id == event_log.c.source_id)
        .where(held, event_log.c.livemode)
        .group_by(source.c.name, about, pair.c.key, pair.c.value)
        .order_by(source.c.name, number.desc(), about, pair.c.key, pair.c.value)
    )
    return [UnknownWord(*row) for row in rows]
