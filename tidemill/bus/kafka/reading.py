"""Taking what a consumer has, and waiting a moment for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

__all__ = ["waiting"]

# How long one look for messages waits when there are none, and how often it looks meanwhile. The
# client would wait by the clock of the day: for an hour, once that is set back by an hour.
_POLL_S: Final = 0.2
_LOOK_S: Final = 0.01
# What is read at once, and how many bytes of messages are held at most, but for the last of them.
_READ: Final = 1_000
_HELD_BYTES_MAX: Final = 33_554_432


def waiting(consumer: Consumer, limit: int) -> list[Message]:
    """The messages that are there, at most `limit`; waits a moment for the first of them."""
    deadline = time.monotonic() + _POLL_S
    found = _there(consumer, limit)
    if not found:
        # Its own threads wait by that clock, too, and would fetch nothing; being asked wakes them.
        consumer.assignment()
    while not found and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        found = _there(consumer, limit)
    return found


def _there(consumer: Consumer, limit: int) -> list[Message]:
    found: list[Message] = []
    size = 0
    while len(found) < limit and size < _HELD_BYTES_MAX:
        wanted = min(_READ, limit - len(found))
        more: list[Message] = consumer.consume(wanted, 0)
        found += more
        size += sum(len(each.value() or b"") for each in more)
        if len(more) < wanted:
            break
    return found
